//! READ THIS FIRST: the life of a request, straight down.
//!
//! [`Gateway::serve`] is called for every request on every connection. It never fails: whatever goes wrong becomes an
//! answer in `answer`, the one place where faults are rendered. The order of the steps in [`Gateway::proxied`] is the point:
//! nothing of a later step is done for a caller that an earlier one refuses, so that a forged token costs the vendor nothing
//! and a limit cannot be used up by somebody who is not let in.

mod answer;
mod body;
mod cors;
mod ending;
mod framing;
mod once;
mod routes;
mod settings;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Body as HttpBody;

pub(crate) use self::answer::{identify, problem};
pub(crate) use self::body::Body;
use self::body::Payload;
use self::cors::Cors;
use self::ending::Ending;
pub(crate) use self::routes::{Endpoint, Missing, Place};
pub(crate) use self::routes::{Routes, clashes};
pub(crate) use self::settings::Settings;
use crate::access::{Access, CallGrant, CallTarget, Caller, Credential};
use crate::api::{Api, Scene, Told, served};
use crate::aside::aside;
use crate::bot::Vendor;
use crate::clock::{Clock, Timestamp};
use crate::fault::{Code, Fault};
use crate::id::RequestId;
use crate::limit::{Key, Kind, Limiter, OpenCall};
use crate::listen::Peer;
use crate::net::{ClientBody, ClientBodyError, Disagreement, Trusted};
use crate::proxy::{Admit, Answered, Handshake, Inbound, Incoming, Proxy, Upgrade, parameter};
use crate::secret::Secret;
use crate::session::once::key_of;
use crate::telemetry::audit::Trace;
use crate::telemetry::traces::Traces;
use crate::telemetry::{Received, Record, Records, metrics};
use crate::vendor::Place as Slot;

/// Everything that a request meets. Shared by all workers, and only read.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Which call is at which host and path.
    pub routes: Routes,
    /// Who is calling, may they.
    pub access: Arc<Access>,
    /// The gateway's own endpoints and vendors' session calls.
    pub api: Arc<Api>,
    /// The same, as axum serves them.
    pub own: Router,
    /// Calls to vendors.
    pub proxy: Proxy,
    /// What counts.
    pub limiter: Arc<Limiter>,
    /// The time.
    pub clock: Clock,
    /// Whose word counts of where a request comes from.
    pub trusted: Trusted,
    /// What traces requests.
    pub traces: Arc<Traces>,
    /// Where records go.
    pub records: Arc<Records>,
    /// The bots, as they are counted.
    pub counted: metrics::Bots,
    /// Where vendors' clients put their keys, and so our tokens.
    pub key_headers: Vec<HeaderName>,
    /// A page at `/`: the demo's.
    pub page: Option<Bytes>,
}

impl Gateway {
    /// Answers a request. It is boxed, as the future of each step on its way would reserve room for it otherwise.
    pub(crate) async fn serve(
        self: Arc<Self>,
        peer: Peer,
        mut request: Box<Request<ClientBody>>,
    ) -> Result<Response<Body>, Infallible> {
        mark_credentials(request.headers_mut(), &self.key_headers);
        let came = self.clock.moment();
        let trusted = self.is_from_proxy(&peer).then(|| request.headers());
        let id = trusted.and_then(answer::given_id).unwrap_or_else(RequestId::next);
        let client = trusted.map_or(Ok(peer.address), |headers| self.client(&peer, headers));
        let (address, unclear) = client.map_or_else(|fault| (peer.address, Some(fault)), |address| (address, None));
        let mut record = Box::new(Record::begin(&self.records, peer.worker, id, address, request.method(), came));
        record.span = self.traces.begin(trusted, came.wall);
        let peer = Peer { address, ..peer };
        record.received = Received::of(request.body().size_hint().exact());
        let cors = Cors::of(request.headers());
        let path = request.uri().path_and_query().map_or("/", |path| path.path());
        let host = unclear.map_or_else(|| framing::check(&request, &peer), Err);
        let ending = Ending::of(&request, host.is_err());
        let preflight_of = host.as_ref().ok().copied().filter(|_| cors.is_preflight(request.method()));
        let found = host.map_err(Missing::from).and_then(|host| self.routes.find(host, request.method(), path));
        if let Ok(place) = &found {
            record.route = Some(Arc::clone(&place.entry.label));
            record.series.route = place.entry.counted;
        }
        let shape = match &found {
            Ok(place) => place.entry.endpoint.vendor(),
            Err(missing) => missing.vendor,
        };
        let scene = Scene::new(Trace { from: Some(peer.address), request: record.id });
        let outcome = match (preflight_of, found) {
            // Before any other check: a browser sends no credential with it, and shows no error of it.
            (Some(host), _) => Ok(self.preflight(&cors, &request, host, path)),
            (_, Ok(place)) => self.answer(peer, request, place, &scene, &mut record).await,
            (_, Err(missing)) => Err(missing.fault),
        };
        let code = outcome.as_ref().err().map(Fault::code);
        let mut response = self.finish(outcome, shape, &cors, &scene, record);
        if ending.is_due(code, response.status()) {
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// Whose request it is, as the proxies before the gateway say.
    fn client(&self, peer: &Peer, headers: &HeaderMap) -> Result<IpAddr, Fault> {
        self.trusted.client(peer.address, headers).map_err(|Disagreement| {
            Fault::new(Code::BadRequest, "X-Forwarded-For and Forwarded name different clients; send one of them")
        })
    }

    /// Whether the request came from a proxy whose word counts.
    fn is_from_proxy(&self, peer: &Peer) -> bool {
        !self.trusted.is_empty() && peer.may_forward && self.trusted.has(peer.address)
    }

    async fn answer(
        self: &Arc<Self>,
        peer: Peer,
        request: Box<Request<ClientBody>>,
        place: Place<'_>,
        scene: &Scene,
        record: &mut Record,
    ) -> Result<Response<Payload>, Fault> {
        let caller = Caller { span: record.span.clone(), ..Caller::new(peer.address, request.headers())? };
        let path = request.uri().path_and_query().filter(|_| !place.captures.is_empty()).cloned();
        let values: Vec<&str> = path.iter().flat_map(|path| place.captures.of(path.path())).collect();
        // What is not on the path of a conversation call is aside: each call has room for the largest of these.
        match &place.entry.endpoint {
            Endpoint::Route(vendor, number) => {
                let target = CallTarget::of(vendor, *number, &values)?;
                self.proxied(request, &target, &caller, scene, record).await
            }
            Endpoint::SessionCall(vendor) => {
                let request = counted(*request, record.received.counter());
                let accepted = aside(|| self.api.accept(vendor, &values, &caller, request, scene)).await;
                accepted.map(|answer| answer.map(Payload::Whole))
            }
            Endpoint::Own(_) => {
                let request = counted(*request, record.received.counter());
                aside(|| self.own(request, caller, scene)).await
            }
            Endpoint::Page => Ok(answer::page(self.page.clone().unwrap_or_default())),
        }
    }

    /// A conversation call, on its way to the vendor.
    async fn proxied(
        self: &Arc<Self>,
        request: Box<Request<ClientBody>>,
        target: &CallTarget<'_>,
        caller: &Caller,
        scene: &Scene,
        record: &mut Record,
    ) -> Result<Response<Payload>, Fault> {
        let (head, body) = request.into_parts();
        let (count, span, came) = (record.received.counter(), record.span.clone(), record.came());
        // On the heap, as it was: what it goes through would keep room for it otherwise.
        let mut incoming = Box::new(Incoming { head, body: Inbound::Coming(body), token: None, count, span, came });
        let handshake = if target.route.takes_socket { Handshake::of(&mut incoming.head)? } else { None };
        let mut slot = None;
        if !target.route.token.is_empty() {
            slot = aside(|| self.slot(target, &mut incoming)).await?;
            // A body may have been long in coming.
            incoming.came = self.clock.moment();
        }
        let key_header = target.vendor.profile.accept.as_ref().and_then(|accept| accept.credential.header());
        let headers = &incoming.head.headers;
        let credential = Credential::presented(headers, key_header, slot.as_deref(), handshake.is_some())?;
        incoming.token = credential.token().filter(|_| !target.route.answer.is_empty()).map(Secret::new);
        let grant = self.granted(credential, target, caller, scene)?;
        // Only now: a record names a session for calls that were its own.
        record.session = grant.session().map(|verified| verified.session.id.clone());
        let open = self.admit(&grant, target.route.renews, incoming.came.wall)?;
        if target.route.renews {
            return aside(|| self.api.renewed_by_route(&grant, target, scene, &caller.span))
                .await
                .map(|answer| answer.map(Payload::Whole));
        }
        if let Some(handshake) = handshake {
            let admit = self.each_message(&grant);
            let upgrade = aside(|| self.proxy.upgrade(grant, target, incoming, handshake, admit, open));
            return Ok(match upgrade.await? {
                Upgrade::Done(response) => response.map(Payload::Socket),
                Upgrade::Refused(response) => response.map(Payload::Stream),
            });
        }
        let head = &incoming.head;
        let key = if once::matters(&head.method) { key_of(&head.headers)? } else { None };
        let told = target.route.identifies.then(|| Told::of(&grant, scene)).flatten();
        let response = match (key, told) {
            (None, None) => self.proxy.forward(grant, target, incoming, open).await?,
            (None, told) => {
                let call = once::Call::new(grant, target, incoming, open, told);
                aside(|| self.made_to_its_end(call)).await?
            }
            (Some(key), told) => {
                let call = once::Call::new(grant, target, incoming, open, told);
                aside(|| self.made_once(&key, caller, call)).await?
            }
        };
        Ok(response.map(|answer| match answer {
            Answered::Stream(stream) => Payload::Stream(stream),
            Answered::Whole(bytes) => Payload::Whole(bytes),
        }))
    }

    /// Who calls, and whether they may. As soon as it is known which bot it is about, `scene` has it: from then on the bot's own
    /// list says which pages may read the answer, a refusal too.
    fn granted(
        &self,
        credential: Credential<'_>,
        target: &CallTarget<'_>,
        caller: &Caller,
        scene: &Scene,
    ) -> Result<CallGrant, Fault> {
        let principal = if target.route.renews {
            self.access.identify_for_renewal(credential, caller)?
        } else {
            self.access.identify(credential, caller)?
        };
        if let Some(bot) = self.access.bot_of(&principal) {
            let _first = scene.bot.set(Arc::clone(bot));
        }
        let grant = self.access.may_call(principal, target, caller)?;
        if grant.owner().is_some() {
            let _first = scene.bot.set(Arc::clone(grant.bot()));
        }
        Ok(grant)
    }

    /// What stands where this vendor's clients put the token, in the query or in the body; the first place counts where
    /// something stands. The body is read for it, within the longest that a bot of the vendor takes.
    async fn slot(&self, target: &CallTarget<'_>, incoming: &mut Incoming) -> Result<Option<String>, Fault> {
        let Incoming { head, body, .. } = incoming;
        for slot in &target.route.token {
            let found = match slot {
                Slot::Query(name) => parameter(head.uri.query(), name)?,
                Slot::Header(name) => head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned),
                Slot::Body(name) => {
                    if let Inbound::Coming(coming) = body {
                        let longest = || self.access.directory.longest_body(target.vendor);
                        let limit = target.route.body_limit.unwrap_or_else(longest);
                        *body = Inbound::Held(self.proxy.intake().unproven().json(&head.headers, coming, limit).await?);
                    }
                    match body {
                        Inbound::Held(held) => held.text_of(name)?,
                        Inbound::Coming(_) => None,
                    }
                }
            };
            if found.as_ref().is_some_and(|found| !found.is_empty()) {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A message in a WebSocket counts as a call. One too many waits: an answer that refuses it has no place there. All
    /// limits are asked before anything is taken, as one that waits asks again.
    fn each_message(&self, grant: &CallGrant) -> Admit {
        let (limiter, clock, bot) = (Arc::clone(&self.limiter), self.clock.clone(), Arc::clone(grant.bot()));
        let (session, key) = (Key::new(Kind::Session, 0, grant.caller()), grant.key_place());
        Box::new(move || {
            let now = clock.now();
            let (limits, keys) = (&bot.limits, &bot.vendor.keys);
            let waits = [
                limits.per_session.and_then(|rate| limiter.wait(session, rate, now)),
                limits.per_bot.and_then(|rate| limiter.bot(bot.number)?.wait(rate, now)),
                keys.spent(key, now).map(|spent| spent.wait),
            ];
            if let Some(wait) = waits.into_iter().flatten().max() {
                return Err(wait);
            }
            limits.per_session.map_or(Ok(()), |rate| limiter.take(session, rate, now).map(drop))?;
            limits.per_bot.map_or(Ok(()), |rate| limiter.take_of_bot(bot.number, rate, now))?;
            keys.take(key, now).map_err(|spent| spent.wait)
        })
    }

    /// Limits, from the narrowest to the widest: what a session wastes is not taken from the others of its bot. A call that
    /// the gateway `answers` by itself is none of the vendor's key.
    fn admit(&self, grant: &CallGrant, answers: bool, now: Timestamp) -> Result<Option<OpenCall>, Fault> {
        let (bot, session) = (grant.bot(), grant.caller());
        self.limiter.admit_session(session, bot.limits.per_session, now)?;
        let open = match bot.limits.streams {
            None => None,
            Some(most) => Some(self.limiter.open(session, most).ok_or_else(|| {
                let calls = if most == 1 { "call" } else { "calls" };
                Fault::new(
                    Code::TooManyStreams,
                    format!("the session has {most} open {calls} already; wait for one to end"),
                )
            })?),
        };
        let (keys, key) = (&bot.vendor.keys, grant.key_place());
        // Asked before the bot's is taken: sessions of the bot that have another key must not pay for this one.
        if let Some(spent) = keys.spent(key, now).filter(|_| !answers) {
            return Err(spent.into());
        }
        self.limiter.admit_bot(bot.number, bot.limits.per_bot, now)?;
        if !answers {
            keys.take(key, now)?;
        }
        Ok(open)
    }

    /// The gateway's own endpoints, which axum serves.
    async fn own(
        &self,
        request: Request<impl HttpBody<Data = Bytes, Error = ClientBodyError> + Send + 'static>,
        caller: Caller,
        scene: &Scene,
    ) -> Result<Response<Payload>, Fault> {
        let mut request = request.map(axum::body::Body::new);
        // axum's handlers have no place for what is borrowed.
        let learning = Arc::new(Scene::new(scene.trace));
        request.extensions_mut().insert(Arc::new(caller));
        request.extensions_mut().insert(Arc::clone(&learning));
        let answer = served(self.own.clone(), request).await;
        scene.learn(&learning);
        answer.map(|response| response.map(Payload::Own))
    }

    fn preflight(&self, cors: &Cors, request: &Request<ClientBody>, host: &str, path: &str) -> Response<Payload> {
        let wanted = cors::wanted_method(request.headers());
        let entry = wanted.and_then(|method| self.routes.find(host, &method, path).ok()).map(|place| place.entry);
        cors.preflight(
            entry,
            request.headers(),
            self.is_in_union(cors, entry.and_then(|entry| entry.endpoint.vendor())),
        )
    }

    /// The answer as it leaves: faults rendered, CORS, request id, the record on its body.
    fn finish(
        &self,
        outcome: Result<Response<Payload>, Fault>,
        shape: Option<&Arc<Vendor>>,
        cors: &Cors,
        scene: &Scene,
        mut record: Box<Record>,
    ) -> Response<Body> {
        let quota = outcome.as_ref().err().and_then(Fault::quota).or_else(|| scene.quota.get().copied());
        let mut response = match outcome {
            Ok(response) => response,
            Err(fault) => {
                record.code = Some(fault.code());
                record.series.limit = answer::limit_of(&fault);
                let vendor = scene.bot.get().map(|bot| &bot.vendor).or(shape).map(|vendor| vendor.name.as_str());
                answer::log(&fault, &record, vendor.unwrap_or("-"));
                answer::of(&fault, shape.map(|vendor| vendor.profile.as_ref()), record.id)
            }
        };
        if let Some(quota) = quota {
            quota.write(response.headers_mut());
        }
        if let Some(origin) = cors.origin() {
            let is_allowed = match scene.bot.get() {
                Some(bot) => bot.origins.allows(origin),
                None => Cors::is_answered(&response) || self.is_in_union(cors, shape),
            };
            cors.allow(response.headers_mut(), is_allowed);
        }
        if shape.is_some() {
            answer::protect(response.headers_mut());
        }
        response.headers_mut().append(header::VARY, header::HeaderValue::from_static("Origin"));
        answer::identify(response.headers_mut(), record.id);
        record.status = Some(response.status());
        if let Some(bot) = scene.bot.get() {
            record.bot = Some(bot.name.clone());
            record.series.bot = self.counted.at(bot.number);
        }
        if record.session.is_none() {
            record.session = scene.session.get().cloned();
        }
        response.map(|payload| Body::new(payload, record))
    }

    /// Before the bot is known: whether the page's origin is allowed by any bot that the call could be about.
    fn is_in_union(&self, cors: &Cors, vendor: Option<&Arc<Vendor>>) -> bool {
        let Some(origin) = cors.origin() else { return false };
        let directory = &self.access.directory;
        match vendor {
            Some(vendor) => directory.bots_of(vendor).any(|bot| bot.origins.allows(origin)),
            None => directory.bots().any(|bot| bot.origins.allows(origin)),
        }
    }
}

/// A request whose body is counted as it comes, where its length does not say enough.
fn counted(
    request: Request<ClientBody>,
    count: Option<Arc<AtomicU64>>,
) -> Request<impl HttpBody<Data = Bytes, Error = ClientBodyError> + Send + Unpin + 'static> {
    request.map(|body| {
        body.inspect_frame(move |frame| {
            if let (Some(count), Some(data)) = (&count, frame.data_ref()) {
                count.fetch_add(data.len() as u64, Ordering::Relaxed);
            }
        })
    })
}

/// Marks what is or may be a credential, so that no debug output shows it and no HTTP/2 table keeps it.
fn mark_credentials(headers: &mut HeaderMap, key_headers: &[HeaderName]) {
    for (name, value) in headers {
        let is_credential = matches!(
            *name,
            header::AUTHORIZATION | header::PROXY_AUTHORIZATION | header::COOKIE | header::SEC_WEBSOCKET_PROTOCOL
        );
        if is_credential || key_headers.contains(name) {
            value.set_sensitive(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn credentials_are_marked_at_the_door_each_time_they_come() {
        let names = ["authorization", "authorization", "cookie", "sec-websocket-protocol", "x-api-key", "x-other"];
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(name, HeaderValue::from_static("eyJhbGciOiJFZERTQSIs"));
        }
        mark_credentials(&mut headers, &[HeaderName::from_static("x-api-key")]);
        let marked = headers.values().filter(|value| value.is_sensitive()).count();
        assert_eq!((marked, format!("{headers:?}").matches("eyJ").count()), (5, 1), "{headers:?}");
    }
}

//! A granted call to the vendor and its answer: what goes out, what comes back, how it streams.
//!
//! [`Proxy::forward`] takes a [`CallGrant`], which only `access` makes. Nothing is waited for but what a profile writes
//! into: the first byte of an answer leaves when it arrives, a client that goes away ends the vendor's call, a slow one
//! slows the vendor.

mod answer;
mod farewell;
mod intake;
pub(crate) mod internal;
mod json;
mod outgoing;
mod query;
mod renewal;
mod right;
mod scrub;
mod socket;
mod stream;
mod values;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Body;
use serde_json::Value;
use tokio::time::Instant;

pub(crate) use self::answer::{EXPIRES_IN, is_json};
pub(crate) use self::intake::Intake;
pub(crate) use self::json::{DEEPEST, is_too_deep, shown_name};
pub(crate) use self::outgoing::{Inbound, Incoming};
pub(crate) use self::query::parameter;
use self::right::{Uploading, ended, over};
use self::scrub::Needles;
pub(crate) use self::socket::{Admit, Handshake, Socket, SocketTimeouts, asks_for_upgrade};
pub(crate) use self::stream::AnswerStream;
use self::values::{AnswerValues, CallValues};
use crate::access::{CallGrant, CallTarget};
use crate::aside::aside;
use crate::bot::{Directory, Vendor};
use crate::clock::{Clock, Moment};
use crate::fault::{Code, Fault};
use crate::id::Entropy;
use crate::limit::OpenCall;
use crate::secret::Secret;
use crate::telemetry::traces::{Part, Span};
use crate::token::LEEWAY;
use crate::upstream::keys::{Refusal, retry_after};
use crate::upstream::pool::{self, GivenUp};
use crate::upstream::{BodyError, RequestBody, SendError};

/// When a call may come again that found all connections in use: by then it waited for some seconds already.
const BUSY: Duration = Duration::from_secs(1);

/// How often one of `secrets` is in `text`, in any of the forms in which it would be masked in an answer.
pub(crate) fn hits<'s>(secrets: impl IntoIterator<Item = &'s Secret>, text: &[u8]) -> u32 {
    scrub::hits(&Needles::of(secrets), text)
}

/// `text` with every one of `secrets` masked, in all forms in which it would be masked in an answer.
pub(crate) fn masked<'s>(secrets: impl IntoIterator<Item = &'s Secret>, text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    scrub::mask_whole(&Needles::of(secrets), &mut text);
    text
}

/// Begins the span of a call to the vendor, and tells the vendor of it. It ends with the head of the answer.
pub(crate) fn vendor_call<B>(span: &Span, vendor: &Vendor, request: &mut Request<B>) -> Part {
    let mut part = span.call("vendor", request.headers_mut());
    let (host, port) = vendor.upstream.server();
    part.text("http.request.method", request.method().as_str());
    part.text("server.address", host);
    part.number("server.port", port);
    part.text("keystile.vendor", &vendor.name);
    part
}

/// Sends granted calls to vendors.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// By vendor: its keys, as they are searched for in its answers.
    keys: Vec<Arc<Needles>>,
    intake: Intake,
    sockets: SocketTimeouts,
    clock: Clock,
    entropy: Entropy,
}

/// The answer to a call.
#[derive(Debug)]
pub enum Answered {
    /// It passes as it comes.
    Stream(Box<AnswerStream>),
    /// It was read whole, and written into.
    Whole(Bytes),
}

/// What comes of the request for a WebSocket.
#[derive(Debug)]
pub(crate) enum Upgrade {
    /// It is open.
    Done(Response<Box<Socket>>),
    /// The vendor answered otherwise.
    Refused(Response<Box<AnswerStream>>),
}

impl Proxy {
    /// What reads bodies.
    pub(crate) fn intake(&self) -> &Intake {
        &self.intake
    }

    /// A proxy for the vendors of `directory`.
    pub(crate) fn new(
        directory: &Directory,
        intake: Intake,
        sockets: SocketTimeouts,
        clock: Clock,
        entropy: Entropy,
    ) -> Self {
        let keys = directory.vendors().map(|(vendor, _)| keys_of(vendor)).collect();
        Self { keys, intake, sockets, clock, entropy }
    }

    /// The same call with its body read, as one that is to be made once must be known before.
    ///
    /// # Errors
    ///
    /// The body is too long, too slow, or not what the route takes; the token ended before it had come.
    pub(crate) async fn held(
        &self,
        grant: &CallGrant,
        target: &CallTarget<'_>,
        incoming: Box<Incoming>,
    ) -> Result<Box<Incoming>, Fault> {
        // A body that is held back must not carry its call past the end of the token.
        let deadline = answer::ends(grant, incoming.came) + LEEWAY;
        let held = outgoing::held(grant, grant.route(target), incoming, &self.intake);
        let held = tokio::time::timeout_at(deadline, held).await.map_err(|_elapsed| expired())??;
        // A body may have been long in coming.
        grant.may_go_on(target)?;
        Ok(held)
    }

    /// Makes the call. `open` counts it as open until its answer has ended.
    ///
    /// # Errors
    ///
    /// Why the caller gets no answer of the vendor's.
    pub(crate) async fn forward(
        &self,
        grant: CallGrant,
        target: &CallTarget<'_>,
        mut incoming: Box<Incoming>,
        open: Option<OpenCall>,
    ) -> Result<Response<Answered>, Fault> {
        let vendor = target.vendor;
        let is_safe = incoming.head.method.is_safe();
        let span = incoming.span.clone();
        let ends = answer::ends(&grant, incoming.came);
        let deadline = ends + LEEWAY;
        let ours = if target.route.answer.is_empty() { Vec::new() } else { self.ours(&grant, target, &incoming) };
        let head = outgoing::head(&grant, target, &incoming)?;
        if outgoing::is_read_first(grant.route(target), &incoming) {
            incoming = aside(|| self.held(&grant, target, incoming)).await?;
        }
        // The store may have been slow in telling whether it was made before.
        if matches!(incoming.body, Inbound::Held(_)) && Instant::now() >= deadline {
            return Err(expired());
        }
        grant.may_go_on(target)?;
        let mut request = outgoing::request(head, &grant, target, incoming, self.intake.patience())?;
        let open = held_open(&mut request, &grant, ends, open);
        let mut part = vendor_call(&span, vendor, &mut request);
        let sent = pool::send(&vendor.upstream, grant.visitor(), request, deadline, || given_up(&grant, ends)).await;
        let response = sent.map_err(|error| unanswered(error, is_safe, &grant));
        let response = response.inspect_err(|fault| part.failed(fault.code()))?;
        part.answered(response.status());
        drop(part);
        let now = self.clock.moment();
        if target.route.carries_key {
            self.judge_key(&grant, response.status(), response.headers());
        }
        if !ours.is_empty() {
            if answer::is_json(response.headers()) {
                // One that cannot be passed on is not lost.
                answer::usable(response.status(), response.headers())?;
                let rewritten = aside(|| self.rewritten(response, &grant, &ours, now, ends, open)).await;
                return rewritten.map_err(|fault| unwritten(fault, is_safe));
            }
            check_for_token(&grant, &response, is_safe)?;
        }
        let keys = target.route.scrub.then(|| self.keys_of(vendor));
        answer::passed_on(response, grant, keys, now, open).map(|answer| answer.map(Answered::Stream))
    }

    /// The answer with what is `ours` written into it, unless nobody has a right to it before it is whole.
    async fn rewritten(
        &self,
        response: Response<pool::AnswerBody>,
        grant: &CallGrant,
        ours: &[(String, Option<Value>)],
        now: Moment,
        ends: Instant,
        open: Option<OpenCall>,
    ) -> Result<Response<Answered>, Fault> {
        let ours: Vec<_> = ours.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let keys = self.keys_of(&grant.bot().vendor);
        let rewritten = tokio::select! {
            rewritten = answer::rewritten(response, grant, keys, now.wall, &ours) => rewritten,
            () = over(grant, ends) => Err(gone(grant)),
        };
        let untaken = |bytes| match open {
            Some(open) => open.until_taken(bytes),
            None => bytes,
        };
        rewritten.map(|answer| answer.map(untaken).map(Answered::Whole))
    }

    /// What is written into the answer.
    fn ours(&self, grant: &CallGrant, target: &CallTarget<'_>, incoming: &Incoming) -> Vec<(String, Option<Value>)> {
        let token = incoming.token.as_ref();
        let (call, query) = (CallValues { grant, target }, incoming.head.uri.query());
        let values = AnswerValues { call, token, query, now: self.clock.now() };
        let route = grant.route(target);
        route.answer.iter().map(|(name, shape)| (name.clone(), shape.fill(&values))).collect()
    }

    /// Sets the key of a call aside if the vendor says so; never the last one: what a vendor answers to one visitor's
    /// call, that visitor may have provoked, and all others would pay for it.
    fn judge_key(&self, grant: &CallGrant, status: StatusCode, headers: &HeaderMap) {
        let vendor = &grant.bot().vendor;
        if status.is_success() {
            return vendor.keys.accept(grant.key_place());
        }
        if !vendor.profile.key_answers.has(status.as_u16()) {
            return;
        }
        let now = self.clock.now();
        let (place, retry_after) = (grant.key_place(), retry_after(headers, now));
        let refusal = Refusal { status, retry_after, who: grant.visitor() };
        if vendor.keys.refuse_unless_last(place, refusal, now) {
            let key = place + 1;
            tracing::warn!(vendor = vendor.name.as_str(), key, %status, "a key of the vendor is set aside");
        }
    }

    fn keys_of(&self, vendor: &Vendor) -> Arc<Needles> {
        self.keys.get(vendor.index).map_or_else(|| keys_of(vendor), Arc::clone)
    }

    /// Makes a call that asks for a WebSocket. `admit` is asked for each message of the client.
    ///
    /// # Errors
    ///
    /// Why the caller gets no answer of the vendor's.
    pub(crate) async fn upgrade(
        &self,
        grant: CallGrant,
        target: &CallTarget<'_>,
        mut incoming: Box<Incoming>,
        handshake: Handshake,
        admit: Admit,
        open: Option<OpenCall>,
    ) -> Result<Upgrade, Fault> {
        let vendor = target.vendor;
        let span = incoming.span.clone();
        let deadline = answer::ends(&grant, incoming.came) + LEEWAY;
        let head = outgoing::head(&grant, target, &incoming)?;
        if outgoing::is_read_first(grant.route(target), &incoming) {
            incoming = aside(|| self.held(&grant, target, incoming)).await?;
        }
        let mut request = outgoing::request(head, &grant, target, incoming, self.intake.patience())?;
        let accept = handshake.ask(request.headers_mut(), self.entropy.bytes())?;
        let mut part = vendor_call(&span, vendor, &mut request);
        let sent = tokio::select! {
            sent = pool::send_alone(&vendor.upstream, grant.visitor(), request, deadline) => sent,
            () = ended(&grant) => Err(SendError::Ended { is_whole: false }),
        };
        let response = sent.map_err(|error| unanswered(error, true, &grant));
        let mut response = response.inspect_err(|fault| part.failed(fault.code()))?;
        part.answered(response.status());
        drop(part);
        let now = self.clock.moment();
        let keys = self.keys_of(vendor);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return answer::passed_on(response, grant, Some(keys), now, open).map(Upgrade::Refused);
        }
        let mut headers = handshake.answer(response.headers(), &accept)?;
        answer::tell_expiry(&mut headers, &grant, now.wall);
        let lost =
            |error: hyper::Error| Fault::new(Code::VendorFailed, "the vendor did not open a WebSocket").because(error);
        let bytes = hyper::upgrade::on(&mut response).await.map_err(lost)?;
        let needles = answer::needles(keys, &grant);
        let ends = answer::ends(&grant, now);
        let socket = Socket::new(handshake, bytes, needles, ends, self.sockets, admit, grant, open);
        Ok(Upgrade::Done(socket::switching(headers, socket).map(Box::new)))
    }
}

fn keys_of(vendor: &Vendor) -> Arc<Needles> {
    Arc::new(Needles::of(vendor.keys.secrets()))
}

/// Counts an upload as open, which may go on behind its answer, and has the right to it asked for each of its parts. What is
/// open until the answer has ended comes back.
fn held_open(
    request: &mut Request<RequestBody>,
    grant: &CallGrant,
    ends: Instant,
    open: Option<OpenCall>,
) -> Option<OpenCall> {
    if !request.body().is_streamed() {
        return open;
    }
    let (answer, upload) = open.map(OpenCall::shared).map(<(_, _)>::from).unzip();
    request.body_mut().hold(ends + LEEWAY, Uploading::new(grant, ends, upload));
    answer
}

/// Refuses an answer that cannot be rewritten and could hold a new token of the vendor's. It would pass unmasked, as only known
/// secrets are searched for.
fn check_for_token(grant: &CallGrant, response: &Response<pool::AnswerBody>, is_safe: bool) -> Result<(), Fault> {
    let has_token = grant.session().is_some_and(|verified| verified.binding.token.is_some());
    if !has_token || !response.status().is_success() || response.body().is_end_stream() {
        return Ok(());
    }
    let why = "the vendor's answer is not JSON, and could hold a token of its own";
    Err(if is_safe { Fault::new(Code::VendorFailed, why) } else { maybe_sent(why) })
}

/// What is said where no answer could be made of the vendor's: the call was carried out, and nobody may repeat it blindly.
fn unwritten(fault: Fault, is_safe: bool) -> Fault {
    if is_safe {
        return fault;
    }
    maybe_sent("the vendor's answer could not be read").because(format!("{fault:?}"))
}

fn maybe_sent(detail: &'static str) -> Fault {
    Fault::new(Code::MaybeSent, detail)
}

/// Waits until nobody has a right to the answer any more.
async fn given_up(grant: &CallGrant, ends: Instant) -> GivenUp {
    over(grant, ends).await;
    GivenUp::Ended
}

fn gone(grant: &CallGrant) -> Fault {
    grant.over().map_or_else(expired, Fault::from)
}

fn expired() -> Fault {
    Fault::new(Code::TokenExpired, "the token expired before the answer to the call had begun")
}

/// Where bytes had reached the vendor and its answer is lost, nobody may repeat the call blindly: it could be carried
/// out twice. What only reads may be repeated.
fn unanswered(error: SendError, is_safe: bool, grant: &CallGrant) -> Fault {
    let fault = match &error {
        SendError::Connect(_) => {
            Fault::new(Code::VendorUnreachable, "the vendor cannot be reached; nothing was sent to it")
        }
        SendError::Busy => {
            Fault::new(Code::VendorBusy, "all connections to the vendor are in use; nothing was sent").retry_after(BUSY)
        }
        SendError::Open(wait) => {
            Fault::new(Code::VendorUnavailable, "the vendor does not answer just now; nothing was sent")
                .retry_after(*wait)
        }
        SendError::Timeout if is_safe => Fault::new(Code::VendorTimeout, "the vendor did not answer in time"),
        SendError::Lost(_) if is_safe => Fault::new(Code::VendorFailed, "the vendor broke off before its answer"),
        SendError::Timeout => maybe_sent("the vendor did not answer in time; it may still carry the call out"),
        SendError::Lost(_) => maybe_sent("the vendor broke off before its answer; it may have carried the call out"),
        SendError::Ended { is_whole: true } if !is_safe => {
            maybe_sent("the call was ended before the vendor's answer; the vendor may have carried it out")
        }
        SendError::Ended { .. } => return gone(grant),
        SendError::Caller(BodyError::TooLong(limit)) => return intake::too_large(*limit),
        SendError::Caller(BodyError::Slow(patience)) => intake::too_slow(*patience),
        SendError::Caller(BodyError::Expired) => return gone(grant),
        SendError::Caller(BodyError::Broken(_)) => Fault::new(Code::BadRequest, "the body of the request broke off"),
    };
    fault.because(error)
}

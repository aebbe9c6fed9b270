//! The call as the vendor gets it: built anew from the route, never copied.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use hyper::body::Body;
use serde_json::Value;

use super::intake::{self, Held, Intake};
use super::json::{self, Rules};
use super::query;
use super::values::CallValues;
use crate::access::{CallGrant, CallTarget};
use crate::clock::Moment;
use crate::fault::{Code, Fault};
use crate::net::ClientBody;
use crate::secret::Secret;
use crate::telemetry::traces::Span;
use crate::upstream::RequestBody;
use crate::vendor::{Proven, Route, Values, is_reserved};

/// What came from the client.
pub(crate) struct Incoming {
    /// Method, target and headers.
    pub head: Parts,
    /// The body.
    pub body: Inbound,
    /// The session token as it was presented, where the answer has a place for it.
    pub token: Option<Secret>,
    /// What counts the body, where its length was not declared.
    pub count: Option<Arc<AtomicU64>>,
    /// The span of the request.
    pub span: Span,
    /// When the request came.
    pub came: Moment,
}

/// The body of a client's call.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// It has still to be read.
    Coming(ClientBody),
    /// It was read, as the credential stands in it.
    Held(Held),
}

impl Inbound {
    /// What was read of it.
    pub(crate) fn read(&self) -> &[u8] {
        match self {
            Self::Coming(_) => &[],
            Self::Held(body) => body,
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A profile may put credentials into the query and into any header.
        formatter.debug_struct("Incoming").field("method", &self.head.method).finish_non_exhaustive()
    }
}

/// Whether the body has to be [`held`] before the vendor's call can be made of it.
pub(super) fn is_read_first(route: &Route, incoming: &Incoming) -> bool {
    // In HTTP/2 a caller can declare that nothing comes and then send something: hyper's client would not ask for it.
    let is_said_to_be_empty = |body: &ClientBody| body.size_hint().exact() == Some(0) && !body.is_end_stream();
    // A body that names the visitor is read whole first: while it streams, another call could name one.
    route.rewrites_body()
        || route.identifies
        || !incoming.head.method.is_safe()
            && matches!(&incoming.body, Inbound::Coming(body) if is_said_to_be_empty(body))
}

/// The target and the headers of the vendor's call for a granted one.
///
/// # Errors
///
/// A query that does not pass, or a session that has no value for the path: so that no body is read for it.
pub(super) fn head(grant: &CallGrant, target: &CallTarget<'_>, incoming: &Incoming) -> Result<(Uri, HeaderMap), Fault> {
    let route = grant.route(target);
    let values = CallValues { grant, target };
    let proven = Proven { values: &values, is_claimed: values.is_claimed() };
    let upstream = &target.vendor.upstream;
    let uri = uri(route, &proven, upstream.prefix(), incoming.head.uri.query())?;
    let credential = target.vendor.profile.accept.as_ref().and_then(|accept| accept.credential.header());
    let headers = headers(route, &proven, upstream.authority(), credential, &incoming.head.headers)?;
    Ok((uri, headers))
}

/// The vendor's call, whose body is held where that must be; `patience` is for each part of another. It is on the heap, as what
/// came is: each step on its way would keep room for it otherwise.
pub(super) fn request(
    (uri, mut headers): (Uri, HeaderMap),
    grant: &CallGrant,
    target: &CallTarget<'_>,
    incoming: Box<Incoming>,
    patience: Duration,
) -> Result<Box<Request<RequestBody>>, Fault> {
    let route = grant.route(target);
    let body = if route.rewrites_body() {
        // What we write is ours to name: a client may have sent no body and so no type.
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.remove(header::CONTENT_ENCODING);
        let Inbound::Held(body) = incoming.body else {
            return Err(Fault::new(Code::Internal, "the body of the call was not read"));
        };
        let rewritten = rewritten(route, &CallValues { grant, target }, &body)?;
        RequestBody::whole(body.replaced_by(rewritten))
    } else if incoming.head.method.is_safe() {
        // No list says what may be in the body of a GET, so nothing may: the account key would vouch for it.
        RequestBody::empty()
    } else {
        match incoming.body {
            Inbound::Coming(body) => of_caller(grant, body, incoming.count, patience)?,
            Inbound::Held(body) => RequestBody::whole(body.into_bytes()),
        }
    };
    let mut request = Box::new(Request::new(body));
    *request.method_mut() = incoming.head.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// A client's call with its body read, also where it would otherwise stream.
pub(super) async fn held(
    grant: &CallGrant,
    route: &Route,
    mut incoming: Box<Incoming>,
    intake: &Intake,
) -> Result<Box<Incoming>, Fault> {
    let limits = &grant.bot().limits;
    let limit = route.body_limit.unwrap_or(limits.body);
    let body = match incoming.body {
        Inbound::Held(body) => body.within(limit)?,
        Inbound::Coming(body) if route.rewrites_body() => intake.json(&incoming.head.headers, body, limit).await?,
        Inbound::Coming(body) => intake.whole(body, limits.upload.map_or(limit, |upload| upload.min(limit))).await?,
    };
    if let Some(count) = &incoming.count {
        count.store(u64::try_from(body.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
    incoming.body = Inbound::Held(body);
    Ok(incoming)
}

/// The target: the route's path below `prefix`, and the query.
pub(super) fn uri(route: &Route, values: &impl Values, prefix: &str, query: Option<&str>) -> Result<Uri, Fault> {
    let is_bare = prefix.is_empty() && query.is_none_or(str::is_empty) && route.set.query.is_empty();
    if let Some(path) = route.target.fixed_path().filter(|_| is_bare) {
        return Ok(Uri::from(path.clone()));
    }
    let path = route.target.path(values).ok_or_else(|| {
        Fault::new(Code::SessionMoved, "the session has no value for a part of this call's path; open a new session")
    })?;
    let mut text = if prefix.is_empty() { path } else { [prefix, &path].concat() };
    query::rewrite(query, route, values, &mut text)?;
    let failed =
        |error: http::uri::InvalidUri| Fault::new(Code::Internal, "the vendor's call could not be made").because(error);
    PathAndQuery::from_maybe_shared(Bytes::from(text)).map(Uri::from).map_err(failed)
}

/// Headers that every call may have, whatever the route lists.
fn is_basic(name: &HeaderName) -> bool {
    *name == header::ACCEPT || *name == header::CONTENT_TYPE || *name == header::ACCEPT_LANGUAGE
}

/// The headers, for the host `authority`. `credential` is where the vendor's own clients put their key.
pub(super) fn headers(
    route: &Route,
    values: &impl Values,
    authority: &HeaderValue,
    credential: Option<&HeaderName>,
    from: &HeaderMap,
) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::with_capacity(from.len() + 4);
    headers.insert(header::HOST, authority.clone());
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in from {
        // First what leaves most of them out.
        let is_kept = (is_basic(name)
            || route.allow.header.as_ref().is_none_or(|list| list.iter().any(|known| known.names(name))))
            && !is_reserved(name.as_str())
            && !credential.is_some_and(|ours| is_same(ours, name))
            && !route.set.header.iter().any(|(ours, _)| is_same(ours, name))
            && !route.strip.header.iter().any(|known| known.matches(name))
            && !is_named_by_connection(name, from);
        if is_kept {
            headers.append(name, value.clone());
        }
    }
    for (name, template) in &route.set.header {
        // Removed also where the placeholder has no value: a client never speaks in our place.
        headers.remove(name);
        if let Some(text) = template.fill(values) {
            let mut value = HeaderValue::try_from(text)
                .map_err(|error| Fault::new(Code::Internal, "the vendor's call could not be made").because(error))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

/// Whether some vendor may take the one header for the other, see [`is_reserved`].
fn is_same(left: &HeaderName, right: &HeaderName) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
    left.as_str().bytes().map(fold).eq(right.as_str().bytes().map(fold))
}

/// Whether the client's `Connection` header makes this one a matter of its own connection (RFC 9110 §7.6.1).
fn is_named_by_connection(name: &HeaderName, headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        // Nearly always one word; what is not text names nothing that could be a header.
        value.to_str().is_ok_and(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(name.as_str())))
    })
}

/// The JSON body.
pub(super) fn rewritten(route: &Route, values: &impl Values, body: &[u8]) -> Result<Vec<u8>, Fault> {
    let set: Vec<(&str, Option<Value>)> =
        route.set.body.iter().map(|(name, shape)| (name.as_str(), shape.fill(values))).collect();
    let rules =
        Rules { refuse: &route.refuse, strip: &route.strip.body, allow: route.allow.body.as_deref(), set: &set };
    Ok(json::rewrite(body, &rules)?)
}

fn of_caller(
    grant: &CallGrant,
    body: ClientBody,
    count: Option<Arc<AtomicU64>>,
    patience: Duration,
) -> Result<RequestBody, Fault> {
    let limit = grant.bot().limits.upload;
    match limit {
        Some(limit) if body.size_hint().lower() > limit => Err(intake::too_large(limit)),
        _ if body.is_end_stream() => Ok(RequestBody::empty()),
        _ => Ok(RequestBody::of_caller(body, patience, limit, count)),
    }
}

#[cfg(test)]
mod tests;

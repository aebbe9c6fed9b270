//! The vendor's answer as the caller gets it: its head built anew from an allow-list, its body as it comes.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tokio::time::Instant;

use super::farewell::Format;
use super::json;
use super::scrub::{Needles, mask_header, mask_whole};
use super::stream::AnswerStream;
use crate::access::CallGrant;
use crate::bot::Vendor;
use crate::clock::{Moment, Timestamp};
use crate::fault::{Code, Fault};
use crate::limit::OpenCall;
use crate::token::LONGEST_TTL;
use crate::upstream::pool::AnswerBody;

/// The longest answer that is read whole, to be written into.
const LONGEST_REWRITTEN: usize = 4 << 20;

/// Seconds until the token of the call ends; exposed by CORS.
pub(crate) const EXPIRES_IN: HeaderName = HeaderName::from_static("keystile-expires-in");

/// The longest an answer goes on for an owner, whose credential has no end.
const LONGEST: Duration = LONGEST_TTL;

/// When an answer ends at the latest, as it looks `now`.
pub(super) fn ends(grant: &CallGrant, now: Moment) -> Instant {
    grant.expires().map_or_else(|| now.instant + LONGEST, |expires| now.when(expires))
}

/// The head of an answer.
fn headers(from: &HeaderMap, needles: &Needles, grant: &CallGrant, now: Timestamp) -> HeaderMap {
    let mut headers = passing(from, needles, &grant.bot().vendor);
    tell_expiry(&mut headers, grant, now);
    headers
}

/// Says until when the token of the call is good.
pub(super) fn tell_expiry(headers: &mut HeaderMap, grant: &CallGrant, now: Timestamp) {
    if let Some(expires) = grant.expires()
        && let Ok(left) = HeaderValue::from_str(itoa::Buffer::new().format(expires.since(now).as_secs()))
    {
        headers.insert(EXPIRES_IN, left);
    }
}

/// The head and the stream of an answer that may be passed on; `keys` is nothing where no secret can be in it. The stream is
/// on the heap: what is around it moves many times.
pub(super) fn passed_on(
    response: Response<AnswerBody>,
    grant: CallGrant,
    keys: Option<Arc<Needles>>,
    now: Moment,
    open: Option<OpenCall>,
) -> Result<Response<Box<AnswerStream>>, Fault> {
    let (head, body) = response.into_parts();
    usable(head.status, &head.headers)?;
    let needles = keys.map_or_else(Arc::default, |keys| needles(keys, &grant));
    let headers = headers(&head.headers, &needles, &grant, now.wall);
    let format = Format::of(&headers);
    let ends = (now.instant, ends(&grant, now));
    let stream = Box::new(AnswerStream::new(body, needles, format, ends, grant, open));
    let mut response = Response::new(stream);
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// An answer that was read whole, with its members replaced by `ours`; nothing secret is left in it. What is no JSON
/// object comes back as it was, where the vendor says that the call failed.
///
/// # Errors
///
/// An answer that broke off, is too long or too slow, or cannot be written into. Whether it is [`usable`] was asked before.
pub(super) async fn rewritten(
    response: Response<AnswerBody>,
    grant: &CallGrant,
    keys: Arc<Needles>,
    now: Timestamp,
    ours: &[(&str, Option<Value>)],
) -> Result<Response<Bytes>, Fault> {
    let (head, body) = response.into_parts();
    let unusable = |why: Box<dyn Error + Send + Sync>| {
        Fault::new(Code::VendorFailed, "the vendor's answer cannot be passed on").because(why)
    };
    let whole = Limited::new(body, LONGEST_REWRITTEN).collect();
    let whole = tokio::time::timeout(grant.bot().vendor.upstream.timeouts().idle, whole);
    let whole = whole
        .await
        .map_err(|_elapsed| Fault::new(Code::VendorTimeout, "the vendor did not finish its answer in time"))?;
    let mut text = whole.map_err(unusable)?.to_bytes().to_vec();
    let needles = needles(keys, grant);
    let mut hits = mask_whole(&needles, &mut text);
    let mut body = match json::replace(&text, ours) {
        Ok(body) => body,
        Err(_) if !head.status.is_success() => text,
        Err(error) => return Err(unusable(error.into())),
    };
    // Once more: a name that is written anew has lost an escape, behind which another form of a secret may be.
    hits += mask_whole(&needles, &mut body);
    grant.bot().vendor.note_masked(hits, "body");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = head.status;
    *response.headers_mut() = headers(&head.headers, &needles, grant, now);
    // There is a token in it.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().remove(header::ETAG);
    Ok(response)
}

/// Whether an answer is JSON, so that something can be written into it.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let media = media_type(headers);
    let suffix = media.len().checked_sub("+json".len()).and_then(|start| media.get(start..)).unwrap_or_default();
    media.eq_ignore_ascii_case(b"application/json") || suffix.eq_ignore_ascii_case(b"+json")
}

/// The media type that an answer declares, without its parameters (RFC 9110, section 8.3.1); empty where it declares none.
pub(super) fn media_type(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// What a call's answers are searched for: the vendor's keys, and its own token of the session.
pub(super) fn needles(keys: Arc<Needles>, grant: &CallGrant) -> Arc<Needles> {
    match grant.session().and_then(|verified| verified.binding.token.as_ref()) {
        Some(token) => Arc::new(Needles::with(&keys, token)),
        None => keys,
    }
}

/// Whether an answer is one that can be passed on at all.
///
/// # Errors
///
/// Why not.
pub(super) fn usable(status: StatusCode, headers: &HeaderMap) -> Result<(), Fault> {
    let failed =
        |cause: String| Err(Fault::new(Code::VendorFailed, "the vendor's answer cannot be passed on").because(cause));
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        // A 401 downstream always means the caller's own credential.
        let cause = format!("the vendor answered {status} to a conversation call");
        return Err(Fault::new(Code::VendorRefusedKey, "the vendor refused the gateway's credential").because(cause));
    }
    if status.is_redirection() || status.is_informational() {
        return failed(format!("the vendor answered {status}"));
    }
    let is_chunked_only = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !headers.get_all(header::TRANSFER_ENCODING).iter().all(is_chunked_only) {
        return failed(
            "the vendor's answer has a transfer-coding besides chunked; it could not be scrubbed".to_owned(),
        );
    }
    if headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return failed(
            "the vendor encoded its answer although identity was asked for; it could not be scrubbed".to_owned(),
        );
    }
    Ok(())
}

/// The headers of an answer of `vendor` that pass, without what could give a secret away.
fn passing(from: &HeaderMap, needles: &Needles, vendor: &Vendor) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(from.len() + 8);
    for (name, value) in from.iter().filter(|(name, _)| passes(name)) {
        let value = match mask_header(needles, value.as_bytes()) {
            None => value.clone(),
            Some(masked) => {
                vendor.note_masked(1, name.as_str());
                HeaderValue::from_bytes(&masked).unwrap_or_else(|_| HeaderValue::from_static("*"))
            }
        };
        headers.append(name, value);
    }
    headers
}

/// The allow-list. Everything else is a matter between gateway and vendor (`Set-Cookie`, `Location`, `Alt-Svc`, …), or
/// written by the gateway itself (`Access-Control-*`, security headers, framing).
fn passes(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-type"
            | "content-disposition"
            | "content-language"
            | "cache-control"
            | "etag"
            | "last-modified"
            | "expires"
            | "age"
            | "retry-after"
            | "ratelimit"
            | "ratelimit-policy"
            | "ratelimit-limit"
            | "ratelimit-remaining"
            | "ratelimit-reset"
            | "x-ratelimit-limit"
            | "x-ratelimit-remaining"
            | "x-ratelimit-reset"
    )
}

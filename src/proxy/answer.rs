//! The vendor's answer as the caller gets it: its head built anew from an allow-list, its body as it comes.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::farewell::Format;
use super::scrub::{Needles, mask_header};
use super::stream::AnswerStream;
use crate::access::CallGrant;
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::limit::OpenCall;
use crate::token::LEEWAY;
use crate::upstream::pool::AnswerBody;

/// Seconds until the token of the call ends; exposed by CORS.
pub(super) const EXPIRES_IN: HeaderName = HeaderName::from_static("keystile-expires-in");

/// The head and the stream of an answer that may be passed on.
pub(super) fn passed_on(
    response: Response<AnswerBody>,
    grant: CallGrant,
    keys: Arc<Needles>,
    now: Timestamp,
    open: Option<OpenCall>,
) -> Result<Response<AnswerStream>, Fault> {
    let (head, body) = response.into_parts();
    usable(head.status, &head.headers)?;
    let needles = needles(keys, &grant);
    let mut headers = passing(&head.headers, &needles);
    let expires = grant.verified().session.expires;
    headers.insert(EXPIRES_IN, HeaderValue::from(expires.since(now).as_secs()));
    let format = Format::of(&headers);
    let ends_in = expires.since(now);
    let stream = AnswerStream::new(body, needles, format, ends_in, LEEWAY, grant, open);
    let mut response = Response::new(stream);
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// What a call's answers are searched for: the vendor's keys, and its own token of the session.
pub(super) fn needles(keys: Arc<Needles>, grant: &CallGrant) -> Arc<Needles> {
    match &grant.verified().binding.token {
        Some(token) => Arc::new(Needles::with(&keys, token)),
        None => keys,
    }
}

/// Whether an answer is one that can be passed on at all.
fn usable(status: StatusCode, headers: &HeaderMap) -> Result<(), Fault> {
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

/// The headers that pass, without what could give a secret away.
fn passing(from: &HeaderMap, needles: &Needles) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(from.len() + 8);
    for (name, value) in from.iter().filter(|(name, _)| passes(name)) {
        let value = match mask_header(needles, value.as_bytes()) {
            None => value.clone(),
            Some(masked) => {
                tracing::error!(header = name.as_str(), "a secret was masked in a header of a vendor's answer");
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

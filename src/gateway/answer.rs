//! Faults become answers here, and nowhere else: `application/problem+json` (RFC 9457) on the gateway's own paths, the
//! vendor's shape on a vendor's.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use serde_json::{Value, json};

use super::body::Payload;
use crate::fault::{Blame, Code, Fault, Quota};
use crate::id::RequestId;
use crate::telemetry::Record;
use crate::vendor::{ErrorShape, Expired, Profile};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What the libraries of OpenAI and others ask before they retry: they do so after a 409.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The answer for a fault on paths that are no vendor's.
pub(crate) fn problem(fault: &Fault, id: RequestId) -> Response<Bytes> {
    let mut response = rendered(fault, None, id);
    identify(response.headers_mut(), id);
    response
}

/// The answer for a fault. `shape` is the profile of the vendor on whose paths it happened.
pub(super) fn of(fault: &Fault, shape: Option<&Profile>, id: RequestId) -> Response<Payload> {
    rendered(fault, shape, id).map(Payload::Whole)
}

fn rendered(fault: &Fault, shape: Option<&Profile>, id: RequestId) -> Response<Bytes> {
    let code = fault.code();
    let (media, body) = match shape.and_then(|profile| profile.error.as_ref()) {
        Some(shape) => ("application/json", in_shape(fault, shape)),
        None => ("application/problem+json", details(fault, id)),
    };
    let mut response = Response::new(Bytes::from(body.to_string()));
    let expired = shape.and_then(|profile| profile.error.as_ref()).and_then(|shape| expired(fault, shape));
    *response.status_mut() = expired.map_or(code.status(), |expired| expired.status);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if fault.is_final() {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let Some(challenge) = challenge(code) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if code == Code::MethodNotAllowed
        && let Ok(allow) = HeaderValue::from_str(fault.detail())
    {
        headers.insert(header::ALLOW, allow);
    }
    if code == Code::UpgradeRequired {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    if let Some(wait) = fault.wait() {
        // Whole seconds, rounded up: a client that comes back then is not too early.
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
    }
    response
}

/// In the vendor's shape; what the vendor itself said of it stands where the vendor would have said it.
fn in_shape(fault: &Fault, shape: &ErrorShape) -> Value {
    let (code, own) = (fault.code(), message(fault));
    let said = fault.vendor_said();
    let words = said.and_then(|said| said.message.as_deref()).unwrap_or(&own);
    if let Some(expired) = expired(fault, shape) {
        return shape.fill_with(&expired.code, words);
    }
    match said.and_then(|said| said.code.as_ref()).filter(|theirs| is_code(theirs, shape)) {
        Some(theirs) => shape.fill_with(theirs, words),
        None => shape.fill(code.status(), code.name(), words),
    }
}

/// How this vendor's clients learn of it, if it says that they need a new token.
fn expired<'s>(fault: &Fault, shape: &'s ErrorShape) -> Option<&'s Expired> {
    let is_over = matches!(fault.code(), Code::TokenExpired | Code::TokenReplaced | Code::TokenRevoked);
    shape.expired.as_ref().filter(|_| is_over)
}

/// Whether clients can read this as a code of the vendor's: it has the type of one of the others, and does not say that all went
/// well.
fn is_code(theirs: &Value, shape: &ErrorShape) -> bool {
    let is_like =
        |known: &Value| if known.is_string() { theirs.is_string() } else { theirs.is_i64() || theirs.is_u64() };
    let is_success = theirs.as_u64().is_some_and(|code| (200..300).contains(&code));
    !is_success && (shape.codes.is_empty() || shape.codes.values().any(is_like))
}

fn message(fault: &Fault) -> String {
    match fault.code() {
        Code::MethodNotAllowed => format!("use {}", fault.detail()),
        _ => match fault.vendor_said().and_then(|said| said.message.as_deref()) {
            Some(words) => format!("{}: {words}", fault.detail()),
            None => fault.detail().to_owned(),
        },
    }
}

fn details(fault: &Fault, id: RequestId) -> Value {
    let code = fault.code();
    json!({
        "type": format!("urn:keystile:problem:{}", code.name()),
        "title": code.title(),
        "status": code.status().as_u16(),
        "detail": message(fault),
        "code": code.name(),
        "message": message(fault),
        "requestId": id.as_str(),
    })
}

/// RFC 6750 §3: no error where no credential came, and an expired token told from a bad one.
fn challenge(code: Code) -> Option<&'static str> {
    match code {
        Code::CredentialRequired => Some("Bearer realm=\"keystile\""),
        Code::TokenExpired => {
            Some("Bearer realm=\"keystile\", error=\"invalid_token\", error_description=\"the token has expired\"")
        }
        Code::TokenReplaced => {
            Some("Bearer realm=\"keystile\", error=\"invalid_token\", error_description=\"the token was replaced\"")
        }
        Code::TokenRevoked => {
            Some("Bearer realm=\"keystile\", error=\"invalid_token\", error_description=\"the token was revoked\"")
        }
        Code::InvalidToken => {
            Some("Bearer realm=\"keystile\", error=\"invalid_token\", error_description=\"the token is not valid\"")
        }
        Code::InvalidClient => Some(
            "Bearer realm=\"keystile\", error=\"invalid_token\", error_description=\"the client credential is not valid\"",
        ),
        Code::SessionTokenRequired => Some(
            "Bearer realm=\"keystile\", error=\"invalid_token\", error_description=\"a session token is required\"",
        ),
        _ => None,
    }
}

/// What an operator can do something about is a warning; what a caller did wrong is on the record, and in the log only
/// where it is asked for.
pub(super) fn log(fault: &Fault, record: &Record, vendor: &str) {
    let (id, code) = (record.id, fault.code().name());
    let route = record.route.as_deref().unwrap_or("-");
    match fault.code().blame() {
        Blame::Client => tracing::debug!(%id, code, route, "refused: {fault:?}"),
        Blame::Gateway => tracing::error!(%id, code, route, "failed: {fault:?}"),
        Blame::Vendor => tracing::warn!(%id, code, route, vendor, "vendor: {fault:?}"),
    }
}

/// The id that a proxy gave a request.
pub(super) fn given_id(headers: &HeaderMap) -> Option<RequestId> {
    headers.get(&REQUEST_ID).and_then(|id| RequestId::given(id.as_bytes()))
}

/// The limit that refused a call, as the metrics know it.
pub(super) fn limit_of(fault: &Fault) -> Option<&'static str> {
    match fault.code() {
        Code::TooManyStreams => Some("streams"),
        Code::TooManySessions => Some("sessions"),
        Code::TooManyFailures => Some("failed_credentials"),
        _ => fault.quota().map(Quota::policy),
    }
}

/// On a vendor's paths an answer is data: whatever it says of itself, a browser must not run it as a page of the
/// gateway's origin.
pub(super) fn protect(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}

/// Puts the request's id on an answer.
pub(crate) fn identify(headers: &mut HeaderMap, id: RequestId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
}

/// The demo's page: it may run its own script and talk to this gateway, and nothing else.
pub(super) fn page(html: Bytes) -> Response<Payload> {
    const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let mut response = Response::new(Payload::Whole(html));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Problems;
    use crate::fault::Said;
    use crate::vendor::{self, Options};

    fn hottask() -> ErrorShape {
        let text = vendor::built_in("hottask").unwrap();
        let profile = vendor::read("hottask", "hottask", text, &Options::default(), &Problems::default());
        profile.unwrap().error.unwrap()
    }

    #[test]
    fn hottasks_clients_read_an_integer_whatever_went_wrong() {
        let shape = hottask();
        for code in Code::ALL {
            let body = in_shape(&Fault::new(*code, "it failed"), &shape);
            assert_eq!(body["Code"], code.status().as_u16(), "{code:?}");
            assert_eq!((&body["Success"], &body["Message"].is_string()), (&json!(false), &true), "{code:?}");
        }
    }

    #[test]
    fn a_vendors_own_code_stands_only_where_clients_can_read_it() {
        let shape = hottask();
        let told = |code: Value| {
            let said = Said { code: Some(code), message: Some("no".to_owned()) };
            in_shape(&Fault::new(Code::VendorFailed, "it failed").said(said), &shape)["Code"].clone()
        };
        assert_eq!((told(json!(404)), told(json!(10_021)), told(json!(-3))), (json!(404), json!(10_021), json!(-3)));
        for odd in [json!("E17"), json!("404"), json!(4.5), json!(200), json!(204)] {
            assert_eq!(told(odd.clone()), json!(502), "{odd}");
        }
    }
}

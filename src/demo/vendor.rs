//! Simulated vendors, as strict as the real ones are documented to be.
//!
//! `keystile demo` and the tests run them on loopback. They import the ground and libraries only: a simulator that
//! shared code with the gateway would share its mistakes, and both would agree on something no vendor does.
//!
//! What every one of them needs stands here: a listener, a [`journal`] of what came in, and the reading of
//! credentials and bodies.

pub mod aichatbothub;
pub mod chatbotkit;
pub mod directline;
pub mod genesys;
pub mod hottask;
mod journal;
mod listen;
mod masked;
mod members;
pub mod openai;
mod pacing;
mod query;
mod refusal;
#[cfg(test)]
mod running;
pub mod superseek;
mod words;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::{Map, Value};

pub use self::journal::Seen;

/// What a simulated vendor answers with.
type Answer = Response<UnsyncBoxBody<Bytes, std::convert::Infallible>>;

/// A JSON answer.
fn json(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// What `Authorization` says. Two such headers say nothing: which of them counts is a guess.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()
}

/// The bearer credential (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credential) = authorization(headers)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(credential)
}

/// Whether the body is declared as JSON.
fn declares_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = declared.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

/// The JSON object in `body`, if it is declared as JSON and is one; else what is wrong.
fn json_object(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, String> {
    if !declares_json(headers) {
        return Err("the content type is not application/json".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| format!("the body is not a JSON object: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        values.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_bearer_credential_stands_alone() {
        assert_eq!(bearer(&headers(&[(AUTHORIZATION, "bearer abc")])), Some("abc"));
        assert_eq!(bearer(&headers(&[(AUTHORIZATION, "Basic abc")])), None);
        let mut two = headers(&[(AUTHORIZATION, "Bearer abc")]);
        two.append(AUTHORIZATION, HeaderValue::from_static("Bearer def"));
        assert_eq!(bearer(&two), None);
    }

    #[test]
    fn only_what_is_declared_as_json_is_read_as_json() {
        assert!(json_object(&headers(&[(CONTENT_TYPE, "Application/JSON; charset=utf-8")]), b"{}").is_ok());
        assert!(json_object(&headers(&[(CONTENT_TYPE, "text/plain")]), b"{}").is_err());
        assert!(json_object(&headers(&[]), b"{}").is_err());
        assert!(json_object(&headers(&[(CONTENT_TYPE, "application/json")]), b"[]").is_err());
    }
}

//! Refusals of vendors whose documentation shows none.
//!
//! Neither the statuses nor the `{error}` body were seen in the vendor's documentation: they are what a plain JSON
//! service would answer. No text quotes what the caller sent, which may have been a key.

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answer, declares_json};

/// Why a call is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: &'static str,
}

impl Refusal {
    pub(super) fn bad_request(message: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message }
    }

    /// The body broke off; whoever sent it will hardly read this.
    pub(super) fn incomplete() -> Self {
        Self::bad_request("the body is incomplete")
    }

    /// No key, a wrong one, or one in another place.
    pub(super) fn unauthorized() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, message: "a valid key is required" }
    }

    /// Nothing is there, or what is there is somebody else's.
    pub(super) fn not_found(message: &'static str) -> Self {
        Self { status: StatusCode::NOT_FOUND, message }
    }

    pub(super) fn method_not_allowed() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, message: "the method is not allowed here" }
    }

    fn unsupported() -> Self {
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, message: "the body has to be application/json" }
    }

    pub(super) fn into_answer(self) -> Answer {
        super::json(self.status, &json!({ "error": self.message }))
    }
}

/// The body as the JSON object that it has to be.
pub(super) fn object(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if !declares_json(headers) {
        return Err(Refusal::unsupported());
    }
    serde_json::from_slice(body).ok().ok_or_else(|| Refusal::bad_request("the body has to be a JSON object"))
}

/// A member that has to be a string with something in it.
pub(super) fn text<'b>(body: &'b Map<String, Value>, name: &str, wrong: &'static str) -> Result<&'b str, Refusal> {
    let text = body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| Refusal::bad_request(wrong))
}

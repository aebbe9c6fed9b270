//! Refusals: `{statusCode, message}`. Their real shape was not seen; the statuses are the documented ones.

use http::header::ALLOW;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::demo::vendor::{self, Answer};

/// Why a call is refused.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    message: String,
    allowed: Option<&'static str>,
}

impl Fault {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The key is missing, wrong, or there twice.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized")
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found")
    }

    /// A method that is none of `allowed`.
    pub(super) fn method_not_allowed(allowed: &'static str) -> Self {
        Self { allowed: Some(allowed), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed") }
    }

    pub(super) fn into_answer(self) -> Answer {
        let body = json!({ "statusCode": self.status.as_u16(), "message": self.message });
        let mut answer = vendor::json(self.status, &body);
        if let Some(allowed) = self.allowed {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        answer
    }

    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), allowed: None }
    }
}

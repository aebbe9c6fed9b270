//! Refusals, in the vendor's shape: `{message, code}`.

use http::StatusCode;
use serde_json::json;

use crate::demo::vendor::{self, Answer};

/// Why a call is refused.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Fault {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "BAD_REQUEST", message: message.into() }
    }

    /// The body broke off; whoever sent it will hardly read this.
    pub(super) fn incomplete() -> Self {
        Self::bad_request("the body is incomplete")
    }

    /// No credential, or one that is unknown or has expired.
    pub(super) fn not_authenticated() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, code: "NOT_AUTHENTICATED", message: "Not authenticated".to_owned() }
    }

    /// A good credential, for something else.
    pub(super) fn not_authorized() -> Self {
        Self { status: StatusCode::FORBIDDEN, code: "NOT_AUTHORIZED", message: "Not authorized".to_owned() }
    }

    pub(super) fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "NOT_FOUND", message: "Not found".to_owned() }
    }

    pub(super) fn into_answer(self) -> Answer {
        vendor::json(self.status, &json!({ "message": self.message, "code": self.code }))
    }
}

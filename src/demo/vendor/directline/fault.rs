//! Refusals, in the vendor's shape: `{"error": {code, message}}`.

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
    pub(super) fn bad_argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadArgument", message)
    }

    /// The body is not JSON.
    pub(super) fn bad_syntax(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadSyntax", message)
    }

    pub(super) fn missing(property: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MissingProperty", format!("Missing {property}"))
    }

    pub(super) fn too_big() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "MessageSizeTooBig", "The activity is larger than 256 KB")
    }

    pub(super) fn no_credential() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "BadArgument", "Missing token or secret")
    }

    /// No credential of the vendor's, or one for something else.
    pub(super) fn wrong_credential() -> Self {
        Self::new(StatusCode::FORBIDDEN, "BadArgument", "Invalid token or secret")
    }

    pub(super) fn expired() -> Self {
        Self::new(StatusCode::FORBIDDEN, "TokenExpired", "Token has expired")
    }

    /// The conversation is unknown, or was never started.
    pub(super) fn no_conversation() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BadArgument", "Conversation not found")
    }

    /// The call does not ask for a WebSocket as RFC 6455 §4.1 says.
    pub(super) fn no_websocket() -> Self {
        Self::bad_argument("A WebSocket handshake is required")
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BadArgument", "No HTTP resource was found that matches the request URI")
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "The requested resource does not support this http method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "BadArgument", message)
    }

    pub(super) fn into_answer(self) -> Answer {
        vendor::json(self.status, &json!({ "error": { "code": self.code, "message": self.message } }))
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

//! Refusals, in the vendor's shape: `{"error": {message, type, param, code}}`.

use http::{Method, StatusCode};
use serde_json::json;

use crate::demo::vendor::{self, Answer};

/// Why a call is refused.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
}

impl Fault {
    /// A parameter that is not as it must be.
    pub(super) fn parameter(name: &str, code: &'static str, message: String) -> Self {
        let param = Some(name.to_owned());
        Self { param, code: Some(code), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    pub(super) fn missing(name: &str) -> Self {
        Self::parameter(name, "missing_required_parameter", format!("Missing required parameter: '{name}'."))
    }

    pub(super) fn wrong_type(name: &str, expected: &str) -> Self {
        Self::parameter(name, "invalid_type", format!("Invalid type for '{name}': expected {expected}."))
    }

    pub(super) fn wrong_value(name: &str, supported: &str) -> Self {
        let message = format!("Invalid value for '{name}'. Supported values are: {supported}.");
        Self::parameter(name, "invalid_value", message)
    }

    /// The body broke off, or is no JSON object.
    pub(super) fn unreadable() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "We could not parse the JSON body of your request.")
    }

    pub(super) fn content_type() -> Self {
        let message = "Unsupported content type. This API method only accepts 'application/json' requests.";
        Self { code: Some("unsupported_content_type"), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    pub(super) fn no_key() -> Self {
        let message = "You didn't provide an API key. You need to provide your API key in an Authorization header \
                       using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// The real vendor quotes parts of the key; that is nothing to imitate.
    pub(super) fn wrong_key() -> Self {
        Self { code: Some("invalid_api_key"), ..Self::new(StatusCode::UNAUTHORIZED, "Incorrect API key provided.") }
    }

    pub(super) fn no_such_model(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist or you do not have access to it.");
        Self { code: Some("model_not_found"), ..Self::new(StatusCode::NOT_FOUND, message) }
    }

    pub(super) fn no_such_response(id: &str) -> Self {
        let message = format!("Previous response with id '{id}' not found.");
        Self::parameter("previous_response_id", "previous_response_not_found", message)
    }

    pub(super) fn no_such_item(id: &str) -> Self {
        let param = Some("input".to_owned());
        Self { param, ..Self::new(StatusCode::NOT_FOUND, format!("Item with id '{id}' not found.")) }
    }

    /// Something else of the account that is named by an id; this account has none of it.
    pub(super) fn no_such(kind: &'static str) -> Self {
        let param = Some(kind.to_owned());
        Self { param, ..Self::new(StatusCode::NOT_FOUND, format!("There is no such {kind}.")) }
    }

    pub(super) fn no_such_url(method: &Method, path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Invalid URL ({method} {path})"))
    }

    pub(super) fn method_not_supported(method: &Method, path: &str) -> Self {
        let message =
            format!("Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)");
        Self { code: Some("method_not_supported"), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    pub(super) fn into_answer(self) -> Answer {
        let error = json!({
            "message": self.message,
            "type": "invalid_request_error",
            "param": self.param,
            "code": self.code,
        });
        vendor::json(self.status, &json!({ "error": error }))
    }

    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }
}

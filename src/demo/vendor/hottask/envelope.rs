//! The envelope around every answer, and what is refused in it.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::demo::vendor::members::Members;
use crate::demo::vendor::{self, Answer, declares_json};

/// Why a call is refused.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    code: u16,
    message: &'static str,
}

impl Fault {
    /// Refused by the service's own logic, which the HTTP status does not tell.
    fn business(code: u16, message: &'static str) -> Self {
        Self { status: StatusCode::OK, code, message }
    }

    /// Refused before the service's own logic was reached. How that looks was not seen in the vendor's documentation.
    fn routing(status: StatusCode, message: &'static str) -> Self {
        Self { status, code: status.as_u16(), message }
    }

    pub(super) fn bad_request(message: &'static str) -> Self {
        Self::business(400, message)
    }

    /// The body broke off; whoever sent it will hardly read this.
    pub(super) fn incomplete() -> Self {
        Self::bad_request("the body is incomplete")
    }

    pub(super) fn unauthorized() -> Self {
        Self::business(401, "Authorization is invalid")
    }

    pub(super) fn not_found(message: &'static str) -> Self {
        Self::business(404, message)
    }

    pub(super) fn no_such_call() -> Self {
        Self::routing(StatusCode::NOT_FOUND, "there is no such call")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::routing(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed here")
    }

    pub(super) fn into_answer(self) -> Answer {
        let envelope = json!({
            "Data": null,
            "Version": "1.0.0",
            "Success": false,
            "Code": self.code,
            "Message": self.message,
        });
        vendor::json(self.status, &envelope)
    }
}

/// The answer to a call that was granted.
pub(super) fn success(data: &Value) -> Answer {
    let envelope = json!({ "Data": data, "Version": "1.0.0", "Success": true, "Code": 200, "Message": "" });
    vendor::json(StatusCode::OK, &envelope)
}

/// The members of the JSON object that the body has to be.
pub(super) fn members(headers: &HeaderMap, body: &[u8]) -> Result<Members, Fault> {
    if !declares_json(headers) {
        return Err(Fault::business(415, "the body has to be application/json"));
    }
    serde_json::from_slice(body).ok().ok_or_else(|| Fault::bad_request("the body has to be a JSON object"))
}

/// A member that has to be a string with something in it.
pub(super) fn text<'b>(body: &'b Members, name: &str, wrong: &'static str) -> Result<&'b str, Fault> {
    let text = body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| Fault::bad_request(wrong))
}

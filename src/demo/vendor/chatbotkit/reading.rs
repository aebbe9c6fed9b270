//! What is read out of a call, and what its caller is trusted with.

use http::HeaderMap;
use serde_json::{Map, Value};

use super::fault::Fault;
use crate::demo::vendor::json_object;
use crate::demo::vendor::listen::Call;

/// The headers by which an account key acts for somebody else.
const RUN_AS: [&str; 3] = ["x-runas-user-id", "x-runas-userid", "x-runas-child-user-email"];

/// The body fields that are taken from an account key only.
const TRUSTED_FIELDS: [&str; 2] = ["extensions", "debug"];

/// The body as the JSON object that it has to be.
pub(super) fn object(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Fault> {
    json_object(headers, body).map_err(Fault::bad_request)
}

/// What the user says in a body.
pub(super) fn text(body: &Map<String, Value>) -> Result<String, Fault> {
    match body.get("text") {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(Fault::bad_request("text: a string is required")),
    }
}

/// Notes what an account key's call was trusted with.
pub(super) fn honour(call: &Call, body: &Map<String, Value>) {
    let headers = RUN_AS.into_iter().filter(|name| call.head.headers.contains_key(*name));
    let fields = TRUSTED_FIELDS.into_iter().filter(|name| body.contains_key(*name));
    call.entry.honour(headers.chain(fields).map(str::to_owned));
}

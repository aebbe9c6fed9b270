//! What is read out of a call: who it is for, and which visit.

use http::HeaderMap;
use serde_json::{Map, Value};

use super::fault::Fault;
use super::session::{Identity, Visit};
use crate::demo::vendor::json_object;
use crate::demo::vendor::listen::Call;

/// The headers that say who a call is for. Documented as `gkc_agentId` and `gkc_customerId`; names have no case.
const AGENT: &str = "gkc_agentid";
const CUSTOMER: &str = "gkc_customerid";

/// Who the call says it is for. The vendor believes it, which goes on record.
pub(super) fn identity(call: &Call) -> Result<Identity, Fault> {
    let headers = &call.head.headers;
    let identity = Identity { agent: header(headers, AGENT)?, customer: header(headers, CUSTOMER)? };
    let believed = [AGENT, CUSTOMER].into_iter().filter(|name| headers.contains_key(*name));
    call.entry.honour(believed.map(str::to_owned));
    Ok(identity)
}

/// The visit that a body names. There may be no body.
pub(super) fn visit(headers: &HeaderMap, body: &[u8]) -> Result<Visit, Fault> {
    if body.is_empty() {
        return Ok(Visit::default());
    }
    let body = json_object(headers, body).map_err(Fault::bad_request)?;
    Ok(Visit { id: text(&body, "visitId")?, global: text(&body, "globalVisitId")? })
}

fn header(headers: &HeaderMap, name: &str) -> Result<Option<String>, Fault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(value) if !value.is_empty() => Ok(Some(value.to_owned())),
            _ => Err(Fault::bad_request(format!("{name}: an id is required"))),
        },
        (Some(_), Some(_)) => Err(Fault::bad_request(format!("{name}: given twice"))),
    }
}

fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::String(value)) if !value.is_empty() => Ok(Some(value.clone())),
        Some(_) => Err(Fault::bad_request(format!("{name}: a string is required"))),
    }
}

//! Reading the calls that the gateway makes by itself: `[open]`, `[identify]`, `[renew]`.

use super::super::options::Names;
use super::super::profile::{Failure, Identify, Open, Renew, SessionSource, SessionType, Set, Target};
use super::super::template::Variable;
use super::parts::{pointer, target};
use super::set::set;
use crate::document::{Table, Value};

/// Reads `[open]`.
pub(super) fn open(value: &Value<'_>, names: &Names<'_>) -> Option<Open> {
    let table = value.table()?;
    let call = call(&table, names);
    let session = session(&table, names);
    let session_type = table.get("session_type").map_or(Some(SessionType::Text), |value| session_type(&value));
    let vendor_token = pointer(&table, "vendor_token", names);
    let expires = pointer(&table, "expires", names);
    let failure = failure(&table, names);
    if session == Some(SessionSource::Text) {
        for key in ["vendor_token", "expires"] {
            if let Some(value) = table.get(key) {
                value.problem("is read out of JSON; with session = \"text\" the whole answer is the session's id");
            }
        }
    }
    let (target, set) = call?;
    for variable in target.variables().chain(set.variables()) {
        if matches!(variable, Variable::Session | Variable::VendorToken) {
            table
                .problem("call", "the session call cannot use {session} or {vendor_token}: it is where they come from");
            return None;
        }
    }
    Some(Open {
        target,
        set,
        session: session?,
        session_type: session_type?,
        vendor_token: vendor_token?,
        expires: expires?,
        failure: failure?,
    })
}

/// What is called, and with what.
fn call(table: &Table<'_>, names: &Names<'_>) -> Option<(Target, Set)> {
    let (target, set) = (target(table, names), set(table, names));
    let (target, set) = (target?, set?);
    if target.method.is_safe() && !set.body.is_empty() {
        table.problem("call", "a GET or HEAD has no body to set names in");
        return None;
    }
    Some((target, set))
}

fn session(table: &Table<'_>, names: &Names<'_>) -> Option<SessionSource> {
    match table.required("session", "\"text\", or a JSON pointer to the id")?.text()? {
        "text" => Some(SessionSource::Text),
        _ => pointer(table, "session", names).flatten().map(SessionSource::Pointer),
    }
}

/// The type of the vendor's session ids.
fn session_type(value: &Value<'_>) -> Option<SessionType> {
    value.one_of(&[("text", SessionType::Text), ("integer", SessionType::Integer)])
}

fn failure(table: &Table<'_>, names: &Names<'_>) -> Option<Failure> {
    let section = table.section("failure");
    let (when, code, message) =
        (pointer(&section, "when", names), pointer(&section, "code", names), pointer(&section, "message", names));
    Some(Failure { when: when?, code: code?, message: message? })
}

/// Reads `[identify]`.
pub(super) fn identify(value: &Value<'_>, names: &Names<'_>) -> Option<Identify> {
    let (target, set) = call(&value.table()?, names)?;
    Some(Identify { target, set })
}

/// Reads `[renew]`.
pub(super) fn renew(value: &Value<'_>, names: &Names<'_>) -> Option<Renew> {
    let table = value.table()?;
    let call = call(&table, names);
    let vendor_token = pointer(&table, "vendor_token", names);
    let expires = pointer(&table, "expires", names);
    let vendor_token = vendor_token?;
    if vendor_token.is_none() {
        table.problem("vendor_token", "is missing: a JSON pointer to the vendor's new token");
    }
    let (target, set) = call?;
    Some(Renew { target, set, vendor_token: vendor_token?, expires: expires? })
}

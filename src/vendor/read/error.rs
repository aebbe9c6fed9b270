//! Reading `[error]`: how a vendor writes errors, and which of its answers are about the key.

use super::super::profile::{ErrorShape, Expired, KeyAnswers};
use super::set::entries;
use super::turn;
use crate::document::{Table, Value};

/// Reads `[error]`.
pub(super) fn error_shape(value: &Value<'_>) -> Option<(Option<ErrorShape>, KeyAnswers)> {
    let table = value.table()?;
    let json = table.get("json").map(|value| body(&value));
    let codes = entries(&table, "codes", |name, item| {
        let status = name.parse().ok().filter(|status| (400..600).contains(status));
        if status.is_none() {
            item.problem(format!("`{name}` must be an HTTP status from 400 to 599"));
        }
        Some((status?, code(item)?))
    });
    let expired = table.get("expired").map(|value| expired(&value));
    let key = key_answers(&table)?;
    let (codes, expired) = (codes?, turn(expired)?);
    check_types(&table);
    match json {
        Some(json) => Some((Some(ErrorShape { json: json?, codes: codes.into_iter().collect(), expired }), key)),
        None if !codes.is_empty() || expired.is_some() => {
            let name = if codes.is_empty() { "expired" } else { "codes" };
            table.problem(name, "is of no use without `json`, the body of an error with {message} and {code}");
            None
        }
        None => Some((None, key)),
    }
}

/// The body of an error.
fn body(value: &Value<'_>) -> Option<serde_json::Value> {
    let json = value.json()?;
    let wrong = wrong_text(&json);
    if let Some(text) = wrong {
        value.problem(format!("`{text}`: the placeholders of an error are {{message}} and {{code}}, and no others"));
    }
    wrong.is_none().then_some(json)
}

/// A text that names another placeholder than the two: letters, dots and lines in braces.
fn wrong_text(json: &serde_json::Value) -> Option<&str> {
    use serde_json::Value as Json;
    match json {
        Json::String(text) => {
            let is_named = |name: &str| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic() || b"._".contains(&byte))
            };
            let mut names = text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0));
            names.any(|name| is_named(name.trim()) && !["message", "code"].contains(&name)).then_some(text)
        }
        Json::Array(items) => items.iter().find_map(wrong_text),
        Json::Object(members) => members.values().find_map(wrong_text),
        _ => None,
    }
}

/// Notes codes of another type than the first one's: the vendor's clients read them all alike.
fn check_types(table: &Table<'_>) {
    let codes = table.section("codes").named().into_iter();
    let expired = table.section("expired").named().into_iter().filter(|(name, _)| *name == "code");
    let all: Vec<Value<'_>> = codes.chain(expired).map(|(_, value)| value).collect();
    let is_text = |value: &Value<'_>| value.as_text().is_some();
    for other in all.iter().filter(|value| all.first().is_some_and(|first| is_text(first) != is_text(value))) {
        let kind = if is_text(other) { "an integer" } else { "a string" };
        other.problem(format!("must be {kind}, as the codes before it are: all are of one type"));
    }
}

fn code(value: &Value<'_>) -> Option<serde_json::Value> {
    let code = value.json()?;
    let is_plain = code.is_string() || code.is_number();
    if !is_plain {
        value.problem("must be a string or an integer: the vendor's code for this status");
    }
    is_plain.then_some(code)
}

fn expired(value: &Value<'_>) -> Option<Expired> {
    let table = value.table()?;
    let status = table.required("status", "the HTTP status, such as 403").and_then(|value| value.integer(400, 499));
    let code = table.required("code", "the vendor's code, such as \"TokenExpired\"").and_then(|value| code(&value));
    let status = status.and_then(|status| u16::try_from(status).ok());
    Some(Expired { status: http::StatusCode::from_u16(status?).ok()?, code: code? })
}

fn key_answers(table: &Table<'_>) -> Option<KeyAnswers> {
    let Some(value) = table.get("key") else { return Some(KeyAnswers::default()) };
    let read = |item: &Value<'_>| item.integer(400, 599).and_then(|status| u16::try_from(status).ok());
    let statuses: Vec<Option<u16>> = value.items()?.iter().map(read).collect();
    statuses.into_iter().collect::<Option<_>>().map(KeyAnswers)
}

//! Reading `[error]`: how a vendor writes errors, and which of its answers are about the key.

use super::super::profile::{ErrorShape, KeyAnswers};
use super::set::entries;
use crate::document::{Table, Value};

/// Reads `[error]`.
pub(super) fn error_shape(value: &Value<'_>) -> Option<(Option<ErrorShape>, KeyAnswers)> {
    let table = value.table()?;
    let json = table.get("json").map(|value| value.json());
    let codes = entries(&table, "codes", |name, value| {
        let status = name.parse().ok().filter(|status| (400..600).contains(status));
        if status.is_none() {
            value.problem(format!("`{name}` must be an HTTP status from 400 to 599"));
        }
        let code = value.json()?;
        let is_plain = code.is_string() || code.is_number();
        if !is_plain {
            value.problem("must be a string or an integer: the vendor's code for this status");
        }
        is_plain.then_some((status?, code))
    });
    let key = key_answers(&table)?;
    let codes = codes?;
    match json {
        Some(json) => Some((Some(ErrorShape { json: json?, codes: codes.into_iter().collect() }), key)),
        None if !codes.is_empty() => {
            table.problem("codes", "are of no use without `json`, the body of an error with {message} and {code}");
            None
        }
        None => Some((None, key)),
    }
}

fn key_answers(table: &Table<'_>) -> Option<KeyAnswers> {
    let Some(value) = table.get("key") else { return Some(KeyAnswers::default()) };
    let read = |item: &Value<'_>| item.integer(400, 599).and_then(|status| u16::try_from(status).ok());
    let statuses: Vec<Option<u16>> = value.items()?.iter().map(read).collect();
    statuses.into_iter().collect::<Option<_>>().map(KeyAnswers)
}

//! The parameters of a body, checked one by one. What is not in the list is refused, as the vendor refuses it.

use std::ops::RangeInclusive;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::fault::Fault;
use crate::demo::vendor::json_object;

/// What a parameter has to be. Null is the same as absent.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Text,
    Flag,
    List,
    Object,
    /// An integer of at least this.
    AtLeast(i64),
    Integer(RangeInclusive<i64>),
    Number(RangeInclusive<f64>),
    /// At most 16 pairs of short strings.
    Metadata,
    /// One string, or up to four.
    Stops,
    TextOrObject,
    TextOrList,
}

/// A parameter and what it has to be.
pub(super) type Rule = (&'static str, Kind);

/// The body as the JSON object that it has to be.
pub(super) fn object(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Fault> {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json = declared.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(Fault::content_type());
    }
    json_object(headers, body).map_err(|_unreadable| Fault::unreadable())
}

/// Whether a parameter that was checked to be a flag is set.
pub(super) fn flag(body: &Map<String, Value>, name: &str) -> bool {
    body.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// Checks `body` against `rules`, of which the parameters `required` have to be there.
pub(super) fn check(body: &Map<String, Value>, rules: &[Rule], required: &[&str]) -> Result<(), Fault> {
    for name in required {
        if body.get(*name).is_none_or(Value::is_null) {
            return Err(Fault::missing(name));
        }
    }
    for (name, value) in body {
        let Some((name, kind)) = rules.iter().find(|(known, _)| known == name) else {
            return Err(Fault::parameter(name, "unknown_parameter", format!("Unknown parameter: '{name}'.")));
        };
        if !value.is_null() {
            kind.check(name, value)?;
        }
    }
    stream_options(body)
}

impl Kind {
    fn check(&self, name: &str, value: &Value) -> Result<(), Fault> {
        let (fits, expected) = match self {
            Self::Text => (value.is_string(), "a string"),
            Self::Flag => (value.is_boolean(), "a boolean"),
            Self::List => (value.is_array(), "an array"),
            Self::Object => (value.is_object(), "an object"),
            Self::AtLeast(_) | Self::Integer(_) => (value.is_i64(), "an integer"),
            Self::Number(_) => (value.is_number(), "a decimal"),
            Self::Metadata => (value.as_object().is_some_and(is_metadata), "an object of at most 16 short strings"),
            Self::Stops => (is_stops(value), "a string or an array of up to four strings"),
            Self::TextOrObject => (value.is_string() || value.is_object(), "a string or an object"),
            Self::TextOrList => (value.is_string() || value.is_array(), "a string or an array"),
        };
        if !fits {
            return Err(Fault::wrong_type(name, expected));
        }
        self.check_range(name, value)
    }

    fn check_range(&self, name: &str, value: &Value) -> Result<(), Fault> {
        let wrong = |code: &'static str| Err(Fault::parameter(name, code, format!("Invalid '{name}': {code}.")));
        match (self, value.as_i64().unwrap_or_default(), value.as_f64().unwrap_or_default()) {
            (Self::AtLeast(least), given, _) if given < *least => wrong("integer_below_min_value"),
            (Self::Integer(range), given, _) if given < *range.start() => wrong("integer_below_min_value"),
            (Self::Integer(range), given, _) if given > *range.end() => wrong("integer_above_max_value"),
            (Self::Number(range), _, given) if given < *range.start() => wrong("decimal_below_min_value"),
            (Self::Number(range), _, given) if given > *range.end() => wrong("decimal_above_max_value"),
            _ => Ok(()),
        }
    }
}

fn is_metadata(metadata: &Map<String, Value>) -> bool {
    let fits = |(key, value): (&String, &Value)| {
        key.chars().count() <= 64 && value.as_str().is_some_and(|value| value.chars().count() <= 512)
    };
    metadata.len() <= 16 && metadata.iter().all(fits)
}

fn is_stops(value: &Value) -> bool {
    let all = value.as_array().is_some_and(|stops| stops.len() <= 4 && stops.iter().all(Value::is_string));
    value.is_string() || all
}

/// Options of a stream, which there has to be.
fn stream_options(body: &Map<String, Value>) -> Result<(), Fault> {
    let Some(Value::Object(options)) = body.get("stream_options") else { return Ok(()) };
    if !flag(body, "stream") {
        return Err(Fault::wrong_value("stream_options", "null, where 'stream' is not set"));
    }
    match options.iter().find(|(_, value)| !value.is_boolean()) {
        Some((name, _)) => Err(Fault::wrong_type(&format!("stream_options.{name}"), "a boolean")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_is_told_from_the_others() {
        let long = "x".repeat(513);
        for (kind, good, bad) in [
            (Kind::Text, json!("a"), json!(1)),
            (Kind::Flag, json!(false), json!("false")),
            (Kind::List, json!([]), json!({})),
            (Kind::Object, json!({}), json!([])),
            (Kind::AtLeast(1), json!(1), json!(0)),
            (Kind::Integer(0..=20), json!(20), json!(21)),
            (Kind::Integer(0..=20), json!(0), json!(1.5)),
            (Kind::Number(0.0..=2.0), json!(2), json!(2.1)),
            (Kind::Number(0.0..=2.0), json!(0.5), json!("0.5")),
            (Kind::Metadata, json!({ "a": "b" }), json!({ "a": 1 })),
            (Kind::Metadata, json!({}), json!({ "a": long })),
            (Kind::Stops, json!("a"), json!(["a", 1])),
            (Kind::Stops, json!(["a", "b", "c", "d"]), json!(["a", "b", "c", "d", "e"])),
            (Kind::TextOrObject, json!({}), json!([])),
            (Kind::TextOrList, json!([]), json!({})),
        ] {
            assert!(kind.check("p", &good).is_ok(), "{kind:?} {good}");
            assert!(kind.check("p", &bad).is_err(), "{kind:?} {bad}");
        }
    }
}

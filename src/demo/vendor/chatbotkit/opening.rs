//! The body of the session call, checked as the vendor checks it. What is not documented to be null may not be null.

use std::ops::RangeInclusive;
use std::time::Duration;

use email_address::EmailAddress;
use phonenumber::country::Id;
use serde_json::{Map, Value};

use super::conversation::Opening;
use super::fault::Fault;

/// How long a session may be asked for, in seconds.
const DURATION: RangeInclusive<f64> = 1800.0..=86400.0;

/// How long it is if nobody asks.
const DEFAULT_DURATION: Duration = Duration::from_secs(3600);

/// Reads the body of a session call. Fields that the vendor does not know are ignored.
pub(super) fn read(body: &Map<String, Value>) -> Result<Opening, Fault> {
    check_meta(body.get("meta"))?;
    match body.get("contact") {
        None => {}
        Some(Value::Object(contact)) => check_contact(contact)?,
        Some(_) => return Err(Fault::bad_request("contact: an object is required")),
    }
    Ok(Opening { duration: duration(body.get("durationInSeconds"))?, messages: messages(body.get("messages"))? })
}

/// Checks who the visitor is said to be; null and the empty string are nobody.
pub(super) fn check_contact(contact: &Map<String, Value>) -> Result<(), Fault> {
    for name in ["name", "email", "phone"] {
        let value = match contact.get(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(value)) => value.as_str(),
            Some(_) => return Err(Fault::bad_request(format!("{name}: a string is required"))),
        };
        let fits = match name {
            _ if value.is_empty() => true,
            "email" => EmailAddress::is_valid(value),
            // National numbers are read as those of the United States.
            "phone" => phonenumber::parse(Some(Id::US), value).is_ok(),
            _ => true,
        };
        if !fits {
            return Err(Fault::bad_request(format!("{name}: not a valid {name}")));
        }
    }
    Ok(())
}

/// The life of a token; absent or null means an hour.
pub(super) fn duration(value: Option<&Value>) -> Result<Duration, Fault> {
    let wrong = || Fault::bad_request("durationInSeconds: a number from 1800 to 86400 is required");
    match value {
        None | Some(Value::Null) => Ok(DEFAULT_DURATION),
        Some(value) => {
            let seconds = value.as_f64().filter(|seconds| DURATION.contains(seconds)).ok_or_else(wrong)?;
            Ok(Duration::from_secs_f64(seconds))
        }
    }
}

fn messages(value: Option<&Value>) -> Result<Vec<String>, Fault> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(messages)) => messages.iter().map(message).collect(),
        Some(_) => Err(Fault::bad_request("messages: an array is required")),
    }
}

fn message(message: &Value) -> Result<String, Fault> {
    if message.get("type").and_then(Value::as_str) != Some("user") {
        return Err(Fault::bad_request("messages: only messages of type user are accepted"));
    }
    let text = message.get("text").and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| Fault::bad_request("messages: text is required"))
}

fn check_meta(value: Option<&Value>) -> Result<(), Fault> {
    match value {
        None => Ok(()),
        Some(Value::Object(meta)) if meta.keys().all(|key| !key.starts_with('_')) => Ok(()),
        Some(Value::Object(_)) => Err(Fault::bad_request("meta: keys that start with _ are reserved")),
        Some(_) => Err(Fault::bad_request("meta: an object is required")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn accepts(body: Value) -> bool {
        read(body.as_object().expect("an object")).is_ok()
    }

    #[test]
    fn a_duration_is_within_its_bounds_inclusive() {
        for (duration, fits) in [(1799, false), (1800, true), (86400, true), (86401, false)] {
            assert_eq!(accepts(json!({ "durationInSeconds": duration })), fits, "{duration}");
        }
        assert!(accepts(json!({ "durationInSeconds": null })));
        assert!(!accepts(json!({ "durationInSeconds": "3600" })));
    }

    #[test]
    fn a_contact_is_checked_field_by_field() {
        assert!(accepts(json!({ "contact": { "name": "Ada", "email": "ada@example.com", "phone": "+81312345678" } })));
        assert!(accepts(json!({ "contact": { "name": null, "email": "", "phone": "(212) 555-0100" } })));
        assert!(!accepts(json!({ "contact": { "email": "ada" } })));
        assert!(!accepts(json!({ "contact": { "phone": "call me" } })));
        assert!(!accepts(json!({ "contact": { "name": 1 } })));
        assert!(!accepts(json!({ "contact": "Ada" })));
    }

    #[test]
    fn only_messages_of_the_user_are_accepted() {
        assert!(accepts(json!({ "messages": [{ "type": "user", "text": "hi", "meta": {} }] })));
        assert!(!accepts(json!({ "messages": [{ "type": "bot", "text": "hi" }] })));
        assert!(!accepts(json!({ "messages": [{ "type": "user" }] })));
        assert!(!accepts(json!({ "messages": {} })));
    }

    #[test]
    fn reserved_keys_of_meta_are_refused() {
        assert!(accepts(json!({ "meta": { "a_": { "_b": 1 } } })));
        assert!(!accepts(json!({ "meta": { "_a": 1 } })));
        assert!(!accepts(json!({ "meta": null })));
    }
}

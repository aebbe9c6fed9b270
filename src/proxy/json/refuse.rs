//! Names that may nowhere in a body have a value: ids that would reach beyond the session.
//!
//! The whole of the body is looked through as it is written. Of two members of one name each is looked at, whichever of
//! them a vendor would take.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{JsonError, Name, same_name};

/// Looks for a member of one of these `names` that says something.
///
/// # Errors
///
/// Its name.
pub(super) fn check(body: &[u8], names: &[String]) -> Result<(), JsonError> {
    let found = RefCell::new(None);
    let mut parser = serde_json::Deserializer::from_slice(body);
    let searched = Search { names, found: &found }.deserialize(&mut parser);
    match (found.into_inner(), searched) {
        (Some(name), _) => Err(JsonError::Refused(name)),
        (None, searched) => searched.map_err(JsonError::NotJson),
    }
}

#[derive(Clone, Copy)]
struct Search<'s> {
    names: &'s [String],
    found: &'s RefCell<Option<String>>,
}

/// Null, nothing and an empty list name nothing.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
    }
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = members.next_key()? {
            match self.names.iter().find(|refused| same_name(refused, &name)) {
                None => members.next_value_seed(self)?,
                Some(refused) => {
                    if says_something(&members.next_value()?) {
                        self.found.replace(Some(refused.clone()));
                        return Err(A::Error::custom("a name is refused"));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(body: &str) -> bool {
        let names = ["fileIds".to_owned(), "file_id".to_owned()];
        matches!(check(body.as_bytes(), &names), Err(JsonError::Refused(_)))
    }

    #[test]
    fn a_refused_name_is_found_at_any_depth_and_in_any_case() {
        for body in [
            r#"{"fileIds":[1]}"#,
            r#"{"FILEIDS":7}"#,
            r#"{"f\u0069leIds":"a"}"#,
            r#"{"a":[{"b":{"file_id":"file-1"}}]}"#,
            r#"{"fileIds":[1],"fileIds":null}"#,
            r#"{"a":{"file_id":null,"file_id":"x"}}"#,
        ] {
            assert!(is_refused(body), "{body}");
        }
    }

    #[test]
    fn a_refused_name_that_says_nothing_is_no_harm() {
        for body in [r#"{"fileIds":[]}"#, r#"{"fileIds":null}"#, r#"{"fileIds":""}"#, r#"{"a":"fileIds"}"#, "[1]"] {
            assert!(!is_refused(body), "{body}");
        }
    }
}

//! The body of a call that opens a session: a JSON object of which there is one reading.
//!
//! A member that comes twice, at any depth, is refused: of two `email`, one parser takes the first and one the last, and
//! what we take is signed.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::fault::{Code, Fault};

/// The members of a JSON body, which must be an object; an empty body is an empty object.
pub(super) fn members(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let mut parser = serde_json::Deserializer::from_slice(body);
    let parsed = Strict.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    match parsed {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Fault::new(Code::BadRequest, "the body must be a JSON object")),
        Err(error) if error.is_data() => {
            Err(Fault::new(Code::BadRequest, "the body has a member twice, or is nested too deeply"))
        }
        Err(error) => {
            let place = format!("the body is not JSON: line {}, column {}", error.line(), error.column());
            Err(Fault::new(Code::BadRequest, place))
        }
    }
}

/// Takes the member of this name, in whatever case it is written; in two cases at once it is refused.
pub(super) fn take(members: &mut Map<String, Value>, name: &str) -> Result<Option<Value>, Fault> {
    let mut names = members.keys().filter(|known| known.eq_ignore_ascii_case(name)).cloned();
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(written), None) => Ok(members.remove(&written)),
        (Some(_), Some(_)) => Err(Fault::new(Code::BadRequest, format!("the body has `{name}` twice"))),
    }
}

/// Reads a value, and refuses duplicate members.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without duplicate members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Strict)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member comes twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn detail(body: &str) -> String {
        members(body.as_bytes()).unwrap_err().detail().to_owned()
    }

    #[test]
    fn a_body_is_an_object_or_empty() {
        assert!(members(b"").unwrap().is_empty());
        assert_eq!(
            Value::from(members(br#"{"a":[1,-2,1.5,null,true,"x",{}]}"#).unwrap()),
            json!({"a":[1,-2,1.5,null,true,"x",{}]})
        );
        assert_eq!(detail("[]"), "the body must be a JSON object");
        assert!(detail("{").contains("line 1") && detail("{} {}").contains("not JSON"));
    }

    #[test]
    fn a_member_that_comes_twice_is_refused_at_any_depth() {
        for body in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, r#"{"c":{"e":1,"e":2}}"#, r#"{"c":[{"e":1,"e":2}]}"#]
        {
            assert!(detail(body).contains("twice"), "{body}");
        }
    }

    #[test]
    fn a_member_is_taken_in_whatever_case_it_is_written_but_once() {
        let mut body = members(br#"{"Contact":1,"ttl":2,"TTL":3}"#).unwrap();
        assert_eq!(take(&mut body, "contact").unwrap(), Some(json!(1)));
        assert_eq!(take(&mut body, "contact").unwrap(), None);
        assert!(take(&mut body, "ttl").is_err());
    }

    #[test]
    fn deep_nesting_is_refused_and_costs_no_stack() {
        assert!(members("[".repeat(100_000).as_bytes()).is_err());
    }
}

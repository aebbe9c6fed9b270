//! The body of a call that opens a session: a JSON object of which there is one reading.
//!
//! A member that comes twice, at any depth, is refused: of two `email`, one parser takes the first and one the last, and
//! what we take is signed.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::fault::{Code, Fault};
use crate::proxy::{DEEPEST, is_too_deep, shown_name};

/// The members of a JSON body, which must be an object; an empty body is an empty object.
pub(super) fn members(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match read(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Fault::new(Code::BadRequest, "the body must be a JSON object")),
        Err(Unread::NotJson(error)) => {
            let place = format!("the body is not JSON: line {}, column {}", error.line(), error.column());
            Err(Fault::new(Code::BadRequest, place))
        }
        Err(Unread::Refused(why)) => Err(Fault::new(Code::BadRequest, format!("the body {why}"))),
    }
}

/// The value that `text`, which stands at the place of this name, writes in JSON; nothing, where it is no JSON.
pub(super) fn value(text: &str, place: &str) -> Result<Option<Value>, Fault> {
    match read(text.as_bytes()) {
        Ok(value) => Ok(Some(value)),
        Err(Unread::NotJson(_)) => Ok(None),
        Err(Unread::Refused(why)) => Err(Fault::new(Code::BadRequest, format!("the JSON of `{place}` {why}"))),
    }
}

/// Why there is no value.
enum Unread {
    NotJson(serde_json::Error),
    /// It is JSON that is not taken; what is wrong with it.
    Refused(String),
}

fn read(text: &[u8]) -> Result<Value, Unread> {
    if is_too_deep(text) {
        return Err(Unread::Refused(format!("is too deep; send at most {DEEPEST} levels")));
    }
    let twice = RefCell::default();
    let mut parser = serde_json::Deserializer::from_slice(text);
    let parsed = Strict { twice: &twice }.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    parsed.map_err(|error| match twice.into_inner() {
        Some(name) => Unread::Refused(format!("has `{}` twice in one object; send each name once", shown_name(&name))),
        None => Unread::NotJson(error),
    })
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
#[derive(Clone, Copy)]
struct Strict<'t> {
    /// The name of one that comes twice.
    twice: &'t RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self)?;
            if object.contains_key(&name) {
                self.twice.replace(Some(name));
                return Err(A::Error::custom("a member comes twice"));
            }
            object.insert(name, value);
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
    fn the_member_that_comes_twice_is_named_without_what_could_be_a_secret() {
        assert_eq!(
            detail(r#"{"contact":{"email":1,"email":2}}"#),
            "the body has `email` twice in one object; send each name once"
        );
        let told = detail(r#"{"ksc_web_0123456789abcdef\n":1,"ksc_web_0123456789abcdef\n":2}"#);
        assert!(told.contains("`ksc_web_0123456") && !told.contains("01234567"), "{told}");
        assert!(!detail("{\"\u{202e}\":1,\"\u{202e}\":2}").contains('\u{202e}'));
    }

    #[test]
    fn a_member_is_taken_in_whatever_case_it_is_written_but_once() {
        let mut body = members(br#"{"Contact":1,"ttl":2,"TTL":3}"#).unwrap();
        assert_eq!(take(&mut body, "contact").unwrap(), Some(json!(1)));
        assert_eq!(take(&mut body, "contact").unwrap(), None);
        assert!(take(&mut body, "ttl").is_err());
    }

    #[test]
    fn a_body_is_64_levels_deep_at_most_and_deeper_costs_no_stack() {
        let nested = |depth: usize| format!(r#"{{"meta":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(members(nested(64).as_bytes()).is_ok());
        for deep in [nested(65), nested(127), nested(128), "[".repeat(100_000)] {
            assert_eq!(detail(&deep), "the body is too deep; send at most 64 levels");
        }
        assert!(members(format!(r#"{{"meta":"{}"}}"#, "[".repeat(100)).as_bytes()).is_ok());
    }
}

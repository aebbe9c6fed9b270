//! What a vendor's own client asks for when it opens a session: found in headers, query and body, where the profile says.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::members::{members, take, value};
use crate::fault::{Code, Fault};
use crate::proxy::parameter;
use crate::session::{RawWish, is_email};
use crate::vendor::{Accept, Meta, Place};

/// A session call as it came.
pub(super) struct Asked<'r> {
    headers: &'r HeaderMap,
    query: Option<&'r str>,
    body: Map<String, Value>,
}

impl<'r> Asked<'r> {
    /// A call whose body was not read.
    pub(super) fn new(headers: &'r HeaderMap, query: Option<&'r str>) -> Self {
        Self { headers, query, body: Map::new() }
    }

    /// The same with its body.
    pub(super) fn with_body(mut self, body: &[u8]) -> Result<Self, Fault> {
        self.body = members(body)?;
        Ok(self)
    }

    /// The text at `place`; a number's digits, and nothing where nothing stands.
    pub(super) fn text(&mut self, place: &Place) -> Result<Option<String>, Fault> {
        Ok(match self.take(place)? {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => {
                let detail = format!("`{}` must be a string or a number", place.name());
                return Err(Fault::new(Code::BadRequest, detail));
            }
        })
    }

    /// The wishes; what else is in the call is the vendor's business, and there is nobody to pass it to.
    pub(super) fn wish(mut self, accept: &Accept) -> Result<RawWish, Fault> {
        let fields = &accept.fields;
        Ok(RawWish {
            ttl: self.parsed(&fields.ttl)?,
            contact: self.first(&fields.contact)?.map(|(place, given)| contact(place, given)).transpose()?,
            messages: self.parsed(&fields.messages)?,
            meta: self.meta(&fields.meta)?,
            visit: self.first(&fields.visit)?.map(|(_, value)| value).filter(|value| value.as_str() != Some("")),
            origin: None,
        })
    }

    fn meta(&mut self, meta: &Meta) -> Result<Option<Value>, Fault> {
        let members = match meta {
            Meta::Whole(places) => return self.parsed(places),
            Meta::Members(members) => members,
        };
        let mut given = Map::new();
        for (name, places) in members {
            if let Some((_, value)) = self.first(places)?.filter(|(_, value)| !value.is_null()) {
                given.insert(name.clone(), value);
            }
        }
        Ok((!given.is_empty()).then_some(Value::Object(given)))
    }

    fn parsed(&mut self, places: &[Place]) -> Result<Option<Value>, Fault> {
        self.first(places)?.map(|(place, value)| parsed(place, value)).transpose()
    }

    /// What stands at the first of `places` where something does, and which that is.
    fn first<'p>(&mut self, places: &'p [Place]) -> Result<Option<(&'p Place, Value)>, Fault> {
        for place in places {
            if let Some(value) = self.take(place)? {
                return Ok(Some((place, value)));
            }
        }
        Ok(None)
    }

    fn take(&mut self, place: &Place) -> Result<Option<Value>, Fault> {
        match place {
            Place::Body(name) => take(&mut self.body, name),
            Place::Query(name) => Ok(parameter(self.query, name)?.map(Value::from)),
            Place::Header(name) => {
                let mut values = self.headers.get_all(name).iter();
                let wrong = |why: &str| Fault::new(Code::BadRequest, format!("the header `{name}` {why}"));
                match (values.next(), values.next()) {
                    (None, _) => Ok(None),
                    (Some(value), None) => match value.to_str() {
                        Ok(text) => Ok(Some(Value::from(text))),
                        Err(_not_ascii) => Err(wrong("must be ASCII; JSON has \\u escapes for the rest")),
                    },
                    (Some(_), Some(_)) => Err(wrong("comes twice")),
                }
            }
        }
    }
}

/// What stands outside of a JSON body is text: numbers, lists and objects are read out of it, as strictly as out of a body. In a
/// body a string is one.
fn parsed(place: &Place, given: Value) -> Result<Value, Fault> {
    match (place, &given) {
        (Place::Query(_) | Place::Header(_), Value::String(text)) => Ok(value(text, place.name())?.unwrap_or(given)),
        _ => Ok(given),
    }
}

/// A contact is an object; a text alone is its email address.
fn contact(place: &Place, given: Value) -> Result<Value, Fault> {
    match &given {
        Value::String(text) if text.trim_start().starts_with('{') => parsed(place, given),
        Value::String(text) if text.is_empty() => Ok(Value::Null),
        Value::String(text) if text.trim().is_empty() || is_email(text.trim()) => Ok(json!({ "email": text })),
        Value::String(_) => {
            let wanted = "must be an email address such as jo@example.com, or JSON with name, email and phone";
            Err(Fault::new(Code::InvalidContact, format!("`{}` {wanted}", place.name())))
        }
        _ => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> Place {
        Place::Query("who".to_owned())
    }

    #[test]
    fn a_number_is_read_out_of_text_and_a_string_in_a_body_is_none() {
        let read = |place: Place| parsed(&place, Value::from("1800")).unwrap();
        assert_eq!(read(query()), json!(1800));
        assert_eq!(read(Place::Header("x-ttl".parse().unwrap())), json!(1800));
        assert_eq!(read(Place::Body("ttl".to_owned())), json!("1800"));
    }

    #[test]
    fn a_contact_in_text_is_read_as_strictly_as_one_in_a_body() {
        let read = |text: &str| contact(&query(), Value::from(text)).map_err(|fault| fault.detail().to_owned());
        assert_eq!(read(r#" {"email":"a@b.co"}"#), Ok(json!({"email": "a@b.co"})));
        assert_eq!(read("a@b.co"), Ok(json!({"email": "a@b.co"})));
        for twice in [r#"{"email":"a@b.co","email":"c@d.co"}"#, r#"{"email":"a@b.co","\u0065mail":"c@d.co"}"#] {
            let told = "the JSON of `who` has `email` twice in one object; send each name once";
            assert_eq!(read(twice), Err(told.to_owned()), "{twice}");
        }
        let deep = format!(r#"{{"name":{}{}}}"#, "[".repeat(64), "]".repeat(64));
        assert!(read(&deep).unwrap_err().contains("too deep"));
    }

    #[test]
    fn a_contact_that_is_none_is_told_by_the_place_where_it_stands() {
        let place = Place::Header("gkc_customerId".parse().unwrap());
        let refused = contact(&place, Value::from("cust1")).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidContact);
        assert!(refused.detail().starts_with("`gkc_customerid` must be an email address"), "{}", refused.detail());
        assert_eq!(contact(&place, Value::from(" ")).unwrap(), json!({"email": " "}), "which means absent");
    }

    #[test]
    fn a_value_in_text_is_what_it_writes_in_json_and_else_the_text() {
        let read = |text: &str| parsed(&query(), Value::from(text)).unwrap();
        assert_eq!((read("3600"), read("[1]"), read("soon")), (json!(3600), json!([1]), json!("soon")));
        assert!(parsed(&query(), Value::from(r#"[{"a":1,"a":2}]"#)).is_err());
    }
}

//! What a vendor's own client asks for when it opens a session: found in headers, query and body, where the profile says.

use http::HeaderMap;
use serde_json::{Map, Value};

use super::members::{members, take};
use crate::fault::{Code, Fault};
use crate::proxy::parameter;
use crate::session::RawWish;
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
            ttl: self.first(&fields.ttl)?.map(parsed),
            contact: self.first(&fields.contact)?.map(contact),
            messages: self.first(&fields.messages)?.map(parsed),
            meta: self.meta(&fields.meta)?,
            visit: self.first(&fields.visit)?.filter(|value| value.as_str() != Some("")),
            origin: None,
        })
    }

    fn meta(&mut self, meta: &Meta) -> Result<Option<Value>, Fault> {
        let members = match meta {
            Meta::Whole(places) => return Ok(self.first(places)?.map(parsed)),
            Meta::Members(members) => members,
        };
        let mut given = Map::new();
        for (name, places) in members {
            if let Some(value) = self.first(places)?.filter(|value| !value.is_null()) {
                given.insert(name.clone(), value);
            }
        }
        Ok((!given.is_empty()).then_some(Value::Object(given)))
    }

    /// What stands at the first of `places` where something does.
    fn first(&mut self, places: &[Place]) -> Result<Option<Value>, Fault> {
        for place in places {
            if let Some(value) = self.take(place)? {
                return Ok(Some(value));
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

/// What stands outside of a JSON body is text: numbers, lists and objects are read out of it.
fn parsed(value: Value) -> Value {
    match &value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    }
}

/// A contact is an object; a text alone is its email address.
fn contact(value: Value) -> Value {
    match &value {
        Value::String(text) if text.trim_start().starts_with('{') => parsed(value),
        Value::String(text) if text.is_empty() => Value::Null,
        Value::String(text) => serde_json::json!({ "email": text }),
        _ => value,
    }
}

//! What an installation says to a profile: its options, and where the gateway is.
//!
//! Options are put into the profile's templates when it is read, so that a call costs nothing more for them. A profile
//! with other options is another [`super::Profile`].

use std::collections::BTreeMap;

use serde_json::Value;

use crate::document::{Document, Problems, Value as Place};

/// The values of a profile's options, and what else is known before any call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Strings, integers and truth values by name; the empty string counts as no value.
    pub values: BTreeMap<String, Value>,
    /// Where the vendor's paths stand: the gateway's own address and the mount, without a slash at the end.
    pub gateway: String,
}

/// An option that a profile declares.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its value where nobody gives one; nothing: somebody must.
    pub default: Option<Value>,
}

impl Declared {
    /// What stands for it where its own value is not looked at: its default, or its name.
    pub fn stand_in(&self) -> Value {
        self.default.clone().unwrap_or_else(|| Value::from(format!("option.{}", self.name)))
    }

    /// Reads a value that is given to it: one of the type that its default has, and negative only where that is.
    pub fn given(&self, value: &Place<'_>) -> Option<Value> {
        let given = plain(value)?;
        let Some(default) = &self.default else { return Some(given) };
        let is_negative = |number: &Value| number.as_i64().is_some_and(i64::is_negative);
        if kind(&given) != kind(default) {
            value.problem(format!("must be {}, as its default {default} is, not {}", kind(default), kind(&given)));
        } else if is_negative(&given) && !is_negative(default) {
            value.problem(format!("must not be negative; its default is {default}"));
        } else {
            return Some(given);
        }
        None
    }
}

/// What a template may name besides the placeholders that every profile has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'n> {
    /// The free segments of the route's path.
    pub segments: &'n [&'n str],
    /// The options; nothing where none may stand.
    pub options: Option<&'n Options>,
}

impl Names<'_> {
    /// The value of the option that the placeholder `name` means; nothing, if it means no option.
    pub(super) fn option(&self, name: &str) -> Result<Option<Value>, String> {
        let Some(options) = self.options else { return Ok(None) };
        if name == "gateway" {
            return Ok(Some(Value::from(options.gateway.as_str())));
        }
        if name == "gateway.socket" {
            // `http` becomes `ws`, and `https` `wss`.
            return Ok(Some(Value::from(options.gateway.replacen("http", "ws", 1))));
        }
        let Some(option) = name.strip_prefix("option.") else { return Ok(None) };
        match options.values.get(option) {
            Some(value) => Ok(Some(value.clone())),
            None => Err(format!("{{{name}}} is no option of this profile; [options] declares them")),
        }
    }
}

/// The options that the profile in `text` declares. What is wrong with them is noted when the profile is read.
pub fn declared(text: &str) -> Vec<Declared> {
    let problems = Problems::default();
    let Some(document) = Document::parse("", text, &problems) else { return Vec::new() };
    let options = document.root(&problems).section("options");
    options.named().iter().filter_map(|(name, value)| option(name, value)).collect()
}

/// Reads one of `[options]`.
pub(super) fn option(name: &str, value: &Place<'_>) -> Option<Declared> {
    let table = value.table()?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        value.problem("an option's name is made of letters, digits and _");
    }
    let default = table.get("default").map(|value| plain(&value));
    let default = match default {
        None => None,
        Some(default) => Some(default?),
    };
    is_name.then(|| Declared { name: name.to_owned(), default })
}

/// A value that an option can have.
fn plain(value: &Place<'_>) -> Option<Value> {
    let given = value.json()?;
    let is_plain = given.is_string() || given.is_number() || given.is_boolean();
    if !is_plain {
        value.problem("must be a string, an integer, true or false");
    }
    is_plain.then_some(given)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "true or false",
        Value::Number(_) => "an integer",
        _ => "a string",
    }
}

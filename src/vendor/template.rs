//! Texts and JSON values with placeholders: what a profile writes into calls and answers.
//!
//! No conditions, loops or expressions. A string that is exactly one placeholder keeps the JSON type of its value; a
//! placeholder without a value sends nothing at all, not an empty string.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use super::options::Names;
use crate::net::percent_encode;

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The vendor key in use.
    Key,
    /// The vendor's own id of the bot.
    Bot,
    /// The vendor's own id of the session.
    Session,
    /// The vendor's token for the session.
    VendorToken,
    /// The whole contact as an object.
    Contact,
    /// The contact's name.
    ContactName,
    /// The contact's email address.
    ContactEmail,
    /// The contact's phone number, in E.164.
    ContactPhone,
    /// The visit that the caller named.
    Visit,
    /// The granted lifetime, in seconds.
    Ttl,
    /// The messages to begin with.
    Messages,
    /// The caller's own data about the session.
    Meta,
    /// One member of it.
    MetaMember(Box<str>),
    /// The token's subject.
    Subject,
    /// Our session token: in answers only.
    Token,
    /// When our token ends, in milliseconds since the epoch: in answers only.
    ExpiresMs,
    /// The vendor's whole answer to the session call, secrets masked: in the answer to its own clients only.
    Answer,
    /// One member of it.
    AnswerMember(Box<str>),
    /// What the caller gave in one parameter of the query, as it stands there, and empty if he gave nothing: in the
    /// answers to conversation calls only.
    Query(Box<str>),
    /// A free segment of the path, carried over.
    Segment(Box<str>),
    /// An option that is empty: it never has a value.
    Nothing,
}

impl Variable {
    /// The placeholder of this name, if it is one that every profile has.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "key" => Self::Key,
            "bot" => Self::Bot,
            "session" => Self::Session,
            "vendor_token" => Self::VendorToken,
            "contact" => Self::Contact,
            "contact.name" => Self::ContactName,
            "contact.email" => Self::ContactEmail,
            "contact.phone" => Self::ContactPhone,
            "visit" => Self::Visit,
            "ttl" => Self::Ttl,
            "messages" => Self::Messages,
            "meta" => Self::Meta,
            "sub" => Self::Subject,
            "token" => Self::Token,
            "expires_ms" => Self::ExpiresMs,
            "answer" => Self::Answer,
            _ => match name.split_once('.')? {
                ("meta", member) if !member.is_empty() => Self::MetaMember(member.into()),
                ("answer", member) if !member.is_empty() => Self::AnswerMember(member.into()),
                ("query", parameter) if !parameter.is_empty() => Self::Query(parameter.into()),
                _ => return None,
            },
        })
    }

    /// Whether it may stand where a call is sent to the vendor: our own token never does.
    pub fn is_for_vendor(&self) -> bool {
        !matches!(self, Self::Token | Self::ExpiresMs | Self::Answer | Self::AnswerMember(_) | Self::Query(_))
    }

    /// Whether it tells who the visitor is.
    pub fn is_of_contact(&self) -> bool {
        matches!(self, Self::Contact | Self::ContactName | Self::ContactEmail | Self::ContactPhone)
    }

    /// Whether it is part of what a session is opened with, and kept nowhere.
    pub fn is_of_opening(&self) -> bool {
        matches!(self, Self::Ttl | Self::Visit | Self::Messages | Self::Meta | Self::MetaMember(_))
    }

    /// Whether an option may have it as its value: what is known of the visitor, and what is no secret.
    pub(super) fn is_for_options(&self) -> bool {
        self.is_of_contact() || matches!(self, Self::Bot | Self::Session | Self::Subject | Self::Visit | Self::Ttl)
    }
}

/// Where placeholders get their values.
pub trait Values {
    /// The value of `variable`, if there is one.
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>>;

    /// The same as text: numbers in digits, nothing for objects and arrays.
    fn text(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        match self.value(variable)? {
            Cow::Owned(Value::String(text)) => Some(Cow::Owned(text)),
            Cow::Borrowed(Value::String(text)) => Some(Cow::Borrowed(text)),
            value => match value.as_ref() {
                Value::Number(number) => Some(Cow::Owned(number.to_string())),
                _ => None,
            },
        }
    }
}

/// Values as a vendor gets them where it takes what it reads for proven: in headers, in the query, in the path. What a
/// browser claimed of its visitor has no value there.
pub struct Proven<'v, V> {
    /// The values.
    pub values: &'v V,
    /// Whether the contact is only claimed.
    pub is_claimed: bool,
}

impl<V: Values> Values for Proven<'_, V> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        if self.is_claimed && variable.is_of_contact() { None } else { self.values.value(variable) }
    }

    fn text(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        if self.is_claimed && variable.is_of_contact() { None } else { self.values.text(variable) }
    }
}

/// A text with placeholders.
#[derive(Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Placeholder(Variable),
}

impl Piece {
    fn fill<'v>(&'v self, values: &'v impl Values) -> Option<Cow<'v, str>> {
        match self {
            Self::Literal(literal) => Some(Cow::Borrowed(literal)),
            Self::Placeholder(variable) => values.text(variable),
        }
    }
}

impl Template {
    /// Reads `text`. `names` are the placeholders that are not in every profile; an option is put in here and now.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str, names: &Names<'_>) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, tail) = rest.split_at(open);
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            let (name, after) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}')).ok_or_else(|| {
                format!("`{text}` has a brace without its partner; a placeholder is written {{name}}")
            })?;
            match names.option(name)? {
                Some(option) => pieces.append(&mut Self::of_option(name, &option)?.0),
                None => pieces.push(Piece::Placeholder(variable(name, names)?)),
            }
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// What an option stands for; its text may hold placeholders of its own, but no other options.
    fn of_option(name: &str, value: &Value) -> Result<Self, String> {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if text.is_empty() {
            return Ok(Self(vec![Piece::Placeholder(Variable::Nothing)]));
        }
        if name.starts_with("gateway") {
            return Ok(Self(vec![Piece::Literal(text)]));
        }
        let template = Self::parse(&text, &Names::default()).ok();
        template.filter(|template| template.variables().all(Variable::is_for_options)).ok_or_else(|| {
            format!(
                "{{{name}}} is `{text}`: the value of an option may hold {{bot}} {{session}} {{sub}} {{visit}} {{ttl}} \
                 and {{contact}} {{contact.name}} {{contact.email}} {{contact.phone}}, and no other placeholders"
            )
        })
    }

    /// The text, if it is one without placeholders.
    pub(super) fn as_fixed(&self) -> Option<String> {
        let is_fixed = self.variables().next().is_none();
        is_fixed.then(|| self.literals().collect())
    }

    /// The text with every placeholder filled, or nothing if one of them has no value.
    pub fn fill(&self, values: &impl Values) -> Option<String> {
        // Room for exactly this: most are a credential, which neither growing nor making a header of it is to copy.
        let room = self.0.iter().try_fold(0, |room, piece| Some(room + piece.fill(values)?.len()))?;
        let mut out = String::with_capacity(room);
        for piece in &self.0 {
            out.push_str(&piece.fill(values)?);
        }
        Some(out)
    }

    /// Appends the text for a path, with all values percent-encoded and the literals as they are; nothing comes back
    /// if a placeholder has no value.
    pub(super) fn fill_escaped(&self, values: &impl Values, out: &mut String) -> Option<()> {
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => out.push_str(literal),
                Piece::Placeholder(_) => percent_encode(&piece.fill(values)?, out),
            }
        }
        Some(())
    }

    /// The text that stands in it beside the placeholders.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(literal) => Some(literal.as_str()),
            Piece::Placeholder(_) => None,
        })
    }

    /// The placeholders in it.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Placeholder(variable) => Some(variable),
            Piece::Literal(_) => None,
        })
    }

    fn only_variable(&self) -> Option<&Variable> {
        match self.0.as_slice() {
            [Piece::Placeholder(variable)] => Some(variable),
            _ => None,
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => formatter.write_str(literal)?,
                Piece::Placeholder(variable) => write!(formatter, "{{{variable:?}}}")?,
            }
        }
        Ok(())
    }
}

fn variable(name: &str, names: &Names<'_>) -> Result<Variable, String> {
    let segments = names.segments;
    if segments.contains(&name) {
        return Ok(Variable::Segment(name.into()));
    }
    Variable::named(name).ok_or_else(|| {
        let mut message = format!(
            "{{{name}}} is not a placeholder; there are {{key}} {{bot}} {{session}} {{vendor_token}} {{contact}} \
             {{contact.name}} {{contact.email}} {{contact.phone}} {{visit}} {{ttl}} {{messages}} {{meta}} {{meta.NAME}} \
             {{sub}} {{option.NAME}} {{gateway}} {{gateway.socket}}, in answers {{token}} {{expires_ms}} {{answer}} \
             {{answer.NAME}} {{query.NAME}}"
        );
        if !segments.is_empty() {
            message.push_str(&format!(", and here of the path {{{}}}", segments.join("} {")));
        }
        message
    })
}

/// A JSON value with placeholders in its strings.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// As it stands.
    Fixed(Value),
    /// A string with placeholders.
    Text(Template),
    /// The value of one placeholder, with its type.
    Whole(Variable),
    /// An object; members without a value are left out.
    Object(Vec<(String, Shape)>),
    /// An array; items without a value are left out.
    Array(Vec<Shape>),
}

impl Shape {
    /// Reads `value`, see [`Template::parse`].
    ///
    /// # Errors
    ///
    /// What is wrong with one of its strings.
    pub fn parse(value: &Value, names: &Names<'_>) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => {
                // A number or a truth value stays one.
                let only = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
                if let Some(option) = names.option(only)?.filter(|option| !option.is_string()) {
                    return Ok(Self::Fixed(option));
                }
                let template = Template::parse(text, names)?;
                match (template.only_variable(), template.as_fixed()) {
                    (Some(variable), _) => Self::Whole(variable.clone()),
                    (None, Some(fixed)) => Self::Fixed(Value::String(fixed)),
                    (None, None) => Self::Text(template),
                }
            }
            Value::Array(items) => {
                Self::Array(items.iter().map(|item| Self::parse(item, names)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => Self::Object(
                members.iter().map(|(name, member)| Ok((name.clone(), Self::parse(member, names)?))).collect::<Result<
                    _,
                    String,
                >>(
                )?,
            ),
            other => Self::Fixed(other.clone()),
        })
    }

    /// The value with every placeholder filled; nothing if it is a placeholder without a value.
    pub fn fill(&self, values: &impl Values) -> Option<Value> {
        Some(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(template) => Value::String(template.fill(values)?),
            Self::Whole(variable) => values.value(variable)?.into_owned(),
            Self::Array(items) => items.iter().filter_map(|item| item.fill(values)).collect(),
            Self::Object(members) => Value::Object(
                members.iter().filter_map(|(name, member)| Some((name.clone(), member.fill(values)?))).collect(),
            ),
        })
    }

    /// The placeholders in it.
    pub fn variables(&self) -> Vec<&Variable> {
        match self {
            Self::Fixed(_) => Vec::new(),
            Self::Text(template) => template.variables().collect(),
            Self::Whole(variable) => vec![variable],
            Self::Array(items) => items.iter().flat_map(Self::variables).collect(),
            Self::Object(members) => members.iter().flat_map(|(_, member)| member.variables()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Sample;

    fn with_mid() -> Names<'static> {
        Names { segments: &["mid"], ..Names::default() }
    }

    impl Values for Sample {
        fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
            match variable {
                Variable::Session => Some(Cow::Owned(json!(123_456))),
                Variable::Key => Some(Cow::Owned(json!("k"))),
                Variable::Segment(name) => Some(Cow::Owned(json!(format!("<{name}>")))),
                _ => None,
            }
        }
    }

    #[test]
    fn a_string_that_is_one_placeholder_keeps_its_type() {
        let shape = Shape::parse(&json!({"id": "{session}", "text": "s-{session}"}), &Names::default()).unwrap();
        assert_eq!(shape.fill(&Sample), Some(json!({"id": 123_456, "text": "s-123456"})));
    }

    #[test]
    fn a_placeholder_without_a_value_sends_nothing() {
        let shape =
            Shape::parse(&json!({"a": "{visit}", "b": ["{visit}", 1], "c": "x{visit}"}), &Names::default()).unwrap();
        assert_eq!(shape.fill(&Sample), Some(json!({"b": [1]})));
        assert_eq!(Template::parse("Bearer {vendor_token}", &Names::default()).unwrap().fill(&Sample), None);
    }

    #[test]
    fn a_wrong_placeholder_is_told_with_those_that_exist() {
        let error = Template::parse("/x/{messageId}", &with_mid()).unwrap_err();
        assert!(error.contains("{messageId} is not a placeholder") && error.contains("{mid}"), "{error}");
        assert!(Template::parse("{key", &Names::default()).unwrap_err().contains("partner"));
        assert!(Template::parse("key}", &Names::default()).unwrap_err().contains("partner"));
    }

    #[test]
    fn free_segments_are_placeholders() {
        assert_eq!(Template::parse("m/{mid}", &with_mid()).unwrap().fill(&Sample).as_deref(), Some("m/<mid>"));
    }
}

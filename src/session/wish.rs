//! What a caller asks for when it opens a session: the same rules for the native call and for every vendor's.

use std::time::Duration;

use serde_json::{Map, Value};

use super::contact;
use crate::access::{MintGrant, Minter};
use crate::bot::{Bot, ContactNeed, Origin};
use crate::fault::{Code, Fault};
use crate::token::{Contact, SHORTEST_TTL};
use crate::vendor::{Set, Variable};

/// More messages than any conversation begins with.
const MOST_MESSAGES: usize = 100;
/// The longest visit id.
const LONGEST_VISIT: usize = 128;

/// The values as they came.
#[derive(Debug, Default)]
pub struct RawWish {
    /// The lifetime in seconds.
    pub ttl: Option<Value>,
    /// The contact.
    pub contact: Option<Value>,
    /// The messages to begin with.
    pub messages: Option<Value>,
    /// The caller's own data.
    pub meta: Option<Value>,
    /// The visit.
    pub visit: Option<Value>,
    /// The page that the token shall be good for.
    pub origin: Option<Value>,
}

/// The values once they are known to be right.
#[derive(Debug)]
pub struct Wish {
    /// How long the token shall live.
    pub ttl: Duration,
    /// Who the visitor is said to be.
    pub contact: Contact,
    /// The messages to begin with; empty if there are none.
    pub messages: Vec<Value>,
    /// The caller's own data.
    pub meta: Option<Value>,
    /// The visit.
    pub visit: Option<String>,
    /// The page that the token is good for.
    pub origin: Option<String>,
}

/// Who a visitor turned out to be.
#[derive(Debug)]
pub struct Recognition {
    /// Who the visitor is said to be; not empty.
    pub contact: Contact,
    /// The visit.
    pub visit: Option<String>,
    /// The caller's own data.
    pub meta: Option<Value>,
}

impl Recognition {
    /// Reads what an owner says of a visitor.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn read(
        contact: Option<&Value>,
        visit: Option<&Value>,
        meta: Option<&Value>,
        bot: &Bot,
    ) -> Result<Self, Fault> {
        let contact = contact::read(contact)?;
        if contact.is_empty() {
            let detail = "`contact` must have at least one of name, email and phone: who the visitor is";
            return Err(Fault::new(Code::InvalidContact, detail));
        }
        needed(&contact, bot.contact)?;
        let identify = bot.profile.identify.as_ref().map(|identify| &identify.set);
        let places = Places { of: identify, title: &bot.profile.title };
        Ok(Self { contact, visit: self::visit(visit, &places)?, meta: self::meta(meta, &places)? })
    }
}

impl RawWish {
    /// Checks the values against the bot's rules and what its vendor has a place for.
    ///
    /// # Errors
    ///
    /// The first that is wrong, and what would be right.
    pub fn checked(&self, grant: &MintGrant) -> Result<Wish, Fault> {
        let bot = grant.bot();
        let open = bot.profile.open.as_ref().map(|open| &open.set);
        let places = Places { of: open, title: &bot.profile.title };
        let contact = contact::read(self.contact.as_ref())?;
        needed(&contact, bot.contact)?;
        Ok(Wish {
            ttl: wished_ttl(self.ttl.as_ref(), bot)?,
            contact,
            messages: messages(self.messages.as_ref(), &places)?,
            meta: meta(self.meta.as_ref(), &places)?,
            visit: visit(self.visit.as_ref(), &places)?,
            origin: origin(self.origin.as_ref(), grant)?,
        })
    }
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

/// The life of a token as it was asked for, within what its bot allows.
///
/// # Errors
///
/// It is no integer within the bounds.
pub fn wished_ttl(value: Option<&Value>, bot: &Bot) -> Result<Duration, Fault> {
    let Some(value) = present(value) else { return Ok(bot.ttl.default) };
    let (low, high) = (SHORTEST_TTL.as_secs(), bot.ttl.max.as_secs());
    // A JSON number without a fraction is an integer, however it is written (RFC 8259 §6 has one kind of number).
    let whole = || value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..1e9).contains(number));
    match value.as_u64().or_else(|| whole().and_then(|number| format!("{number:.0}").parse().ok())) {
        Some(seconds) if (low..=high).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(Fault::new(
            Code::InvalidDuration,
            format!(
                "`durationInSeconds` must be an integer from {low} to {high} for this bot, or null for its default"
            ),
        )),
    }
}

fn needed(contact: &Contact, need: ContactNeed) -> Result<(), Fault> {
    match need {
        ContactNeed::None if !contact.is_empty() => {
            Err(Fault::new(Code::InvalidContact, "this bot takes no contact; leave `contact` out"))
        }
        ContactNeed::Required if contact.is_empty() => Err(Fault::new(
            Code::InvalidContact,
            "this bot needs a contact: send `contact` with at least one of name, email and phone",
        )),
        ContactNeed::None | ContactNeed::Optional | ContactNeed::Required => Ok(()),
    }
}

/// What the vendor's call has places for, the one that is to take the values.
struct Places<'p> {
    of: Option<&'p Set>,
    /// The vendor's name.
    title: &'p str,
}

impl Places<'_> {
    fn have(&self, variable: &Variable) -> bool {
        self.of.is_some_and(|set| set.variables().contains(&variable))
    }

    fn must_have(&self, variable: &Variable, name: &str) -> Result<(), Fault> {
        if self.have(variable) {
            return Ok(());
        }
        Err(Fault::new(Code::NotSupported, format!("{} has no place for `{name}` here; leave it out", self.title)))
    }
}

fn messages(value: Option<&Value>, places: &Places<'_>) -> Result<Vec<Value>, Fault> {
    let wrong = |detail: String| Fault::new(Code::InvalidMessages, detail);
    let Some(value) = present(value) else { return Ok(Vec::new()) };
    let items = value.as_array().ok_or_else(|| wrong("`messages` must be an array".to_owned()))?;
    if items.is_empty() {
        return Ok(Vec::new());
    }
    places.must_have(&Variable::Messages, "messages")?;
    if items.len() > MOST_MESSAGES {
        return Err(wrong(format!("`messages` must be at most {MOST_MESSAGES}")));
    }
    for (index, item) in items.iter().enumerate() {
        message(item).map_err(|what| wrong(format!("`messages[{index}]` {what}")))?;
    }
    Ok(items.clone())
}

/// A message comes from the visitor: it must not speak for the bot.
fn message(value: &Value) -> Result<(), &'static str> {
    let members = value.as_object().ok_or("must be an object with type and text")?;
    if members.get("type").and_then(Value::as_str) != Some("user") {
        return Err("must have the type \"user\": other messages cannot be put in from outside");
    }
    let has_text = members.get("text").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !has_text {
        return Err("must have a `text`");
    }
    // The session call carries the account key, which would vouch for anything more.
    if members.keys().any(|name| !matches!(name.as_str(), "type" | "text" | "meta")) {
        return Err("must have type, text and meta only");
    }
    match members.get("meta") {
        Some(Value::Object(meta)) if meta.keys().all(|name| !name.starts_with('_')) => Ok(()),
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err("must have as `meta` an object without names that begin with `_`"),
    }
}

fn meta(value: Option<&Value>, places: &Places<'_>) -> Result<Option<Value>, Fault> {
    let Some(value) = present(value) else { return Ok(None) };
    let wrong = |detail| Err(Fault::new(Code::BadRequest, detail));
    let Some(members) = value.as_object() else { return wrong("`meta` must be an object") };
    if members.is_empty() {
        return Ok(None);
    }
    if !places.have(&Variable::Meta) {
        for name in members.keys() {
            places.must_have(&Variable::MetaMember(name.as_str().into()), "meta")?;
        }
    }
    if members.keys().any(|name: &String| name.starts_with('_')) {
        return wrong("`meta` must not have names that begin with `_`: the vendor keeps them for itself");
    }
    Ok(Some(Value::Object(Map::clone(members))))
}

fn visit(value: Option<&Value>, places: &Places<'_>) -> Result<Option<String>, Fault> {
    let Some(value) = present(value) else { return Ok(None) };
    places.must_have(&Variable::Visit, "visitId")?;
    match value.as_str() {
        Some(text) if (1..=LONGEST_VISIT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(text.to_owned()))
        }
        _ => Err(Fault::new(
            Code::BadRequest,
            format!("`visitId` must be a string of at most {LONGEST_VISIT} visible ASCII characters"),
        )),
    }
}

/// A page's token is good for that page; an owner may name the page, and it must be one that the bot allows.
fn origin(value: Option<&Value>, grant: &MintGrant) -> Result<Option<String>, Fault> {
    let value = present(value);
    match grant.minter() {
        Minter::Page(origin) => match value {
            None => Ok(Some(origin.as_str().to_owned())),
            Some(_) => {
                Err(Fault::new(Code::BadRequest, "`origin` is for owners; a page's token is good for that page"))
            }
        },
        Minter::Owner(_) | Minter::Operator(_) => {
            // A client that may be used in a page gets a token for that page, as a page without a credential would.
            let Some(value) = value else { return Ok(grant.page().map(|page| page.as_str().to_owned())) };
            let text = value.as_str().unwrap_or_default();
            let origin = http::HeaderValue::from_str(text).ok().and_then(|value| Origin::parse(&value));
            match origin {
                Some(origin) if grant.bot().origins.allows(&origin) => Ok(Some(text.to_owned())),
                _ => Err(Fault::new(
                    Code::BadRequest,
                    "`origin` must be one of the bot's origins, such as \"https://www.example.com\"",
                )),
            }
        }
    }
}

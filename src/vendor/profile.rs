//! What a profile means, once it has been read: types that cannot be wrong.

use std::collections::BTreeMap;
use std::fmt;

use http::uri::PathAndQuery;
use http::{HeaderName, Method};
use serde_json::Value;

use super::path::{Pattern, Segment};
use super::place::Place;
use super::template::{Shape, Template, Values, Variable};
use crate::net::BaseUrl;

/// A vendor's API, as the gateway fronts it.
#[derive(Debug)]
pub struct Profile {
    /// Its name: of the built-in profile, or the file.
    pub name: String,
    /// The vendor's name, for people.
    pub title: String,
    /// Where the API is, unless the configuration says otherwise.
    pub base_url: Option<BaseUrl>,
    /// What type the vendor's bot ids have in JSON.
    pub bot_id: BotId,
    /// The vendor's session call; absent: the vendor has none and the gateway makes the id.
    pub open: Option<Open>,
    /// The same call as the vendor's own clients send it to the gateway.
    pub accept: Option<Accept>,
    /// The call by which a contact becomes known to the vendor.
    pub identify: Option<Identify>,
    /// The call that exchanges the vendor's token for a new one.
    pub renew: Option<Renew>,
    /// The calls that a session token, or an owner, may make.
    pub routes: Vec<Route>,
    /// The shape of errors on the vendor's own paths; absent: problem+json.
    pub error: Option<ErrorShape>,
    /// Which answers are about the vendor's key, and not about the call.
    pub key_answers: KeyAnswers,
}

impl Profile {
    /// Whether a bot of this vendor is named in the calls of its own clients.
    pub fn names_bots(&self) -> bool {
        let in_path = |call: &Pattern| call.segments.contains(&Segment::Bot);
        self.accept.as_ref().is_some_and(|accept| accept.bot.is_some() || in_path(&accept.call))
            || self.routes.iter().any(|route| in_path(&route.call))
    }

    /// How the vendor's answers to the gateway's own calls say that these failed: all of them as those to its session call.
    pub fn failure(&self) -> &Failure {
        self.open.as_ref().map_or(&Failure::BY_STATUS, |open| &open.failure)
    }
}

/// Statuses, or a vendor's own codes of the same meaning, by which a vendor says that a key is refused or used up.
#[derive(Clone, Debug, Default)]
pub struct KeyAnswers(pub(super) Vec<u16>);

impl KeyAnswers {
    /// Whether `status` is one of them.
    pub fn has(&self, status: u16) -> bool {
        self.0.contains(&status)
    }
}

/// The JSON type of a vendor's bot ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BotId {
    /// A string.
    Text,
    /// A number.
    Number,
}

/// A call towards the vendor: method and path, with placeholders in its segments.
#[derive(Clone, Debug)]
pub struct Target {
    /// The method.
    pub method: Method,
    pub(super) segments: Vec<Template>,
    pub(super) fixed: Option<PathAndQuery>,
}

impl Target {
    /// The path, built from the template: its literals stand as they are, and each value is escaped where it is not
    /// plain, so that it stays in its segment. Nothing, if a placeholder has no value or one that could not stay there.
    pub fn path(&self, values: &impl Values) -> Option<String> {
        if let Some(fixed) = &self.fixed {
            return Some(fixed.as_str().to_owned());
        }
        let mut out = String::new();
        for segment in &self.segments {
            out.push('/');
            let start = out.len();
            segment.fill_escaped(values, &mut out)?;
            // Of a literal alone this was asked when the profile was read; it may be empty behind the last slash.
            if segment.variables().next().is_some() && matches!(&out[start..], "" | "." | "..") {
                return None;
            }
        }
        Some(out)
    }

    /// The path, where it is the same for all calls.
    pub fn fixed_path(&self) -> Option<&PathAndQuery> {
        self.fixed.as_ref()
    }

    /// Whether both name the same call.
    pub fn is_same_call(&self, other: &Self) -> bool {
        self.method == other.method && self.segments == other.segments
    }

    /// The placeholders in the path.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.segments.iter().flat_map(Template::variables)
    }
}

/// What the gateway writes into a call: what is named here, a client cannot say.
#[derive(Debug, Default)]
pub struct Set {
    /// Headers.
    pub header: Vec<(HeaderName, Template)>,
    /// Query parameters.
    pub query: Vec<(String, Template)>,
    /// Members of the JSON body.
    pub body: Vec<(String, Shape)>,
}

impl Set {
    /// The placeholders in it.
    pub fn variables(&self) -> Vec<&Variable> {
        let header = self.header.iter().flat_map(|(_, template)| template.variables());
        let query = self.query.iter().flat_map(|(_, template)| template.variables());
        let body = self.body.iter().flat_map(|(_, shape)| shape.variables());
        header.chain(query).chain(body).collect()
    }
}

/// What is taken out of a client's call.
#[derive(Debug, Default)]
pub struct Strip {
    /// Headers.
    pub header: Vec<HeaderPattern>,
    /// Query parameters, compared without ASCII case.
    pub query: Vec<String>,
    /// Members of the JSON body, compared without ASCII case.
    pub body: Vec<String>,
}

/// The query parameters that pass.
#[derive(Debug, PartialEq, Eq)]
pub enum Query {
    /// These, written exactly so.
    Named(Vec<String>),
    /// All but those that are set or stripped.
    All,
}

impl Default for Query {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

/// A header's name, or with a `*` at its end all that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPattern {
    pub(super) name: String,
    pub(super) prefix: bool,
}

impl HeaderPattern {
    /// Whether it means `name`. `_` counts as `-`, as CGI and what came after it read both alike.
    pub fn matches(&self, name: &HeaderName) -> bool {
        let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
        let (name, pattern) = (name.as_str().bytes().map(fold), self.name.bytes().map(fold));
        if self.prefix { name.take(self.name.len()).eq(pattern) } else { name.eq(pattern) }
    }

    /// Whether it names just this one: what passes is no other that a vendor could take for it.
    pub fn names(&self, name: &HeaderName) -> bool {
        if self.prefix { name.as_str().starts_with(&self.name) } else { name.as_str() == self.name }
    }

    /// The name, if it means one only.
    pub fn exact(&self) -> Option<&str> {
        (!self.prefix).then_some(self.name.as_str())
    }
}

impl fmt::Display for HeaderPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.name, if self.prefix { "*" } else { "" })
    }
}

/// Which of a client's values pass; what is not listed does not.
#[derive(Debug, Default)]
pub struct Allow {
    /// Headers, besides those that every call has (`Accept`, `Content-Type`); absent: all but the reserved.
    pub header: Option<Vec<HeaderPattern>>,
    /// Query parameters.
    pub query: Query,
    /// Members of the JSON body; absent: all.
    pub body: Option<Vec<String>>,
}

/// The vendor's session call.
#[derive(Debug)]
pub struct Open {
    /// The call.
    pub target: Target,
    /// What is written into it.
    pub set: Set,
    /// Where in the answer the session's id is.
    pub session: SessionSource,
    /// What type it has.
    pub session_type: SessionType,
    /// A JSON pointer (RFC 6901) to the vendor's token for the session.
    pub vendor_token: Option<String>,
    /// A JSON pointer to the end of the vendor's session.
    pub expires: Option<String>,
    /// How the answer says that there is no session.
    pub failure: Failure,
}

/// How an answer says that a call failed, as JSON pointers (RFC 6901).
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// To what is `true` where the call succeeded; absent: the status alone says it.
    pub when: Option<String>,
    /// To the vendor's code.
    pub code: Option<String>,
    /// To the vendor's words.
    pub message: Option<String>,
}

impl Failure {
    /// The status alone says it.
    const BY_STATUS: Self = Self { when: None, code: None, message: None };
}

/// The JSON type of a vendor's session ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionType {
    /// A string.
    Text,
    /// An integer.
    Integer,
}

/// Where an answer holds the session's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionSource {
    /// The whole body is the id.
    Text,
    /// A JSON pointer (RFC 6901).
    Pointer(String),
}

/// The session call of the vendor's own clients.
#[derive(Debug)]
pub struct Accept {
    /// The call.
    pub call: Pattern,
    /// Where the credential stands.
    pub credential: Place,
    /// Where the bot is named, if not in the path; the call may name none.
    pub bot: Option<Place>,
    /// Where the caller's wishes stand.
    pub fields: Fields,
    /// The status of the answer.
    pub status: http::StatusCode,
    /// The body of the answer.
    pub reply: Reply,
}

impl Accept {
    /// Whether anything of the call stands in its body.
    pub fn reads_body(&self) -> bool {
        let mut places = self.fields.places().chain([&self.credential]).chain(&self.bot);
        places.any(|place| place.body().is_some())
    }

    /// The headers in which something may stand.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.places().chain([&self.credential]).chain(&self.bot).filter_map(Place::header)
    }
}

/// Where a session call says what the native call says; of several places the first counts where something stands.
#[derive(Debug, Default)]
pub struct Fields {
    /// The lifetime in seconds.
    pub ttl: Vec<Place>,
    /// The contact.
    pub contact: Vec<Place>,
    /// The messages to begin with.
    pub messages: Vec<Place>,
    /// The caller's own data.
    pub meta: Meta,
    /// The visit.
    pub visit: Vec<Place>,
}

/// Where the caller's own data stand.
#[derive(Debug)]
pub enum Meta {
    /// All of them, as one object.
    Whole(Vec<Place>),
    /// Each by itself.
    Members(Vec<(String, Vec<Place>)>),
}

impl Default for Meta {
    fn default() -> Self {
        Self::Whole(Vec::new())
    }
}

impl Fields {
    fn places(&self) -> impl Iterator<Item = &Place> {
        let meta: Vec<&Place> = match &self.meta {
            Meta::Whole(places) => places.iter().collect(),
            Meta::Members(members) => members.iter().flat_map(|(_, places)| places).collect(),
        };
        [&self.ttl, &self.contact, &self.messages, &self.visit].into_iter().flatten().chain(meta)
    }
}

/// The body of an answer.
#[derive(Debug)]
pub enum Reply {
    /// `text/plain`.
    Text(Template),
    /// `application/json`.
    Json(Shape),
}

/// The call that tells the vendor who the contact is.
#[derive(Debug)]
pub struct Identify {
    /// The call.
    pub target: Target,
    /// What is written into it.
    pub set: Set,
}

/// The call that exchanges the vendor's token of a session for a new one.
#[derive(Debug)]
pub struct Renew {
    /// The call.
    pub target: Target,
    /// What is written into it.
    pub set: Set,
    /// A JSON pointer (RFC 6901) to the new token.
    pub vendor_token: String,
    /// A JSON pointer to its end.
    pub expires: Option<String>,
}

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The bearer of a session token.
    Session,
    /// A client that owns the bot.
    Owner,
}

/// One call that a session token, or an owner, may make.
#[derive(Debug)]
pub struct Route {
    /// The call as clients send it.
    pub call: Pattern,
    /// The call towards the vendor.
    pub target: Target,
    /// Who may make it.
    pub who: Who,
    /// Where this vendor's clients put the token, besides the header of their key; the first counts where something stands.
    pub token: Vec<Place>,
    /// What is written into it.
    pub set: Set,
    /// What is taken out of it.
    pub strip: Strip,
    /// What passes.
    pub allow: Allow,
    /// Names that nowhere in the JSON body may have a value: ids that would reach beyond the session.
    pub refuse: Vec<String>,
    /// The longest JSON body that is read; absent: the bot's.
    pub body_limit: Option<u64>,
    /// What is written into a JSON answer in place of the vendor's own members.
    pub answer: Vec<(String, Shape)>,
    /// Whether secrets are masked in the answer: only a call without any may say no.
    pub scrub: bool,
    /// Whether the account key goes into this call.
    pub carries_key: bool,
    /// Whether a WebSocket may be asked for here: only where the profile lets `Upgrade` pass.
    pub takes_socket: bool,
    /// Whether this is the call by which a contact becomes known, and the client says who: it passes only while the
    /// session has none.
    pub identifies: bool,
    /// Whether the gateway answers it with a new token of the session: the vendor is asked as `[renew]` says, if at all.
    pub renews: bool,
}

impl Route {
    /// Whether the body is read whole, to be written anew. All others stream.
    pub fn rewrites_body(&self) -> bool {
        !self.set.body.is_empty()
            || !self.strip.body.is_empty()
            || self.allow.body.is_some()
            || !self.refuse.is_empty()
            || self.token.iter().any(|place| place.body().is_some())
    }

    /// Whether the account key or the vendor's token goes into this call.
    pub fn carries_secret(&self) -> bool {
        self.carries_key || self.carries_vendor_token()
    }

    /// Whether its call carries the vendor's token of the session.
    pub fn carries_vendor_token(&self) -> bool {
        self.set.variables().contains(&&Variable::VendorToken)
    }
}

impl Strip {
    /// Takes out what stands at `place`; a header's removal is the business of whoever reads it.
    pub(super) fn take(&mut self, place: &Place, has_body: bool) {
        match place {
            Place::Query(name) => self.query.push(name.clone()),
            Place::Body(name) if has_body => self.body.push(name.clone()),
            Place::Body(_) | Place::Header(_) => {}
        }
    }
}

/// How a vendor writes errors.
#[derive(Debug)]
pub struct ErrorShape {
    /// The body; `{message}` and `{code}` are its placeholders.
    pub json: Value,
    /// The vendor's code for a status.
    pub codes: BTreeMap<u16, Value>,
    /// How its clients learn that they need a new token, where that is not by a 401.
    pub expired: Option<Expired>,
}

/// The status and the vendor's code by which its clients learn that their token is over.
#[derive(Debug)]
pub struct Expired {
    /// The status.
    pub status: http::StatusCode,
    /// The vendor's code.
    pub code: Value,
}

impl ErrorShape {
    /// The body for one error. Where the vendor has no code for the status, ours stands.
    pub fn fill(&self, status: http::StatusCode, code: &str, message: &str) -> Value {
        self.fill_with(self.codes.get(&status.as_u16()).unwrap_or(&Value::from(code)), message)
    }

    /// The body for one error with this code.
    pub fn fill_with(&self, code: &Value, message: &str) -> Value {
        fill_error(&self.json, code, message)
    }
}

fn fill_error(shape: &Value, code: &Value, message: &str) -> Value {
    match shape {
        // A code alone keeps its type.
        Value::String(text) if text == "{code}" => code.clone(),
        Value::String(text) => {
            let code = code.as_str().map_or_else(|| code.to_string(), str::to_owned);
            Value::String(text.replace("{code}", &code).replace("{message}", message))
        }
        Value::Array(items) => items.iter().map(|item| fill_error(item, code, message)).collect(),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, value)| (name.clone(), fill_error(value, code, message))).collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;

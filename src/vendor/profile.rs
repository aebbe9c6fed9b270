//! What a profile means, once it has been read: types that cannot be wrong.

use std::collections::BTreeMap;

use http::{HeaderName, Method};

use super::path::{Pattern, Segment};
use super::template::{Shape, Template, Values, Variable};

/// A vendor's API, as the gateway fronts it.
#[derive(Debug)]
pub struct Profile {
    /// Its name: of the built-in profile, or the file.
    pub name: String,
    /// The vendor's name, for people.
    pub title: String,
    /// Where the API is, unless the configuration says otherwise.
    pub base_url: Option<String>,
    /// What type the vendor's bot ids have in JSON.
    pub bot_id: BotId,
    /// The vendor's session call; absent: the vendor has none and the gateway makes the id.
    pub open: Option<Open>,
    /// The same call as the vendor's own clients send it to the gateway.
    pub accept: Option<Accept>,
    /// The call by which a contact becomes known to the vendor.
    pub identify: Option<Identify>,
    /// The calls that a session token allows.
    pub routes: Vec<Route>,
    /// The shape of errors on the vendor's own paths; absent: problem+json.
    pub error: Option<ErrorShape>,
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
    pub(super) fixed: Option<String>,
}

impl Target {
    /// The path, built from the template: its literals stand as they are, and each value is escaped where it is not
    /// plain, so that it stays in its segment. Nothing, if a placeholder has no value or one that could not stay there.
    pub fn path(&self, values: &impl Values) -> Option<String> {
        if let Some(fixed) = &self.fixed {
            return Some(fixed.clone());
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

    /// The path, if it has no placeholders.
    pub fn fixed_path(&self) -> Option<&str> {
        self.fixed.as_deref()
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
    /// Members of the JSON body, compared without ASCII case.
    pub body: Vec<String>,
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

    /// The name, if it means one only.
    pub fn exact(&self) -> Option<&str> {
        (!self.prefix).then_some(self.name.as_str())
    }
}

/// Which of a client's values pass; what is not listed does not.
#[derive(Debug, Default)]
pub struct Allow {
    /// Headers, besides those that every call has (`Accept`, `Content-Type`); absent: all but the reserved.
    pub header: Option<Vec<HeaderPattern>>,
    /// Query parameters.
    pub query: Vec<String>,
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
    /// A JSON pointer (RFC 6901) to the vendor's token for the session.
    pub vendor_token: Option<String>,
    /// A JSON pointer to the end of the vendor's session.
    pub expires: Option<String>,
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
    /// The header that carries the credential.
    pub credential: HeaderName,
    /// Where the caller's wishes stand in the body.
    pub fields: Fields,
    /// The status of the answer.
    pub status: http::StatusCode,
    /// The body of the answer.
    pub reply: Reply,
}

impl Accept {
    /// The bot that the path names, out of the values of its placeholders.
    pub fn bot_in<'v>(&self, values: &[&'v str]) -> Option<&'v str> {
        let placeholders = self.call.segments.iter().filter(|segment| !matches!(segment, Segment::Literal(_)));
        placeholders.zip(values).find(|(segment, _)| **segment == Segment::Bot).map(|(_, value)| *value)
    }
}

/// Members of the session call's JSON body that say what the native call says.
#[derive(Debug, Default)]
pub struct Fields {
    /// The lifetime in seconds.
    pub ttl: Option<String>,
    /// The contact.
    pub contact: Option<String>,
    /// The messages to begin with.
    pub messages: Option<String>,
    /// The caller's own data.
    pub meta: Option<String>,
    /// The visit.
    pub visit: Option<String>,
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

/// One call that a session token allows.
#[derive(Debug)]
pub struct Route {
    /// The call as clients send it.
    pub call: Pattern,
    /// The call towards the vendor.
    pub target: Target,
    /// What is written into it.
    pub set: Set,
    /// What is taken out of it.
    pub strip: Strip,
    /// What passes.
    pub allow: Allow,
    /// The longest JSON body that is read; absent: the bot's.
    pub body_limit: Option<u64>,
    /// Whether a WebSocket may be asked for here: only where the profile lets `Upgrade` pass.
    pub takes_socket: bool,
    /// Whether this is the call by which a contact becomes known: it passes only while the session has none.
    pub identifies: bool,
}

impl Route {
    /// Whether the body is read whole, to be written anew. All others stream.
    pub fn rewrites_body(&self) -> bool {
        !self.set.body.is_empty() || !self.strip.body.is_empty() || self.allow.body.is_some()
    }

    /// Whether the account key goes into this call.
    pub fn carries_key(&self) -> bool {
        self.set.variables().contains(&&Variable::Key)
    }
}

/// How a vendor writes errors.
#[derive(Debug)]
pub struct ErrorShape {
    /// The body; `{message}` and `{code}` are its placeholders.
    pub json: serde_json::Value,
    /// The vendor's code for a status.
    pub codes: BTreeMap<u16, String>,
}

impl ErrorShape {
    /// The body for one error. Where the vendor has no code for the status, ours stands.
    pub fn fill(&self, status: http::StatusCode, code: &str, message: &str) -> serde_json::Value {
        let code = self.codes.get(&status.as_u16()).map_or(code, String::as_str);
        fill_error(&self.json, code, message)
    }
}

fn fill_error(shape: &serde_json::Value, code: &str, message: &str) -> serde_json::Value {
    use serde_json::Value;
    match shape {
        Value::String(text) => Value::String(text.replace("{code}", code).replace("{message}", message)),
        Value::Array(items) => items.iter().map(|item| fill_error(item, code, message)).collect(),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, value)| (name.clone(), fill_error(value, code, message))).collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;

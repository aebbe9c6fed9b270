//! What the vendor must have got, by a reading of the profile and of the call that is the test's own.

use serde_json::{Map, Value};

use super::reading::{Pairs, alike, decoded, names_more, only};
use crate::support::vendor::Seen;

/// Headers of every call towards a vendor.
const OWN: &[&str] =
    &["host", "accept", "accept-encoding", "accept-language", "content-length", "content-type", "transfer-encoding"];
/// Headers that no vendor may get from a client, or their beginnings, with `-` for `_`.
const NEVER: &[&str] =
    &["gkc-", "x-runas-", "x-forwarded", "cookie", "forwarded", "proxy-", "keystile-", "te", "origin"];

/// What the gateway knows.
pub(super) struct Known {
    pub(super) key: String,
    pub(super) vendor_token: String,
    pub(super) session: Value,
    pub(super) bot: Value,
    pub(super) subject: String,
    pub(super) email: String,
    pub(super) options: Map<String, Value>,
}

/// A call of a profile, as its file says it.
pub(super) struct Call {
    /// Method and path as clients send them, with placeholders.
    pub(super) line: String,
    to: String,
    pub(super) is_owners: bool,
    /// Whether it is the session call.
    pub(super) is_opening: bool,
    /// Where a credential may stand: `header NAME`, `query NAME`, `body NAME`.
    pub(super) places: Vec<String>,
    set: Value,
    pub(super) refuse: Vec<String>,
    strip: Value,
    pub(super) allow: Value,
    pub(super) rewrites: bool,
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn names(value: &Value) -> Vec<String> {
    value.as_object().into_iter().flat_map(Map::keys).cloned().collect()
}

/// Whether it holds what a session is opened with at the caller's wish.
fn is_wish(template: &Value) -> bool {
    let text = template.to_string();
    ["{ttl}", "{contact", "{messages}", "{meta", "{visit}"].iter().any(|wish| text.contains(wish))
}

impl Call {
    pub(super) fn of_route(route: &Value, profile: &Value) -> Self {
        let line = route["call"].as_str().unwrap().to_owned();
        let (method, path) = line.split_once(' ').unwrap();
        let to = format!("{method} {}", route["to"].as_str().unwrap_or(path));
        let mut places = list(&route["token"]);
        places.extend(list(&profile["accept"]["credential"]));
        let (set, allow) = (route["set"].clone(), route["allow"].clone());
        let (strip, refuse) = (route["strip"].clone(), list(&route["refuse"]["body"]));
        let has_slot = places.iter().any(|place| place.starts_with("body "));
        let is_written = set["body"].is_object() || allow["body"].is_array() || has_slot;
        let rewrites = method != "GET" && (is_written || strip["body"].is_array() || !refuse.is_empty());
        let is_owners = route["who"] == "owner";
        Self { to, is_owners, is_opening: false, places, set, refuse, strip, allow, rewrites, line }
    }

    /// The session call, where the vendor has one.
    pub(super) fn of_opening(profile: &Value) -> Option<Self> {
        let (accept, open) = (&profile["accept"], &profile["open"]);
        let line = accept["call"].as_str()?.to_owned();
        let places = [list(&accept["credential"]), list(&accept["bot"])].concat();
        let members = open["set"]["body"].as_object().into_iter().flatten();
        let wishes: Vec<&String> = members.filter(|(_, value)| is_wish(value)).map(|(name, _)| name).collect();
        let allow = serde_json::json!({"header": ["user-agent"], "body": wishes, "query": []});
        let to = open["call"].as_str().unwrap().to_owned();
        let set = open["set"].clone();
        let rewrites = !line.starts_with("GET");
        let (refuse, strip, is_owners) = (Vec::new(), Value::Null, false);
        Some(Self { line, to, is_owners, is_opening: true, places, set, refuse, strip, allow, rewrites })
    }

    /// The same with the options put in.
    pub(super) fn with(mut self, known: &Known) -> Self {
        let put_in = |text: &str| {
            text.replace(
                "{option.key_header}",
                known.options.get("key_header").map_or("", |name| name.as_str().unwrap()),
            )
        };
        self.places = self.places.iter().map(|place| put_in(place)).collect();
        if let Some(headers) = self.set["header"].as_object() {
            let named: Map<String, Value> = headers.iter().map(|(name, value)| (put_in(name), value.clone())).collect();
            self.set["header"] = Value::Object(named);
        }
        self
    }

    /// The names of this `kind` that are not the client's to say.
    pub(super) fn reserved(&self, kind: &str) -> Vec<String> {
        let place = format!("{kind} ");
        let places = self.places.iter().filter_map(|text| text.strip_prefix(&place)).map(str::to_owned);
        let strip = list(&self.strip[kind]).into_iter().filter(|name| !name.ends_with('*'));
        let lists = strip.chain(self.refuse.iter().filter(|_| kind == "body").cloned());
        let set = names(&self.set[kind]).into_iter().filter(|name| !self.is_opening || !is_wish(&self.set[kind][name]));
        set.chain(places).chain(lists).collect()
    }

    /// The names of this `kind` that pass, if there is a list.
    pub(super) fn passing(&self, kind: &str) -> Option<Vec<String>> {
        let is_listed = self.allow[kind] != "*" && (kind == "query" || !self.allow[kind].is_null());
        is_listed.then(|| list(&self.allow[kind]))
    }
}

impl Known {
    /// A template with its values, as JSON; nothing without them.
    fn fill(&self, template: &Value) -> Option<Value> {
        match template {
            Value::String(text) if text == "{session}" => Some(self.session.clone()),
            Value::String(text) if text == "{bot}" => Some(self.bot.clone()),
            Value::String(text) => match text.strip_prefix("{option.").and_then(|rest| rest.strip_suffix('}')) {
                Some(option) if !self.options[option].is_string() => Some(self.options[option].clone()),
                _ => self.text(text).map(Value::String),
            },
            // What is built of several is the caller's to say in part.
            Value::Object(_) => None,
            other => Some(other.clone()),
        }
    }

    fn text(&self, template: &str) -> Option<String> {
        let mut text = template.to_owned();
        for (name, value) in &self.options {
            let name = format!("{{option.{name}}}");
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if text.contains(&name) && value.is_empty() {
                return None;
            }
            text = text.replace(&name, &value);
        }
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        for (name, value) in [
            ("{key}", self.key.clone()),
            ("{vendor_token}", self.vendor_token.clone()),
            ("{session}", plain(&self.session)),
            ("{bot}", plain(&self.bot)),
            ("{sub}", self.subject.clone()),
            ("{contact.email}", self.email.clone()),
        ] {
            text = text.replace(name, &value);
        }
        (!text.contains('{')).then_some(text)
    }
}

/// Fails unless this is what the vendor must get of the call.
pub(super) fn judge(call: &Call, known: &Known, seen: &Seen) {
    let (method, path) = call.to.split_once(' ').unwrap();
    assert_eq!(seen.method, method);
    let (seen_path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    is_path(path, seen_path, known);
    headers(call, known, seen);
    parameters(call, known, query);
    if call.rewrites {
        members(call, known, &seen.body);
    } else if method == "GET" {
        assert!(seen.body.is_empty(), "{seen:?}");
    }
}

fn is_path(template: &str, path: &str, known: &Known) {
    let (wanted, found): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    assert_eq!(wanted.len(), found.len(), "{path}");
    for (wanted, found) in wanted.iter().zip(found) {
        match known.text(wanted) {
            Some(text) => assert_eq!(found, text, "{path}"),
            None => assert!(!found.is_empty() && found != "." && found != "..", "{path}"),
        }
    }
}

fn headers(call: &Call, known: &Known, seen: &Seen) {
    let set = call.set["header"].as_object().cloned().unwrap_or_default();
    let fold = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    for (name, template) in &set {
        // Whom a page claims to be is not told in a header.
        let is_claim = call.is_opening && template.as_str().unwrap().contains("customer");
        let ours = known.fill(template).filter(|_| !is_claim).map(|value| value.as_str().unwrap().to_owned());
        assert_eq!(only(&seen.headers, name), ours.as_deref(), "{name} in {seen:?}");
        let alike = seen.headers.keys().filter(|known| fold(known.as_str()) == fold(name)).count();
        assert!(alike <= 1, "{name} in several writings in {seen:?}");
    }
    let passing = call.passing("header");
    let has_all = passing.is_none();
    let passing = passing.unwrap_or_default();
    for name in seen.headers.keys().map(http::HeaderName::as_str) {
        let is_set = set.keys().any(|ours| ours.eq_ignore_ascii_case(name));
        let is_listed = passing.iter().any(|listed| match listed.strip_suffix('*') {
            Some(start) => name.starts_with(&start.to_ascii_lowercase()),
            None => fold(name) == fold(listed),
        });
        let is_socket = passing.iter().any(|listed| listed.eq_ignore_ascii_case("upgrade"))
            && ["upgrade", "connection", "sec-websocket-key", "sec-websocket-version"].contains(&name);
        assert!(is_set || is_listed || has_all || is_socket || OWN.contains(&name), "{name} in {seen:?}");
        assert!(is_set || is_socket || !NEVER.iter().any(|never| fold(name).starts_with(never)), "{name} in {seen:?}");
    }
    assert_eq!(seen.headers.get_all("host").iter().count(), 1);
}

fn parameters(call: &Call, known: &Known, query: &str) {
    let pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (decoded(name), decoded(value))
        })
        .collect();
    let set = call.set["query"].as_object().cloned().unwrap_or_default();
    for (name, template) in &set {
        let ours: Vec<String> = known
            .fill(template)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .into_iter()
            .collect();
        let found: Vec<&String> =
            pairs.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect();
        assert_eq!(found, ours.iter().collect::<Vec<_>>(), "{name} in {query}");
    }
    let passing = call.passing("query");
    let reserved = call.reserved("query");
    for (at, (name, _)) in pairs.iter().enumerate() {
        let is_ours = reserved.iter().any(|reserved| reserved.eq_ignore_ascii_case(name));
        let passes = !is_ours && passing.as_ref().is_none_or(|listed| listed.contains(name));
        assert!(set.contains_key(name) || passes, "{name} in {query}");
        assert!(pairs[..at].iter().all(|(other, _)| !other.eq_ignore_ascii_case(name)), "{name} twice in {query}");
    }
}

fn members(call: &Call, known: &Known, body: &[u8]) {
    let text = String::from_utf8(body.to_vec()).unwrap();
    if call.is_opening && text.is_empty() {
        return assert!(call.set["body"].is_null());
    }
    let Pairs(pairs) = serde_json::from_str(&text).unwrap();
    let set = call.set["body"].as_object().cloned().unwrap_or_default();
    for (name, template) in &set {
        let mut found = pairs.iter().filter(|(known, _)| alike(known, name)).map(|(_, value)| value);
        let (first, last) = (found.clone().next(), found.clone().next_back());
        assert!(found.by_ref().count() <= 1, "{name} in {text}");
        match known.fill(template) {
            // What a session is opened with beside key and bot is the caller's to say.
            None if call.is_opening => {}
            ours => assert_eq!((first, last), (ours.as_ref(), ours.as_ref()), "{name} in {text}"),
        }
    }
    for (name, value) in &pairs {
        let is_set = set.contains_key(name);
        let is_reserved = call.reserved("body").iter().any(|reserved| alike(reserved, name));
        assert!(is_set || !is_reserved, "{name} in {text}");
        let passes = call.passing("body").is_none_or(|listed| listed.contains(name));
        assert!(is_set || passes, "{name} in {text}");
        assert!(!names_more(value, &call.refuse), "{text}");
    }
}

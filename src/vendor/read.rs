//! Reading a profile's file, with every problem kept.

use http::{HeaderName, HeaderValue, StatusCode};

use super::path::{Pattern, split_call};
use super::profile::{
    Accept, Allow, BotId, ErrorShape, Fields, HeaderPattern, Identify, Open, Profile, Reply, Route, SessionSource, Set,
    Strip, Target,
};
use super::template::{Shape, Template, Variable};
use crate::document::{Document, Problems, Table, Value};

/// The profiles that come with the gateway.
const BUILT_IN: &[(&str, &str)] = &[("chatbotkit", include_str!("../../config/vendors/chatbotkit.toml"))];

/// Headers that the gateway or HTTP itself writes: a profile cannot.
const OWN_HEADERS: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "accept-encoding"];

/// The text of a built-in profile.
pub fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of the built-in profiles, for people.
pub fn built_in_names() -> String {
    BUILT_IN.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Reads a profile from the text of `file`. What is wrong with it is noted; then nothing comes back.
pub fn read(name: &str, file: &str, text: &str, problems: &Problems) -> Option<Profile> {
    let document = Document::parse(file, text, problems)?;
    let root = document.root(problems);
    let title = root.required("title", "the vendor's name, for people").and_then(|value| value.text());
    let base_url = root.get("base_url").and_then(|value| value.text()).map(str::to_owned);
    let bot_id = root.get("bot_id").map_or(Some(BotId::Text), |value| bot_id(&value));
    let open = root.get("open").map(|value| open(&value));
    let accept = root.get("accept").map(|value| accept(&value));
    let identify = root.get("identify").map(|value| identify(&value));
    let error = root.get("error").map(|value| error_shape(&value));
    let items = root.get("route").and_then(|value| value.items()).unwrap_or_default();
    let identifying = identify.as_ref().and_then(Option::as_ref).map(|identify| &identify.target);
    let routes = items.iter().map(|item| route(item, identifying)).collect::<Option<Vec<_>>>();
    Some(Profile {
        name: name.to_owned(),
        title: title?.to_owned(),
        base_url,
        bot_id: bot_id?,
        open: turn(open)?,
        accept: turn(accept)?,
        identify: turn(identify)?,
        routes: routes?,
        error: turn(error)?,
    })
}

/// `Some(None)` was there and wrong; `None` was not there, which is fine.
fn turn<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    section.map_or(Some(None), |read| read.map(Some))
}

fn bot_id(value: &Value<'_>) -> Option<BotId> {
    match value.text()? {
        "text" => Some(BotId::Text),
        "number" => Some(BotId::Number),
        other => {
            value.problem(format!("`{other}` must be \"text\" or \"number\""));
            None
        }
    }
}

fn open(value: &Value<'_>) -> Option<Open> {
    let table = value.table()?;
    let target = target(&table, "call", &[]);
    let set = set(&table, &[]);
    let session =
        match table.required("session", "\"text\", or a JSON pointer to the id").and_then(|value| value.text()) {
            Some("text") => Some(SessionSource::Text),
            Some(_) => pointer(&table, "session").flatten().map(SessionSource::Pointer),
            None => None,
        };
    let vendor_token = pointer(&table, "vendor_token");
    let expires = pointer(&table, "expires");
    let (target, set) = (target?, set?);
    for variable in target.variables().chain(set.variables()) {
        if matches!(variable, Variable::Session | Variable::VendorToken) {
            table
                .problem("call", "the session call cannot use {session} or {vendor_token}: it is where they come from");
            return None;
        }
    }
    Some(Open { target, set, session: session?, vendor_token: vendor_token?, expires: expires? })
}

fn accept(value: &Value<'_>) -> Option<Accept> {
    let table = value.table()?;
    let call = pattern(&table);
    let credential = match table.get("credential") {
        None => Some(http::header::AUTHORIZATION),
        Some(value) => credential(&value),
    };
    let fields = table.section("fields");
    let member = |key: &str| {
        let Some(value) = fields.get(key) else { return Some(None) };
        let name = value.text()?.strip_prefix("body ").map(|name| Some(name.to_owned()));
        if name.is_none() {
            value.problem("must be \"body NAME\": the member of the JSON body that says it");
        }
        name
    };
    let (ttl, contact, messages, meta, visit) =
        (member("ttl"), member("contact"), member("messages"), member("meta"), member("visit"));
    let status = match table.get("status") {
        None => Some(StatusCode::OK),
        Some(value) => value
            .integer(200, 299)
            .and_then(|status| u16::try_from(status).ok())
            .and_then(|status| StatusCode::from_u16(status).ok()),
    };
    let reply = reply(&table);
    let call = call?;
    if !call.segments.contains(&super::path::Segment::Bot) {
        table.problem("call", "must hold {bot}: it is how the bot is found");
        return None;
    }
    let fields = Fields { ttl: ttl?, contact: contact?, messages: messages?, meta: meta?, visit: visit? };
    Some(Accept { call, credential: credential?, fields, status: status?, reply: reply? })
}

fn credential(value: &Value<'_>) -> Option<HeaderName> {
    let name = value.text()?.strip_prefix("header ").and_then(|name| name.parse().ok());
    if name.is_none() {
        value.problem("must be \"header NAME\": where the vendor's clients put their key");
    }
    name
}

fn reply(table: &Table<'_>) -> Option<Reply> {
    let section = table.section("reply");
    let (text, json) = (section.get("text"), section.get("json"));
    match (text, json) {
        (Some(text), None) => noted(&text, Template::parse(text.text()?, &[])).map(Reply::Text),
        (None, Some(json)) => noted(&json, Shape::parse(&json.json()?, &[])).map(Reply::Json),
        _ => {
            table.problem("reply", "must have either `text` or `json`: the body of the answer");
            None
        }
    }
}

fn identify(value: &Value<'_>) -> Option<Identify> {
    let table = value.table()?;
    let (target, set) = (target(&table, "call", &[]), set(&table, &[]));
    Some(Identify { target: target?, set: set? })
}

fn route(value: &Value<'_>, identifying: Option<&Target>) -> Option<Route> {
    let table = value.table()?;
    let call = pattern(&table);
    let free: Vec<&str> = call.as_ref().map(Pattern::free).unwrap_or_default();
    let free: Vec<String> = free.into_iter().map(str::to_owned).collect();
    let free: Vec<&str> = free.iter().map(String::as_str).collect();
    let to = match (table.get("to"), &call) {
        (Some(value), Some(call)) => {
            value.text().and_then(|path| noted(&value, parse_target(&format!("{} {path}", call.method), &free)))
        }
        (None, Some(call)) => noted(&table.value().clone(), parse_target(call.as_str(), &free)),
        (_, None) => None,
    };
    let set = set(&table, &free);
    let strip = strip(&table);
    let (allow, says_body) = allow(&table);
    let limits = table.section("limits");
    let body_limit = limits.get("body").map(|value| value.size());
    let (target, set, allow) = (to?, set?, allow?);
    let takes_socket = allow.header.iter().flatten().any(|name| name.exact() == Some("upgrade"));
    let route = Route {
        takes_socket,
        identifies: identifying.is_some_and(|identify| identify.is_same_call(&target)),
        call: call?,
        target,
        set,
        strip: strip?,
        allow,
        body_limit: turn(body_limit)?,
    };
    is_sound(&table, &route, says_body).then_some(route)
}

/// Rules between the keys of a route.
fn is_sound(table: &Table<'_>, route: &Route, says_body: bool) -> bool {
    let has_no_body = matches!(route.call.method, http::Method::GET | http::Method::HEAD);
    let has_lists = route.allow.header.is_some() && (says_body || has_no_body);
    if route.carries_key() && !has_lists {
        table.problem(
            "allow",
            "a call that carries {key} lists what passes of a client's call: allow.header and allow.body, each a list \
             of names, or \"*\" for all",
        );
        return false;
    }
    if route.takes_socket && route.call.method != http::Method::GET {
        table.problem("call", "allow.header names Upgrade, so WebSockets pass: they are asked for with GET");
        return false;
    }
    if route.rewrites_body() && has_no_body {
        table.problem("call", "a GET or HEAD has no body to set, strip or allow names in");
        return false;
    }
    true
}

fn strip(table: &Table<'_>) -> Option<Strip> {
    let section = table.section("strip");
    let header = section.get("header").map_or(Some(Vec::new()), |value| header_patterns(&value));
    let body = section.get("body").map_or(Some(Vec::new()), |value| names(&value));
    Some(Strip { header: header?, body: body? })
}

/// What passes, and whether it is said for the body.
fn allow(table: &Table<'_>) -> (Option<Allow>, bool) {
    let section = table.section("allow");
    let is_all = |value: &Value<'_>| value.as_text() == Some("*");
    let header = match section.get("header") {
        None => Some(None),
        // All: every name begins with nothing.
        Some(value) if is_all(&value) => Some(Some(vec![HeaderPattern { name: String::new(), prefix: true }])),
        Some(value) => header_patterns(&value).map(Some),
    };
    let query = section.get("query").map_or(Some(Vec::new()), |value| names(&value));
    let body = section.get("body");
    let says_body = body.is_some();
    let body = match body {
        None => Some(None),
        Some(value) if is_all(&value) => Some(None),
        Some(value) => names(&value).map(Some),
    };
    let allow = || Some(Allow { header: header?, query: query?, body: body? });
    (allow(), says_body)
}

fn names(value: &Value<'_>) -> Option<Vec<String>> {
    Some(value.texts()?.into_iter().map(str::to_owned).collect())
}

fn header_patterns(value: &Value<'_>) -> Option<Vec<HeaderPattern>> {
    let pattern = |text: &str| {
        let (name, prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        let valid = HeaderName::from_bytes(name.as_bytes()).is_ok();
        if !valid {
            value.problem(format!("`{text}` is not a header's name, nor the beginning of one and `*`"));
        }
        valid.then(|| HeaderPattern { name: name.to_ascii_lowercase(), prefix })
    };
    value.texts()?.into_iter().map(pattern).collect()
}

fn set(table: &Table<'_>, free: &[&str]) -> Option<Set> {
    let section = table.section("set");
    let header = entries(&section, "header", |name, value| {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            value.problem(format!("`{name}` is not a header's name"));
            return None;
        };
        if OWN_HEADERS.contains(&header.as_str()) {
            value.problem(format!("`{header}` is written by the gateway itself"));
            return None;
        }
        let template = for_vendor(value, Template::parse(value.text()?, free))?;
        if template.literals().any(|literal| HeaderValue::from_bytes(literal.as_bytes()).is_err()) {
            value.problem("no header can hold a line break or another control character");
            return None;
        }
        Some((header, template))
    });
    let query = entries(&section, "query", |name, value| {
        Some((name.to_owned(), for_vendor(value, Template::parse(value.text()?, free))?))
    });
    let body = entries(&section, "body", |name, value| {
        let shape = noted(value, Shape::parse(&value.json()?, free))?;
        let ours = shape.variables().into_iter().all(Variable::is_for_vendor);
        if !ours {
            value.problem("our own token is never sent to a vendor");
        }
        ours.then(|| (name.to_owned(), shape))
    });
    Some(Set { header: header?, query: query?, body: body? })
}

fn for_vendor(value: &Value<'_>, template: Result<Template, String>) -> Option<Template> {
    let template = noted(value, template)?;
    let ours = template.variables().all(Variable::is_for_vendor);
    if !ours {
        value.problem("our own token is never sent to a vendor");
    }
    ours.then_some(template)
}

fn entries<T>(section: &Table<'_>, key: &str, read: impl Fn(&str, &Value<'_>) -> Option<T>) -> Option<Vec<T>> {
    section.section(key).named().iter().map(|(name, value)| read(name, value)).collect()
}

fn pointer(table: &Table<'_>, key: &str) -> Option<Option<String>> {
    let Some(value) = table.get(key) else { return Some(None) };
    let text = value.text()?;
    if !text.starts_with('/') {
        value.problem(format!("`{text}` must be a JSON pointer (RFC 6901), such as \"/data/id\""));
        return None;
    }
    Some(Some(text.to_owned()))
}

fn pattern(table: &Table<'_>) -> Option<Pattern> {
    let value = table.required("call", "a method and a path, such as \"POST /chat\"")?;
    noted(&value, Pattern::parse(value.text()?))
}

fn target(table: &Table<'_>, key: &str, free: &[&str]) -> Option<Target> {
    let value = table.required(key, "a method and a path, such as \"POST /chat\"")?;
    noted(&value, parse_target(value.text()?, free))
}

fn parse_target(text: &str, free: &[&str]) -> Result<Target, String> {
    let (method, path) = split_call(text)?;
    let segments = path[1..].split('/').map(|segment| Template::parse(segment, free)).collect::<Result<Vec<_>, _>>()?;
    let variables = || segments.iter().flat_map(Template::variables);
    if variables().any(|variable| matches!(variable, Variable::Key | Variable::VendorToken)) {
        return Err(format!("`{text}`: a secret does not belong in a path"));
    }
    if !variables().all(Variable::is_for_vendor) {
        return Err(format!("`{text}`: our own token is never sent to a vendor"));
    }
    let has_values = variables().next().is_some();
    Ok(Target { method, segments, fixed: (!has_values).then(|| path.to_owned()) })
}

fn error_shape(value: &Value<'_>) -> Option<ErrorShape> {
    let table = value.table()?;
    let json = table.required("json", "the body of an error, with {message} and {code}").and_then(|value| value.json());
    let codes = entries(&table, "codes", |name, value| {
        let status = name.parse().ok().filter(|status| (400..600).contains(status));
        if status.is_none() {
            value.problem(format!("`{name}` must be an HTTP status from 400 to 599"));
        }
        Some((status?, value.text()?.to_owned()))
    });
    Some(ErrorShape { json: json?, codes: codes?.into_iter().collect() })
}

fn noted<T>(value: &Value<'_>, result: Result<T, String>) -> Option<T> {
    result.map_err(|message| value.problem(message)).ok()
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;

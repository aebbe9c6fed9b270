//! Reading `[[route]]`: one call that a session token, or an owner, may make.

use super::super::options::Names;
use super::super::path::{Pattern, Segment};
use super::super::place::Place;
use super::super::profile::{Allow, HeaderPattern, Query, Route, Strip, Target, Who};
use super::super::reserved::is_reserved;
use super::super::template::{Shape, Variable};
use super::parts::{header_patterns, names_of, noted, parse_target, pattern, places};
use super::set::{entries, set};
use super::turn;
use crate::document::{Table, Value};

/// Reads one route. `identifying` is the call by which a contact becomes known, `credential` where the vendor's own
/// clients put their key.
pub(super) fn route(
    value: &Value<'_>,
    identifying: Option<&Target>,
    credential: Option<&Place>,
    names: &Names<'_>,
) -> Option<Route> {
    let table = value.table()?;
    let call = pattern(&table);
    let free: Vec<String> = call.iter().flat_map(Pattern::free).map(str::to_owned).collect();
    let free: Vec<&str> = free.iter().map(String::as_str).collect();
    let names = &Names { segments: &free, ..*names };
    let target = match (table.get("to"), &call) {
        (Some(value), Some(call)) => {
            value.text().and_then(|path| noted(&value, parse_target(&format!("{} {path}", call.method), names)))
        }
        (None, Some(call)) => noted(&table.value().clone(), parse_target(call.as_str(), names)),
        (_, None) => None,
    };
    let who = table.get("who").map_or(Some(Who::Session), |value| who(&value));
    let token = table.get("token").map_or_else(|| Some(Vec::new()), |value| places(&value, names));
    let set = set(&table, names);
    let strip = strip(&table);
    let (allow, says_body) = allow(&table);
    let refuse = table.section("refuse").get("body").map_or_else(|| Some(Vec::new()), |value| names_of(&value));
    let body_limit = table.section("limits").get("body").map(|value| value.size());
    let answer = answer(&table, names);
    let scrub = table.get("scrub").map_or(Some(true), |value| scrub(&value));
    let renews = table.get("renews").map_or(Some(false), |value| value.boolean());
    let (target, set, allow) = (target?, set?, allow?);
    let takes_socket = allow.header.iter().flatten().any(|name| name.exact() == Some("upgrade"));
    let writes_contact = set.variables().into_iter().any(Variable::is_of_contact);
    let mut route = Route {
        carries_key: set.variables().contains(&&Variable::Key),
        takes_socket,
        identifies: !writes_contact && identifying.is_some_and(|identify| identify.is_same_call(&target)),
        call: call?,
        target,
        who: who?,
        token: token?,
        set,
        strip: strip?,
        allow,
        refuse: refuse?,
        body_limit: turn(body_limit)?,
        answer: answer?,
        scrub: scrub?,
        renews: renews?,
    };
    // A credential is for the gateway, wherever it stands: it never goes to the vendor.
    for place in route.token.clone().iter().chain(credential) {
        let has_body = !route.call.method.is_safe();
        route.strip.take(place, has_body);
    }
    is_sound(&table, &route, says_body).then_some(route)
}

/// Rules between the keys of a route.
fn is_sound(table: &Table<'_>, route: &Route, says_body: bool) -> bool {
    let has_no_body = route.call.method.is_safe();
    let has_lists = route.allow.header.is_some() && (says_body || has_no_body);
    let (key, problem) = if route.carries_key && !has_lists {
        (
            "allow",
            "a call that carries {key} lists what passes of a client's call: allow.header and allow.body, each a list \
             of names, or \"*\" for all",
        )
    } else if route.takes_socket && route.call.method != http::Method::GET {
        ("call", "allow.header names Upgrade, so WebSockets pass: they are asked for with GET")
    } else if has_no_body && route.rewrites_body() {
        ("call", "a GET or HEAD has no body to set, strip, refuse or allow names in, nor for a token")
    } else if !route.scrub && route.carries_secret() {
        ("scrub", "\"none\" is for calls that carry no secret; this one has {key} or {vendor_token}")
    } else if route.token.iter().any(|place| place.header().is_some()) {
        (
            "token",
            "a token counts in `Authorization` and in the header of the key anyhow; write \"query NAME\" or \"body NAME\"",
        )
    } else if route.target.variables().chain(route.set.variables()).any(Variable::is_of_opening) {
        (
            "set",
            "{ttl}, {visit}, {messages} and {meta} are known where a session is opened; a call of it has no value for them",
        )
    } else if route.renews && (route.who == Who::Owner || route.answer.is_empty() || route.goes_to_vendor()) {
        (
            "renews",
            "such a call is answered by the gateway alone: it has a session's token and answer.json, and no to, set or allow",
        )
    } else if route.who == Who::Owner && route.needs_session() {
        ("who", "an owner has no session: {session}, {vendor_token}, {sub} and the contact have no value then")
    } else if route.who == Who::Owner && (!route.token.is_empty() || route.takes_socket) {
        ("who", "an owner's call has no slot for a session token and opens no WebSocket")
    } else if route.who == Who::Session && route.is_answered_with_secret() {
        ("answer", "a key or a vendor's token has no place in an answer")
    } else {
        return true;
    };
    table.problem(key, problem);
    false
}

fn who(value: &Value<'_>) -> Option<Who> {
    match value.text()? {
        "session" => Some(Who::Session),
        "owner" => Some(Who::Owner),
        other => {
            value.problem(format!(
                "`{other}` must be \"session\" (a session token) or \"owner\" (a client that owns the bot)"
            ));
            None
        }
    }
}

fn scrub(value: &Value<'_>) -> Option<bool> {
    if value.text()? == "none" {
        return Some(false);
    }
    value.problem("must be \"none\", or left out: then secrets are masked in the answer");
    None
}

fn answer(table: &Table<'_>, names: &Names<'_>) -> Option<Vec<(String, Shape)>> {
    entries(&table.section("answer"), "json", |name, value| {
        Some((name.to_owned(), noted(value, Shape::parse(&value.json()?, names))?))
    })
}

fn strip(table: &Table<'_>) -> Option<Strip> {
    let section = table.section("strip");
    let header = section.get("header").map_or(Some(Vec::new()), |value| header_patterns(&value));
    let query = section.get("query").map_or(Some(Vec::new()), |value| names_of(&value));
    let body = section.get("body").map_or(Some(Vec::new()), |value| names_of(&value));
    Some(Strip { header: header?, query: query?, body: body? })
}

/// What passes, and whether it is said for the body.
fn allow(table: &Table<'_>) -> (Option<Allow>, bool) {
    let section = table.section("allow");
    let header = match section.get("header") {
        None => Some(None),
        // All: every name begins with nothing.
        Some(value) => {
            let all = || vec![HeaderPattern { name: String::new(), prefix: true }];
            all_or(&value, all, passing_headers).map(Some)
        }
    };
    let query = match section.get("query") {
        None => Some(Query::Named(Vec::new())),
        Some(value) => all_or(&value, || Query::All, |value| names_of(value).map(Query::Named)),
    };
    let body = section.get("body");
    let says_body = body.is_some();
    let body = match body {
        None => Some(None),
        Some(value) => all_or(&value, || None, |value| names_of(value).map(Some)),
    };
    let allow = || Some(Allow { header: header?, query: query?, body: body? });
    (allow(), says_body)
}

/// `"*"`, which is all, or a list of names, in which it is none.
fn all_or<T>(value: &Value<'_>, all: impl FnOnce() -> T, list: impl FnOnce(&Value<'_>) -> Option<T>) -> Option<T> {
    if value.as_text() == Some("*") {
        return Some(all());
    }
    if value.holds("*") {
        value.problem("`*` is no name in a list; write \"*\" without the list to let all pass");
        return None;
    }
    list(value)
}

/// Headers that a route lets pass; those that never do are not its to list.
fn passing_headers(value: &Value<'_>) -> Option<Vec<HeaderPattern>> {
    let patterns = header_patterns(value)?;
    let mut can_pass = true;
    for pattern in patterns.iter().filter(|pattern| never_passes(pattern)) {
        value.problem(format!(
            "`{pattern}` never passes: credentials, cookies, origins and what is about the connection are kept back; take \
             it out, and write with set.header what the vendor needs"
        ));
        can_pass = false;
    }
    can_pass.then_some(patterns)
}

/// Whether no header of the pattern passes; of a beginning, none that begins so. `Upgrade` says that WebSockets do.
fn never_passes(HeaderPattern { name, prefix }: &HeaderPattern) -> bool {
    if *prefix { is_reserved(&format!("{name}~")) } else { is_reserved(name) && name != "upgrade" }
}

impl Route {
    fn needs_session(&self) -> bool {
        let is_of_session = |variable: &Variable| {
            variable.is_of_contact()
                || matches!(variable, Variable::Session | Variable::VendorToken | Variable::Subject)
        };
        self.target.variables().chain(self.set.variables()).any(is_of_session)
            || self.call.segments.contains(&Segment::Session)
            || self.answer.iter().any(|(_, shape)| !shape.variables().is_empty())
    }

    fn goes_to_vendor(&self) -> bool {
        !self.set.variables().is_empty() || self.rewrites_body() || self.allow.header.is_some() || self.takes_socket
    }

    fn is_answered_with_secret(&self) -> bool {
        let is_secret = |variable: &&Variable| matches!(variable, Variable::Key | Variable::VendorToken);
        self.answer.iter().any(|(_, shape)| shape.variables().iter().any(is_secret))
    }
}

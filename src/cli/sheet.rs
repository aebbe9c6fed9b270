//! Calls of a profile as people read them: labels on the left, what they mean on the right.
//!
//! Placeholders stand as profiles write them, so no key's value can be in it.

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::{Value, json};

use crate::text::harmless;
use crate::vendor::{Query, Route, Set, Shape, Strip, Target, Template, Values, Variable, Who};

/// Headings, and below each labelled lines.
#[derive(Default)]
pub(super) struct Sheet {
    parts: Vec<Part>,
}

struct Part {
    heading: String,
    rows: Vec<(String, Vec<String>)>,
}

impl Sheet {
    /// Begins a part.
    pub(super) fn heading(&mut self, line: impl Display) {
        self.parts.push(Part { heading: line.to_string(), rows: Vec::new() });
    }

    /// `values`, each on a line of its own, the label before the first; nothing where there are none.
    pub(super) fn row<V: Display>(&mut self, label: &str, values: impl IntoIterator<Item = V>) {
        let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        if let Some(part) = self.parts.last_mut().filter(|_| !values.is_empty()) {
            part.rows.push((label.to_owned(), values));
        }
    }

    /// A call towards the vendor, and what is written into it.
    pub(super) fn call(&mut self, target: &Target, set: &Set) {
        self.row("sent", [sent(target)]);
        self.row("set", set_lines(set));
    }

    /// What a route does with a client's call.
    pub(super) fn route(&mut self, route: &Route) {
        self.row("who", [who(route.who)]);
        self.row("token in", route.token.iter());
        // Of a call that renews, nothing goes to the vendor.
        if !route.renews {
            self.call(&route.target, &route.set);
            self.row("stripped", strip_lines(&route.strip));
            self.row("refused", listed("body", &route.refuse));
            self.row("passing", passing(route));
        }
        self.row("answer", route.answer.iter().map(|(name, shape)| assigned(name, written(shape))));
        self.row("body limit", route.body_limit.map(|bytes| format!("{bytes} bytes")));
        self.row("notes", notes(route));
    }

    /// For people: an empty line between parts, none at the end.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{}\n", harmless(&part.heading)));
            for (label, values) in &part.rows {
                for (at, value) in values.iter().enumerate() {
                    let label = if at == 0 { label } else { "" };
                    text.push_str(&format!("  {label:<13} {}\n", harmless(value)));
                }
            }
        }
        text.trim_end().to_owned()
    }

    /// For programs: the same, as `[{"heading": …, "rows": {label: [value]}}]`.
    pub(super) fn to_json(&self) -> Value {
        let rows = |part: &Part| -> Value {
            part.rows.iter().map(|(label, values)| (label.clone(), Value::from(values.clone()))).collect()
        };
        self.parts.iter().map(|part| json!({"heading": part.heading, "rows": rows(part)})).collect()
    }
}

/// Each placeholder as it is written, instead of its value.
struct Written;

impl Values for Written {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        name(variable).map(|name| Cow::Owned(Value::from(format!("{{{name}}}"))))
    }
}

/// A placeholder's name; nothing for an empty option, which never has a value.
fn name(variable: &Variable) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(match variable {
        Variable::Key => "key",
        Variable::Bot => "bot",
        Variable::Session => "session",
        Variable::VendorToken => "vendor_token",
        Variable::Contact => "contact",
        Variable::ContactName => "contact.name",
        Variable::ContactEmail => "contact.email",
        Variable::ContactPhone => "contact.phone",
        Variable::Visit => "visit",
        Variable::Ttl => "ttl",
        Variable::Messages => "messages",
        Variable::Meta => "meta",
        Variable::Subject => "sub",
        Variable::Token => "token",
        Variable::ExpiresMs => "expires_ms",
        Variable::Answer => "answer",
        Variable::Segment(name) => name,
        Variable::MetaMember(member) => return Some(Cow::Owned(format!("meta.{member}"))),
        Variable::AnswerMember(member) => return Some(Cow::Owned(format!("answer.{member}"))),
        Variable::Query(parameter) => return Some(Cow::Owned(format!("query.{parameter}"))),
        Variable::Nothing => return None,
    }))
}

/// A value with its placeholders; nothing if it is one without a value.
pub(super) fn written(shape: &Shape) -> Option<String> {
    shape.fill(&Written).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// The same of a text.
pub(super) fn written_text(template: &Template) -> Option<String> {
    template.fill(&Written)
}

fn sent(target: &Target) -> String {
    // Values in a path are escaped; the braces of these are not meant to be.
    let path = target.path(&Written).map(|path| path.replace("%7B", "{").replace("%7D", "}"));
    path.map_or_else(
        || format!("{}: never, as an option in its path is empty", target.method),
        |path| format!("{} {path}", target.method),
    )
}

fn assigned(name: &str, value: Option<String>) -> String {
    value.map_or_else(|| format!("{name}: never sent, as its option is empty"), |value| format!("{name} = {value}"))
}

fn set_lines(set: &Set) -> Vec<String> {
    let text = |kind: &str, name: &str, value: &Template| assigned(&format!("{kind} {name}"), written_text(value));
    let header = set.header.iter().map(|(name, value)| text("header", name.as_str(), value));
    let query = set.query.iter().map(|(name, value)| text("query", name, value));
    let body = set.body.iter().map(|(name, shape)| assigned(&format!("body {name}"), written(shape)));
    header.chain(query).chain(body).collect()
}

fn strip_lines(strip: &Strip) -> Vec<String> {
    let lists = [listed("header", &strip.header), listed("query", &strip.query), listed("body", &strip.body)];
    lists.into_iter().flatten().collect()
}

/// One line with all of `names`; nothing where there are none.
fn listed(kind: &str, names: &[impl Display]) -> Option<String> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| format!("{kind} {}", names.join(", ")))
}

fn passing(route: &Route) -> Vec<String> {
    let allow = &route.allow;
    let header = match &allow.header {
        None => "header: all but the reserved".to_owned(),
        Some(names) => listed("header", names).unwrap_or_else(|| "header: those of every call only".to_owned()),
    };
    let query = match &allow.query {
        Query::All => "query: all but what is set or stripped".to_owned(),
        Query::Named(names) => listed("query", names).unwrap_or_else(|| "query: none".to_owned()),
    };
    let body = match &allow.body {
        _ if route.call.method.is_safe() => None,
        None => Some("body: all but what is set, stripped or refused".to_owned()),
        Some(names) => listed("body", names).or_else(|| Some("body: none".to_owned())),
    };
    [header, query].into_iter().chain(body).collect()
}

fn notes(route: &Route) -> Vec<&'static str> {
    let notes = [
        (route.carries_key, "the account key goes into this call"),
        (route.takes_socket, "a WebSocket may be asked for"),
        (route.renews, "answered by the gateway alone, with a new token of the session"),
        (route.identifies, "tells who the contact is: passes only while the session has none"),
        (!route.scrub, "the answer is not searched for secrets: the call carries none"),
    ];
    notes.into_iter().filter_map(|(is_so, note)| is_so.then_some(note)).collect()
}

/// Who may make a call, for people.
fn who(who: Who) -> &'static str {
    match who {
        Who::Session => "the bearer of a session token",
        Who::Owner => "a client that owns the bot",
    }
}

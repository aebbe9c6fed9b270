//! Reading `set`: what the gateway writes into a call.

use http::{HeaderName, HeaderValue};

use super::super::options::Names;
use super::super::profile::Set;
use super::super::template::{Shape, Template, Variable};
use super::parts::{all, noted};
use crate::document::{Table, Value};

/// Headers that the gateway or HTTP itself writes: a profile cannot.
pub(super) const OWN_HEADERS: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "accept-encoding"];

/// Reads `set.header`, `set.query` and `set.body` of `table`.
pub(super) fn set(table: &Table<'_>, names: &Names<'_>) -> Option<Set> {
    let section = table.section("set");
    let header = entries(&section, "header", |name, value| header(name, value, names));
    let query = entries(&section, "query", |name, value| {
        Some(Some((name.to_owned(), for_vendor(value, Template::parse(value.text()?, names))?)))
    });
    let body = entries(&section, "body", |name, value| {
        let shape = noted(value, Shape::parse(&value.json()?, names))?;
        let ours = shape.variables().into_iter().all(Variable::is_for_vendor);
        if !ours {
            value.problem("our own token is never sent to a vendor");
        }
        ours.then(|| Some((name.to_owned(), shape)))
    });
    let (header, query, body) = (header?, query?, body?);
    let headers = header.iter().map(|entry| entry.as_ref().map_or("", |(name, _)| name.as_str()));
    let is_apart = [
        are_apart(&section, "header", headers),
        are_apart(&section, "query", query.iter().flatten().map(|(name, _)| name.as_str())),
        are_apart(&section, "body", body.iter().flatten().map(|(name, _)| name.as_str())),
    ];
    if is_apart.contains(&false) {
        return None;
    }
    Some(Set {
        header: header.into_iter().flatten().collect(),
        query: query.into_iter().flatten().collect(),
        body: body.into_iter().flatten().collect(),
    })
}

/// A header and its value; one whose name is an empty option is not written.
fn header(name: &str, value: &Value<'_>, names: &Names<'_>) -> Option<Option<(HeaderName, Template)>> {
    let named = noted(value, Template::parse(name, names))?;
    if named.variables().any(|variable| *variable == Variable::Nothing) {
        return Some(None);
    }
    let named = named.as_fixed().unwrap_or_default();
    let Ok(header) = HeaderName::from_bytes(named.as_bytes()) else {
        value.problem(format!("`{named}` is not a header's name"));
        return None;
    };
    if OWN_HEADERS.contains(&header.as_str()) {
        value.problem(format!("`{header}` is written by the gateway itself"));
        return None;
    }
    let template = for_vendor(value, Template::parse(value.text()?, names))?;
    if template.literals().any(|literal| HeaderValue::from_bytes(literal.as_bytes()).is_err()) {
        value.problem("no header can hold a line break or another control character");
        return None;
    }
    Some(Some((header, template)))
}

fn for_vendor(value: &Value<'_>, template: Result<Template, String>) -> Option<Template> {
    let template = noted(value, template)?;
    let ours = template.variables().all(Variable::is_for_vendor);
    if !ours {
        value.problem("our own token is never sent to a vendor");
    }
    ours.then_some(template)
}

/// Whether no two `names`, which the entries of the table at `key` have in their order, differ in case alone: a vendor
/// could take one for the other, and of a header would get one only. One that is not written is empty.
fn are_apart<'n>(section: &Table<'_>, key: &str, names: impl Iterator<Item = &'n str>) -> bool {
    let mut seen: Vec<&str> = Vec::new();
    let mut are_apart = true;
    let table = section.get(key).filter(Value::is_table).and_then(|value| value.table());
    for ((_, value), name) in table.iter().flat_map(Table::named).zip(names) {
        if !name.is_empty() && seen.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            value.problem(format!("`{name}` is set twice: case does not tell names apart; write it once"));
            are_apart = false;
        }
        seen.push(name);
    }
    are_apart
}

/// The entries of the table at `key`, each read; nothing if one of them is wrong.
pub(super) fn entries<T>(
    section: &Table<'_>,
    key: &str,
    read: impl Fn(&str, &Value<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    all(section.section(key).named().iter().map(|(name, value)| read(name, value)))
}

//! What several sections of a profile are made of: calls, pointers, places, lists of names.

use std::fmt;

use http::HeaderName;
use http::uri::PathAndQuery;

use super::super::options::Names;
use super::super::path::{Pattern, split_call};
use super::super::place::Place;
use super::super::profile::{HeaderPattern, Target};
use super::super::template::{Template, Variable};
use crate::document::{Table, Value};

/// The result, or nothing and its error as a problem of `value`.
pub(super) fn noted<T>(value: &Value<'_>, result: Result<T, String>) -> Option<T> {
    result.map_err(|message| value.problem(message)).ok()
}

/// A call as clients send it.
pub(super) fn pattern(table: &Table<'_>) -> Option<Pattern> {
    let value = table.required("call", "a method and a path, such as \"POST /chat\"")?;
    noted(&value, Pattern::parse(value.text()?))
}

/// A call towards the vendor.
pub(super) fn target(table: &Table<'_>, names: &Names<'_>) -> Option<Target> {
    let value = table.required("call", "a method and a path, such as \"POST /chat\"")?;
    noted(&value, parse_target(value.text()?, names))
}

/// The same out of its text.
pub(super) fn parse_target(text: &str, names: &Names<'_>) -> Result<Target, String> {
    let (method, path) = split_call(text)?;
    let segments =
        path[1..].split('/').map(|segment| Template::parse(segment, names)).collect::<Result<Vec<_>, _>>()?;
    let variables = || segments.iter().flat_map(Template::variables);
    if variables().any(|variable| matches!(variable, Variable::Key | Variable::VendorToken)) {
        return Err(format!("`{text}`: a secret does not belong in a path"));
    }
    if !variables().all(Variable::is_for_vendor) {
        return Err(format!("`{text}`: our own token is never sent to a vendor"));
    }
    let texts: Option<Vec<String>> = segments.iter().map(Template::as_fixed).collect();
    let fixed = texts.map(|texts| format!("/{}", texts.join("/")));
    let checked = fixed.map(|fixed| {
        let becomes = |why: &dyn fmt::Display| format!("`{text}` becomes `{fixed}`: {why}");
        super::super::path::check(&fixed).map_err(|error| becomes(&error))?;
        PathAndQuery::try_from(fixed.as_str()).map_err(|error| becomes(&error))
    });
    Ok(Target { method, segments, fixed: checked.transpose()? })
}

/// A JSON pointer, if there is one.
pub(super) fn pointer(table: &Table<'_>, key: &str, names: &Names<'_>) -> Option<Option<String>> {
    let Some(value) = table.get(key) else { return Some(None) };
    let text = noted(&value, Template::parse(value.text()?, names))?.as_fixed().unwrap_or_default();
    // `~0` stands for `~` and `~1` for `/`; any other would point nowhere.
    let is_escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !text.starts_with('/') || !is_escaped {
        let tilde = if is_escaped { "" } else { "; a `~` in a name is written `~0`, a `/` `~1`" };
        value.problem(format!("`{text}` must be a JSON pointer (RFC 6901), such as \"/data/id\"{tilde}"));
        return None;
    }
    Some(Some(text))
}

/// One place or a list of places, of which the first counts where something stands.
pub(super) fn places(value: &Value<'_>, names: &Names<'_>) -> Option<Vec<Place>> {
    all(value.one_or_items()?.iter().map(|item| noted(item, Place::parse(item.text()?, names))))
}

/// A list of names.
pub(super) fn names_of(value: &Value<'_>) -> Option<Vec<String>> {
    let name = |text: &str| {
        let is_whole = !text.ends_with('*');
        if !is_whole {
            value.problem(format!("`{text}`: only a header's name may end in `*`; write the names themselves"));
        }
        is_whole.then(|| text.to_owned())
    };
    all(value.texts()?.into_iter().map(name))
}

/// A list of headers' names, or of their beginnings.
pub(super) fn header_patterns(value: &Value<'_>) -> Option<Vec<HeaderPattern>> {
    let pattern = |text: &str| {
        let (name, prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        let valid = HeaderName::from_bytes(name.as_bytes()).is_ok();
        if name.contains('*') {
            value.problem(format!("`{text}`: a `*` may only end a name"));
            return None;
        }
        if !valid {
            value.problem(format!("`{text}` is not a header's name, nor the beginning of one and `*`"));
        }
        valid.then(|| HeaderPattern { name: name.to_ascii_lowercase(), prefix })
    };
    all(value.texts()?.into_iter().map(pattern))
}

/// All of them; nothing if one is. All are read before the first failure counts, so that all are reported.
pub(super) fn all<T>(read: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let read: Vec<Option<T>> = read.collect();
    read.into_iter().collect()
}

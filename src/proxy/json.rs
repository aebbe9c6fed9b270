//! Rewrites the body of a call: what the profile sets, a client cannot say.
//!
//! The body is one JSON object in UTF-8; an empty body counts as `{}`. Only the names of its own members are looked
//! at, never what is inside their values. The invariants of what goes to the vendor:
//!
//! 1. It is one object, no deeper than [`DEEPEST`], without two members of the same name.
//! 2. A name that is set or stripped is not in it as the client wrote it, in no case and with no escapes; one that is
//!    set is in it once, with our value, behind all others (a vendor that takes the last of two takes ours).
//! 3. All other members keep their order and the exact bytes of their values: `1.0`, `1e400`, white space, escapes.
//!    Their names are written anew where they had escapes, and mean the same.
//!
//! What recurses is no deeper than [`DEEPEST`], so no body can exhaust the stack.

mod refuse;

use std::borrow::Cow;
use std::fmt;

use ahash::AHashSet;
use memchr::memchr2;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::fault::{Code, Fault};

/// As many arrays and objects may stand in each other, the body itself counted.
pub(crate) const DEEPEST: usize = 64;

/// A name in an error is cut to so many characters: the client knows the rest, and no secret is so short. The log has the
/// error, too.
const SHOWN: usize = crate::secret::SHORTEST - 1;

/// As many of a name in plain letters.
const SHOWN_PLAIN: usize = 64;

/// A name that a client wrote, as an error shows it: escaped, and its beginning where it is long. A secret may stand where a name
/// belongs, so that more than the first few is shown of letters and `_` alone, which no credential of ours is.
pub(crate) fn shown_name(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_') && !name.starts_with("ksc_");
    let mut letters = name.escape_default();
    let mut shown: String = letters.by_ref().take(if is_plain { SHOWN_PLAIN } else { SHOWN }).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// What is done to the members of a body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules<'r> {
    /// Names that may nowhere have a value, in any case: at any depth.
    pub(super) refuse: &'r [String],
    /// Names that do not pass, in any case.
    pub(super) strip: &'r [String],
    /// The only names that pass, written exactly so; all if there is no such list.
    pub(super) allow: Option<&'r [String]>,
    /// What we write, in this order. Without a value nothing is written, but the client's own is still removed.
    pub(super) set: &'r [(&'r str, Option<Value>)],
}

/// Why a body cannot be rewritten.
#[derive(Debug, thiserror::Error)]
pub(super) enum JsonError {
    /// It is not text.
    #[error("the body is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// It is text, but not JSON; also if a name holds half of a surrogate pair.
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// It is another JSON value.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// Two members have this name, once its escapes are resolved.
    #[error("the name {0:?} occurs twice")]
    DuplicateName(String),
    /// The name means something that this call must not reach.
    #[error("the name {0:?} is refused")]
    Refused(String),
    /// It is deeper than a vendor should have to read.
    #[error("the body is deeper than {DEEPEST} levels")]
    TooDeep,
}

impl From<JsonError> for Fault {
    fn from(error: JsonError) -> Self {
        let detail = match &error {
            JsonError::NotUtf8(cause) => {
                format!("The body is not UTF-8 at byte {}; send one JSON object in UTF-8.", cause.valid_up_to()).into()
            }
            JsonError::NotJson(cause) => {
                let (line, column) = (cause.line(), cause.column());
                format!(
                    "The body is not valid JSON at line {line}, column {column}; \
                     send one JSON object in UTF-8 without a byte order mark."
                )
                .into()
            }
            JsonError::NotAnObject => Cow::Borrowed("The body is JSON, but not an object; send one JSON object."),
            JsonError::DuplicateName(name) => {
                format!("The body names {name:?} twice; send each name once, escapes resolved.").into()
            }
            JsonError::Refused(name) => {
                format!("`{name}` is refused here: what it names may belong to others; leave it out.").into()
            }
            JsonError::TooDeep => format!("The body is too deep; send at most {DEEPEST} levels.").into(),
        };
        Self::new(Code::BadRequest, detail).because(error)
    }
}

/// The body as the vendor gets it.
pub(super) fn rewrite(body: &[u8], rules: &Rules<'_>) -> Result<Vec<u8>, JsonError> {
    let members = read(body)?;
    refuse_duplicates(&members)?;
    if !rules.refuse.is_empty() && !body.is_empty() {
        refuse::check(body, rules.refuse)?;
    }

    let mut out = Vec::with_capacity(body.len() + 64 * rules.set.len() + 2);
    out.push(b'{');
    for (name, value) in members.iter().filter(|(name, _)| rules.pass(name)) {
        write_name(&mut out, name)?;
        out.extend_from_slice(value.get().as_bytes());
    }
    for (name, value) in rules.set.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        write_name(&mut out, name)?;
        write(&mut out, value)?;
    }
    out.push(b'}');
    Ok(out)
}

/// The text of the member `name`, in whatever case it is written; nothing, if there is none or it is no text.
///
/// # Errors
///
/// A body that could not be rewritten either.
pub(super) fn text_of(body: &[u8], name: &str) -> Result<Option<String>, JsonError> {
    let members = read(body)?;
    refuse_duplicates(&members)?;
    let mut found = members.iter().filter(|(known, _)| same_name(name, known));
    match (found.next(), found.next()) {
        (Some((known, _)), Some(_)) => Err(JsonError::DuplicateName(known.chars().take(SHOWN).collect())),
        (Some((_, value)), None) => Ok(serde_json::from_str::<String>(value.get()).ok()),
        (None, _) => Ok(None),
    }
}

/// An answer with the members that it has replaced by ours, and all others as they came.
///
/// # Errors
///
/// An answer that is no JSON object, or has a member twice.
pub(super) fn replace(answer: &[u8], ours: &[(&str, Option<Value>)]) -> Result<Vec<u8>, JsonError> {
    let members = read(answer)?;
    refuse_duplicates(&members)?;
    let mut out = Vec::with_capacity(answer.len() + 512);
    out.push(b'{');
    for (name, value) in &members {
        match ours.iter().find(|(known, _)| same_name(known, name)) {
            None => {
                write_name(&mut out, name)?;
                out.extend_from_slice(value.get().as_bytes());
            }
            Some((_, Some(value))) => {
                write_name(&mut out, name)?;
                write(&mut out, value)?;
            }
            // Without a value of ours the vendor's own does not stay.
            Some((_, None)) => {}
        }
    }
    out.push(b'}');
    Ok(out)
}

impl Rules<'_> {
    fn pass(&self, name: &str) -> bool {
        // What is refused and yet here says nothing, and nothing is said.
        let lists = self.strip.iter().chain(self.refuse).map(String::as_str);
        let mut ours = lists.chain(self.set.iter().map(|(name, _)| *name));
        !ours.any(|ours| same_name(ours, name))
            && self.allow.is_none_or(|allowed| allowed.iter().any(|allowed| allowed == name))
    }
}

/// Whether some vendor may take the one for the other: without ASCII case, and as Go's `encoding/json` folds, which
/// takes `ſ` (U+017F) for an `s` and the Kelvin sign (U+212A) for a `k`.
fn same_name(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right) || (!right.is_ascii() && left.chars().map(fold).eq(right.chars().map(fold)))
}

/// A letter as it is compared.
pub(super) fn fold(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        // Java's `equalsIgnoreCase` takes both for `i`.
        '\u{131}' | '\u{130}' => 'i',
        other => other.to_ascii_lowercase(),
    }
}

/// The members of an object in their order: names decoded, values as they came.
type Members<'b> = Vec<(Cow<'b, str>, &'b RawValue)>;

fn read(body: &[u8]) -> Result<Members<'_>, JsonError> {
    if body.is_empty() {
        return Ok(Members::new());
    }
    let text = std::str::from_utf8(body).map_err(JsonError::NotUtf8)?;
    if is_too_deep(body) {
        return Err(JsonError::TooDeep);
    }
    if text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        let Object(members) = serde_json::from_str(text).map_err(JsonError::NotJson)?;
        return Ok(members);
    }
    let _other: &RawValue = serde_json::from_str(text).map_err(JsonError::NotJson)?;
    Err(JsonError::NotAnObject)
}

/// Whether arrays and objects stand deeper in each other than [`DEEPEST`]. Counts brackets outside strings: what is no JSON may be
/// counted wrongly, and the parser refuses it afterwards.
pub(crate) fn is_too_deep(mut rest: &[u8]) -> bool {
    let mut depth: usize = 0;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => rest = behind_string(rest),
            _ => {}
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

fn behind_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return &rest[at + 1..];
        }
        // An escape's second byte is no end of the string; of `\u0041` the rest is plain.
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    &[]
}

/// Every exact duplicate is refused, also of names that would not pass: two parsers would read it differently, and no
/// honest client writes it. Hashed, as the client chooses how many names there are.
fn refuse_duplicates(members: &Members<'_>) -> Result<(), JsonError> {
    let mut seen = AHashSet::with_capacity(members.len());
    match members.iter().find(|(name, _)| !seen.insert(name.as_ref())) {
        Some((name, _)) => Err(JsonError::DuplicateName(name.chars().take(SHOWN).collect())),
        None => Ok(()),
    }
}

fn write_name(out: &mut Vec<u8>, name: &str) -> Result<(), JsonError> {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    write(out, name)?;
    out.push(b':');
    Ok(())
}

// Text and values can always be written to memory; the error is passed on for want of a way to say so.
fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), JsonError> {
    serde_json::to_writer(out, value).map_err(JsonError::NotJson)
}

/// Reads an object with its values left as they are.
struct Object<'b>(Members<'b>);

impl<'b> Deserialize<'b> for Object<'b> {
    fn deserialize<D: Deserializer<'b>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'b> Visitor<'b> for Reader {
            type Value = Object<'b>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// A name, borrowed from the body but where it is written with escapes.
#[derive(Deserialize)]
struct Name<'b>(#[serde(borrow)] Cow<'b, str>);

#[cfg(test)]
mod tests;

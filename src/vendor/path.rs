//! Paths: what is let in, how calls are written in a profile, and the table that finds a call by its path.
//!
//! Invariants: a path that gets past [`check`] has one reading only (no escapes, no empty or dot segments, no
//! backslash). A literal segment is never the value of a placeholder, whatever its case, so that `GET /sessions/new`
//! is not a session called `new`; therefore the search never backtracks, and costs a step a segment however many calls
//! there are.

use std::collections::HashMap;
use std::ops::Range;

use http::Method;

use super::template::Variable;

/// The longest value of a placeholder in a path.
const LONGEST_VALUE: usize = 128;
/// More placeholders than any vendor's path has.
const MOST_VALUES: usize = 6;

/// Why a path is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("a path begins with `/`")]
    Relative,
    /// It has a percent-escape, which two readers may or may not decode.
    #[error("percent-escapes are not allowed in a path")]
    Escape,
    /// It has `//`.
    #[error("empty segments (`//`) are not allowed in a path")]
    EmptySegment,
    /// It has `.` or `..`.
    #[error("`.` and `..` are not allowed in a path")]
    DotSegment,
    /// It has a byte that RFC 3986 does not allow in a path, or a backslash.
    #[error("only the characters of RFC 3986 are allowed in a path")]
    Character,
}

/// Refuses every path that two readings could differ on.
///
/// # Errors
///
/// What is ambiguous about it.
pub fn check(path: &str) -> Result<(), PathError> {
    let mut previous = 0;
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathError::Relative);
    }
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'/' if previous == b'/' => return Err(PathError::EmptySegment),
            // A segment that begins with a dot is rare; only then is the whole of it looked at.
            b'.' if previous == b'/' => {
                let segment = bytes[at..].split(|byte| *byte == b'/').next().unwrap_or_default();
                if matches!(segment, b"." | b"..") {
                    return Err(PathError::DotSegment);
                }
            }
            b'%' => return Err(PathError::Escape),
            b'/' | b'.' => {}
            _ if is_path_character(byte) => {}
            _ => return Err(PathError::Character),
        }
        previous = byte;
    }
    Ok(())
}

const fn is_path_character(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-')
}

/// Whether `value` may stand for a placeholder: `[A-Za-z0-9._~-]{1,128}`, not `.` or `..`.
pub fn is_value(value: &str) -> bool {
    (1..=LONGEST_VALUE).contains(&value.len()) && value.bytes().all(is_unreserved) && value != "." && value != ".."
}

/// One segment of a call's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Literal(String),
    /// The bot, by the gateway's name or the vendor's id.
    Bot,
    /// The session, by the vendor's id or the gateway's.
    Session,
    /// Any value, checked by the vendor against the session.
    Free(String),
}

/// A call as a profile writes it: `POST /conversation/{session}/complete`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The method.
    pub method: Method,
    /// The path's segments.
    pub segments: Vec<Segment>,
    text: String,
}

impl Pattern {
    /// Reads a call.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (method, path) = split_call(text)?;
        let segments = path[1..].split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        let pattern = Self { method, segments, text: text.to_owned() };
        let free = pattern.free();
        if let Some(name) = free.iter().enumerate().find_map(|(at, name)| free[..at].contains(name).then_some(name)) {
            return Err(format!("`{text}` has {{{name}}} twice; give each segment a name of its own"));
        }
        let values = pattern.segments.iter().filter(|segment| !matches!(segment, Segment::Literal(_))).count();
        if values > MOST_VALUES {
            return Err(format!("`{text}` has more than {MOST_VALUES} placeholders"));
        }
        Ok(pattern)
    }

    /// The same call below `prefix` (`/` or `/a/b`).
    pub fn below(&self, prefix: &str) -> Self {
        let above = prefix.split('/').filter(|part| !part.is_empty()).map(|part| Segment::Literal(part.to_owned()));
        let (method, path) = self.text.split_once(' ').unwrap_or(("", ""));
        Self {
            method: self.method.clone(),
            segments: above.chain(self.segments.iter().cloned()).collect(),
            text: format!("{method} {}{path}", prefix.trim_end_matches('/')),
        }
    }

    /// The call as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value of its `{bot}`, out of the values of its placeholders in their order.
    pub fn bot_in<'v>(&self, values: &[&'v str]) -> Option<&'v str> {
        let placeholders = self.segments.iter().filter(|segment| !matches!(segment, Segment::Literal(_)));
        placeholders.zip(values).find(|(segment, _)| **segment == Segment::Bot).map(|(_, value)| *value)
    }

    /// The names of its free segments.
    pub fn free(&self) -> Vec<&str> {
        self.segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::Free(name) => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }
}

/// Splits `POST /path` and checks both parts.
pub(super) fn split_call(text: &str) -> Result<(Method, &str), String> {
    let (method, path) =
        text.split_once(' ').ok_or_else(|| format!("`{text}` must be a method and a path, such as \"POST /chat\""))?;
    let known = matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE");
    let method = Method::from_bytes(method.as_bytes()).ok().filter(|_| known);
    let method = method.ok_or_else(|| format!("`{text}` must begin with GET, HEAD, POST, PUT, PATCH or DELETE"))?;
    if path.contains('?') {
        return Err(format!("`{text}` must not have a query; `set.query` and `allow.query` say what goes there"));
    }
    // Braces are the only characters that a profile's path has and a request's has not.
    check(&path.replace(['{', '}'], "")).map_err(|error| format!("`{text}`: {error}"))?;
    Ok((method, path))
}

fn segment(text: &str) -> Result<Segment, String> {
    match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some("bot") => Ok(Segment::Bot),
        Some("session") => Ok(Segment::Session),
        // It would stand for what the client writes, where the profile means ours.
        Some(name) if Variable::named(name).is_some() => {
            Err(format!("`{text}` is a placeholder with a meaning of its own; name the segment otherwise"))
        }
        Some(name) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            Ok(Segment::Free(name.to_owned()))
        }
        None if !text.contains(['{', '}']) => Ok(Segment::Literal(text.to_owned())),
        _ => Err(format!("`{text}`: a placeholder is a whole segment, such as /{{session}}/")),
    }
}

/// Calls by path and method.
#[derive(Debug)]
pub struct Table<T> {
    calls: Vec<T>,
    root: Node,
    /// Each call's method and path in lower case, with all placeholders alike: two calls with one shape would clash.
    shapes: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node, ahash::RandomState>,
    /// The literals again in lower case: what a placeholder's value must not be.
    reserved: Vec<String>,
    value: Option<Box<Node>>,
    /// Methods, and the places of their calls.
    calls: Vec<(Method, usize)>,
}

/// What [`Table::find`] found.
#[derive(Debug)]
pub enum Found<'t, T> {
    /// A call, and where in the path its placeholders' values are.
    Call(&'t T, Captures),
    /// The path is there, with these methods only.
    OtherMethods(Vec<(&'t Method, &'t T)>),
    /// Nothing is at this path.
    Nothing,
}

/// Where the values of a call's placeholders stand in the path, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Captures {
    ranges: [(u16, u16); MOST_VALUES],
    count: usize,
}

impl Captures {
    fn push(&mut self, range: Range<usize>) -> bool {
        let (Ok(start), Ok(end)) = (u16::try_from(range.start), u16::try_from(range.end)) else { return false };
        let Some(slot) = self.ranges.get_mut(self.count) else { return false };
        *slot = (start, end);
        self.count += 1;
        true
    }

    /// Whether nothing in the path is a value.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values, cut out of the path that was searched.
    pub fn of<'p>(&self, path: &'p str) -> impl Iterator<Item = &'p str> {
        self.ranges.into_iter().take(self.count).filter_map(move |(start, end)| path.get(start.into()..end.into()))
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { calls: Vec::new(), root: Node::default(), shapes: HashMap::new() }
    }
}

impl<T> Table<T> {
    /// Adds a call.
    ///
    /// # Errors
    ///
    /// The call that is there already for the same paths and method, compared without case.
    pub fn insert(&mut self, pattern: &Pattern, call: T) -> Result<(), &T> {
        let place = self.calls.len();
        let other = *self.shapes.entry(shape(pattern)).or_insert(place);
        if other < place {
            return Err(&self.calls[other]);
        }
        let mut node = &mut self.root;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(literal) => {
                    let lower = literal.to_ascii_lowercase();
                    if !node.reserved.contains(&lower) {
                        node.reserved.push(lower);
                    }
                    node.literals.entry(literal.clone()).or_default()
                }
                Segment::Bot | Segment::Session | Segment::Free(_) => &mut **node.value.get_or_insert_default(),
            };
        }
        node.calls.push((pattern.method.clone(), place));
        self.calls.push(call);
        Ok(())
    }

    /// The call for this method and path. The path has passed [`check`].
    pub fn find(&self, method: &Method, path: &str) -> Found<'_, T> {
        let mut node = &self.root;
        let mut captures = Captures::default();
        let mut start = 1;
        for part in path.get(1..).unwrap_or_default().split('/') {
            let end = start + part.len();
            node = if let Some(next) = node.literals.get(part) {
                next
            } else if let Some(next) = &node.value
                && is_value(part)
                && !node.reserved.iter().any(|literal| literal.eq_ignore_ascii_case(part))
                && captures.push(start..end)
            {
                next
            } else {
                return Found::Nothing;
            };
            start = end + 1;
        }
        let calls = || node.calls.iter().filter_map(|(method, place)| Some((method, self.calls.get(*place)?)));
        match calls().find(|(known, _)| *known == method) {
            Some((_, call)) => Found::Call(call, captures),
            None if node.calls.is_empty() => Found::Nothing,
            None => Found::OtherMethods(calls().collect()),
        }
    }
}

fn shape(pattern: &Pattern) -> String {
    let segments = pattern.segments.iter().map(|segment| match segment {
        Segment::Literal(literal) => literal.to_ascii_lowercase(),
        Segment::Bot | Segment::Session | Segment::Free(_) => "{}".to_owned(),
    });
    format!("{} /{}", pattern.method, segments.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(calls: &[&'static str]) -> Table<&'static str> {
        let mut table = Table::default();
        for call in calls {
            table.insert(&Pattern::parse(call).unwrap(), *call).unwrap();
        }
        table
    }

    fn found(table: &Table<&'static str>, method: Method, path: &str) -> Option<(&'static str, Vec<String>)> {
        match table.find(&method, path) {
            Found::Call(call, captures) => Some((call, captures.of(path).map(str::to_owned).collect())),
            _ => None,
        }
    }

    #[test]
    fn a_path_that_two_readings_could_differ_on_is_refused() {
        let cases = [
            ("", PathError::Relative),
            ("*", PathError::Relative),
            ("/a//b", PathError::EmptySegment),
            ("//a", PathError::EmptySegment),
            ("/a/../b", PathError::DotSegment),
            ("/a/.", PathError::DotSegment),
            ("/a%2fb", PathError::Escape),
            ("/a%00", PathError::Escape),
            ("/%61", PathError::Escape),
            ("/a\\b", PathError::Character),
            ("/a\0", PathError::Character),
            ("/ä", PathError::Character),
            ("/a|b", PathError::Character),
        ];
        for (path, error) in cases {
            assert_eq!(check(path), Err(error), "{path}");
        }
        for path in ["/", "/a", "/a/b.c/~d", "/.well-known/jwks.json", "/a..b/...", "/a/"] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn literals_beat_placeholders_and_are_never_their_values() {
        let table = table(&["PUT /sessions/new", "GET /sessions/{session}", "POST /sessions/{session}/{mid}/vote"]);
        assert_eq!(found(&table, Method::PUT, "/sessions/new"), Some(("PUT /sessions/new", vec![])));
        assert!(found(&table, Method::GET, "/sessions/new").is_none());
        assert!(found(&table, Method::GET, "/sessions/NEW").is_none());
        assert_eq!(found(&table, Method::GET, "/sessions/s1").unwrap().1, ["s1"]);
        assert_eq!(found(&table, Method::POST, "/sessions/s1/m1/vote").unwrap().1, ["s1", "m1"]);
        assert!(found(&table, Method::POST, "/sessions/s1/m1/vote/").is_none());
        assert!(found(&table, Method::GET, "/sessions/a;b").is_none());
        assert!(found(&table, Method::GET, &format!("/sessions/{}", "a".repeat(129))).is_none());
    }

    #[test]
    fn another_method_on_a_known_path_is_told() {
        let table = table(&["PUT /sessions/new"]);
        assert!(
            matches!(table.find(&Method::GET, "/sessions/new"), Found::OtherMethods(calls) if calls[..] == [(&Method::PUT, &"PUT /sessions/new")])
        );
    }

    #[test]
    fn two_calls_for_one_path_and_method_clash_whatever_their_case_and_names() {
        let mut table = table(&["POST /Chat/{bot}/send"]);
        let other = Pattern::parse("POST /chat/{session}/SEND").unwrap();
        assert_eq!(table.insert(&other, "other"), Err(&"POST /Chat/{bot}/send"));
        assert!(table.insert(&Pattern::parse("GET /chat/{session}/SEND").unwrap(), "get").is_ok());
        assert!(table.insert(&Pattern::parse("POST /chat/all/send").unwrap(), "literal").is_ok());
    }

    #[test]
    fn paths_that_differ_in_case_are_two_places() {
        let table = table(&["POST /Acme/talk", "POST /acme/say"]);
        assert!(
            found(&table, Method::POST, "/Acme/talk").is_some() && found(&table, Method::POST, "/acme/say").is_some()
        );
        assert!(
            found(&table, Method::POST, "/acme/talk").is_none() && found(&table, Method::POST, "/Acme/say").is_none()
        );
    }

    #[test]
    fn a_call_that_is_written_wrongly_says_what_would_be_right() {
        for (call, says) in [
            ("/chat", "a method and a path"),
            ("FETCH /chat", "GET, HEAD, POST"),
            ("POST chat", "begins with `/`"),
            ("GET /chat?x=1", "must not have a query"),
            ("GET /a-{session}", "a whole segment"),
            ("GET /%41", "percent-escapes"),
        ] {
            assert!(Pattern::parse(call).unwrap_err().contains(says), "{call}");
        }
    }

    #[test]
    fn a_prefix_stands_above_the_call() {
        let below = Pattern::parse("POST /chat").unwrap().below("/acme/x");
        assert_eq!(below, Pattern::parse("POST /acme/x/chat").unwrap());
        assert_eq!(Pattern::parse("POST /chat").unwrap().below("/").as_str(), "POST /chat");
    }
}

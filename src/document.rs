//! A TOML document that is read with all its problems kept.
//!
//! The configuration and the profiles are read through here. serde would stop at the first wrong value of a struct and
//! forget where it stood; an operator wants every problem at once, each with its key path, its line and what would be
//! right. So a [`Table`] hands out one value after the other, notes what does not fit in [`Problems`], and when it is
//! dropped notes every key that nobody asked for. Reading goes on with a stand-in value: the settings that come out are
//! used only if there was no problem.

mod environment;
mod rate;
mod units;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::text::harmless;

pub use self::environment::Environment;
pub use self::rate::Rate;
pub use self::units::{format_duration, parse_duration, parse_size};

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The dotted path of the key; empty for the document as a whole.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    fn new(file: &str, line: usize, path: &str, message: &str) -> Self {
        let (path, message) = (harmless(path).into_owned(), harmless(message).into_owned());
        Self { file: file.to_owned(), line, path, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, path, message } = self;
        match path.as_str() {
            "" => write!(formatter, "{file}:{line}: {message}"),
            path => write!(formatter, "{file}:{line}: {path}: {message}"),
        }
    }
}

/// All problems found so far, and every key that was asked for.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Vec<Problem>>,
    /// What is allowed and probably not meant.
    warnings: RefCell<Vec<Problem>>,
    known: RefCell<BTreeSet<String>>,
}

impl Problems {
    /// Notes one.
    pub fn add(&self, file: &str, line: usize, path: &str, message: impl Into<String>) {
        self.found.borrow_mut().push(Problem::new(file, line, path, &message.into()));
    }

    /// Notes what is allowed and probably not meant: it is said, and stops nobody.
    pub fn warn(&self, file: &str, line: usize, path: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Problem::new(file, line, path, &message.into()));
    }

    /// What was allowed and probably not meant, so far.
    pub fn warnings(&self) -> Vec<Problem> {
        self.warnings.borrow().clone()
    }

    /// Whether nothing was wrong.
    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// What was found, in the order of the lines.
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| (&a.file, a.line, &a.path).cmp(&(&b.file, b.line, &b.path)));
        found
    }

    /// The last part of every key that a reader asked for: what the documentation must mention.
    pub fn known_keys(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }
}

/// A parsed document: its name, for messages, and its values with their lines.
#[derive(Debug)]
pub struct Document {
    file: String,
    root: Node,
}

#[derive(Debug)]
struct Node {
    line: usize,
    kind: Kind,
}

impl Node {
    /// What it says, to be compared. What JSON has no form for is wrong wherever it stands, and told where it is read.
    fn said(&self) -> serde_json::Value {
        match &self.kind {
            Kind::Text(text) => text.as_str().into(),
            Kind::Integer(integer) => (*integer).into(),
            Kind::Boolean(boolean) => (*boolean).into(),
            Kind::Other(name) => (*name).into(),
            Kind::Array(items) => items.iter().map(Self::said).collect(),
            Kind::Table(entries) => entries.iter().map(|(key, node)| (key.clone(), node.said())).collect(),
        }
    }
}

#[derive(Debug)]
enum Kind {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Other(&'static str),
    Array(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Other(name) => name,
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

impl Document {
    /// Parses `text`; what is not TOML is noted, and nothing comes back.
    pub fn parse(file: &str, text: &str, problems: &Problems) -> Option<Self> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let lines = Lines::of(text);
        for error in &errors {
            let line = error.span().map_or(1, |span| lines.at(span.start));
            problems.add(file, line, "", format!("not TOML: {}", error.message()));
        }
        let root = || Node { line: 1, kind: lines.table(root.get_ref()) };
        errors.is_empty().then(|| Self { file: file.to_owned(), root: root() })
    }

    /// The whole document as a table.
    pub fn root<'d>(&'d self, problems: &'d Problems) -> Table<'d> {
        let value = Value { file: &self.file, problems, path: String::new(), node: &self.root };
        Table { value, taken: RefCell::default() }
    }
}

/// The text of `file`; what is not UTF-8 is noted, and nothing comes back.
pub fn utf8(file: &str, bytes: Vec<u8>, problems: &Problems) -> Option<String> {
    let error = match String::from_utf8(bytes) {
        Ok(text) => return Some(text),
        Err(error) => error,
    };
    let (good, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
    let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = good.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    let byte = rest.first().copied().unwrap_or_default();
    problems.add(
        file,
        line,
        "",
        format!("not UTF-8, which TOML must be: byte {column} of this line is 0x{byte:02X}; save the file as UTF-8"),
    );
    None
}

/// Where the lines of a text end. Counted once: a count for each value would take quadratic time.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line, from 1, of the byte at `offset`.
    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }

    fn table(&self, table: &DeTable<'_>) -> Kind {
        let mut entries: Vec<(usize, String, Node)> = Vec::new();
        for (key, value) in table {
            let start = key.span().start;
            // A header's own line, not the line where its first key stands.
            let node = Node { line: self.at(start), kind: self.kind(value.get_ref()) };
            entries.push((start, key.get_ref().to_string(), node));
        }
        // In the order in which they were written.
        entries.sort_by_key(|(start, ..)| *start);
        Kind::Table(entries.into_iter().map(|(_, key, node)| (key, node)).collect())
    }

    fn kind(&self, value: &DeValue<'_>) -> Kind {
        let node =
            |item: &Spanned<DeValue<'_>>| Node { line: self.at(item.span().start), kind: self.kind(item.get_ref()) };
        match value {
            DeValue::String(string) => Kind::Text(string.to_string()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or(Kind::Other("an integer out of range"), Kind::Integer),
            DeValue::Boolean(boolean) => Kind::Boolean(*boolean),
            DeValue::Float(_) => Kind::Other("a float"),
            DeValue::Datetime(_) => Kind::Other("a date"),
            DeValue::Array(array) => Kind::Array(array.iter().map(node).collect()),
            DeValue::Table(table) => self.table(table),
        }
    }
}

/// One value, with the place where it stands.
#[derive(Clone, Debug)]
pub struct Value<'d> {
    file: &'d str,
    problems: &'d Problems,
    path: String,
    node: &'d Node,
}

impl<'d> Value<'d> {
    /// Notes that this value is wrong.
    pub fn problem(&self, message: impl Into<String>) {
        self.problems.add(self.file, self.node.line, &self.path, message);
    }

    /// Its line, from 1.
    pub fn line(&self) -> usize {
        self.node.line
    }

    fn mismatch<T>(&self, wanted: &str) -> Option<T> {
        self.problem(format!("must be {wanted}, not {}", self.node.kind.name()));
        None
    }

    /// A string.
    pub fn text(&self) -> Option<&'d str> {
        match &self.node.kind {
            Kind::Text(text) => Some(text),
            _ => self.mismatch("a string"),
        }
    }

    /// A string; `wanted` says what kind of one, with an example.
    pub fn text_of(&self, wanted: &str) -> Option<&'d str> {
        self.as_text().or_else(|| self.mismatch(wanted))
    }

    /// A string, if it is one; nothing is noted otherwise.
    pub fn as_text(&self) -> Option<&'d str> {
        match &self.node.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is an array with this string in it.
    pub fn holds(&self, text: &str) -> bool {
        let is_it = |item: &Node| matches!(&item.kind, Kind::Text(found) if found == text);
        matches!(&self.node.kind, Kind::Array(items) if items.iter().any(is_it))
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        matches!(self.node.kind, Kind::Table(_))
    }

    /// What one of these words means.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let meant = words.iter().find(|(word, _)| *word == text).map(|(_, meant)| *meant);
        if meant.is_none() {
            let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let (last, others) = all.split_last().unzip();
            let (last, others) = (last.map_or("", String::as_str), others.unwrap_or_default().join(", "));
            self.problem(format!("`{text}` must be {others} or {last}"));
        }
        meant
    }

    /// A boolean.
    pub fn boolean(&self) -> Option<bool> {
        match self.node.kind {
            Kind::Boolean(boolean) => Some(boolean),
            _ => self.mismatch("true or false"),
        }
    }

    /// An integer between the two bounds, both inclusive.
    pub fn integer(&self, low: i64, high: i64) -> Option<i64> {
        match self.node.kind {
            Kind::Integer(integer) if (low..=high).contains(&integer) => Some(integer),
            Kind::Integer(_) => {
                self.problem(format!("must be an integer from {low} to {high}"));
                None
            }
            _ => self.mismatch(&format!("an integer from {low} to {high}")),
        }
    }

    /// A table.
    pub fn table(&self) -> Option<Table<'d>> {
        match self.node.kind {
            Kind::Table(_) => Some(Table { value: self.clone(), taken: RefCell::default() }),
            _ => self.mismatch("a table"),
        }
    }

    /// The items of an array.
    pub fn items(&self) -> Option<Vec<Value<'d>>> {
        match &self.node.kind {
            Kind::Array(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, node)| Value { path: format!("{}[{index}]", self.path), node, ..self.clone() })
                    .collect(),
            ),
            _ => self.mismatch("an array"),
        }
    }

    /// A string by itself, or the items of an array of them.
    pub fn one_or_items(&self) -> Option<Vec<Value<'d>>> {
        match &self.node.kind {
            Kind::Text(_) => Some(vec![self.clone()]),
            Kind::Array(_) => self.items(),
            _ => self.mismatch("a string or an array of strings"),
        }
    }

    /// The strings of either.
    pub fn one_or_texts(&self) -> Option<Vec<&'d str>> {
        self.one_or_items()?.iter().map(Value::text).collect()
    }

    /// The items of an array of strings.
    pub fn texts(&self) -> Option<Vec<&'d str>> {
        self.items()?.iter().map(Value::text).collect()
    }

    /// A duration that is longer than nothing.
    pub fn time(&self) -> Option<Duration> {
        let given = self.duration()?;
        if given.is_zero() {
            self.problem("must be longer than nothing");
        }
        (!given.is_zero()).then_some(given)
    }

    /// A duration such as `"30m"`.
    pub fn duration(&self) -> Option<Duration> {
        let Some(text) = self.as_text() else { return self.mismatch("a duration such as \"30m\"") };
        let duration = parse_duration(text);
        if duration.is_none() {
            self.problem(format!("`{text}` is not a duration; write a number and ms, s, m, h or d, such as \"30m\""));
        }
        duration
    }

    /// A size such as `"256KiB"`.
    pub fn size(&self) -> Option<u64> {
        let Some(text) = self.as_text() else { return self.mismatch("a size such as \"256KiB\"") };
        let size = parse_size(text);
        if size.is_none() {
            self.problem(format!("`{text}` is not a size; write a number and B, KiB, MiB or GiB, such as \"256KiB\""));
        }
        size
    }

    /// The value as JSON: for templates of JSON bodies, and to be compared.
    pub fn json(&self) -> Option<serde_json::Value> {
        Some(match &self.node.kind {
            Kind::Text(text) => serde_json::Value::from(text.as_str()),
            Kind::Integer(integer) => serde_json::Value::from(*integer),
            Kind::Boolean(boolean) => serde_json::Value::from(*boolean),
            Kind::Other(_) => return self.mismatch("a string, integer, boolean, array or table"),
            Kind::Array(_) => self.items()?.iter().map(Value::json).collect::<Option<Vec<_>>>()?.into(),
            Kind::Table(entries) => entries
                .iter()
                .map(|(key, node)| {
                    let value = Value { path: join(&self.path, key), node, ..self.clone() };
                    Some((key.clone(), value.json()?))
                })
                .collect::<Option<serde_json::Map<_, _>>>()?
                .into(),
        })
    }
}

/// A table, of whose keys each is asked for once. Keys that nobody asked for are problems when it is dropped.
#[derive(Debug)]
pub struct Table<'d> {
    value: Value<'d>,
    taken: RefCell<BTreeSet<String>>,
}

impl<'d> Table<'d> {
    /// All that it says, to be compared with what another says.
    pub fn said(&self) -> String {
        self.value.node.said().to_string()
    }

    /// Whether `key` is true; `absent` where it is not there.
    pub fn flag(&self, key: &str, absent: bool) -> bool {
        self.get(key).and_then(|value| value.boolean()).unwrap_or(absent)
    }

    /// The value of `key`, if it is there.
    pub fn get(&self, key: &str) -> Option<Value<'d>> {
        self.taken.borrow_mut().insert(key.to_owned());
        self.value.problems.known.borrow_mut().insert(key.to_owned());
        self.entries().iter().find(|(name, _)| name == key).map(|(name, node)| Value {
            path: join(&self.value.path, name),
            node,
            ..self.value.clone()
        })
    }

    /// The value of `key`; its absence is a problem, and `what` says what belongs there.
    pub fn required(&self, key: &str, what: &str) -> Option<Value<'d>> {
        let value = self.get(key);
        if value.is_none() {
            self.problem(key, format!("is missing: {what}"));
        }
        value
    }

    /// The table at `key`; an absent one is read as an empty one, so that its defaults hold.
    pub fn section(&self, key: &str) -> Table<'d> {
        static EMPTY: Node = Node { line: 1, kind: Kind::Table(Vec::new()) };
        self.get(key).and_then(|value| value.table()).unwrap_or_else(|| Table {
            value: Value { path: join(&self.value.path, key), node: &EMPTY, ..self.value.clone() },
            taken: RefCell::default(),
        })
    }

    /// All entries, under names that the user chose.
    pub fn named(&self) -> Vec<(&'d str, Value<'d>)> {
        self.entries()
            .iter()
            .map(|(name, node)| {
                self.taken.borrow_mut().insert(name.clone());
                let path = join(&self.value.path, name);
                (name.as_str(), Value { path, node, ..self.value.clone() })
            })
            .collect()
    }

    /// Notes a problem about `key` of this table.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        self.value.problems.add(self.value.file, self.line_of(key), &join(&self.value.path, key), message);
    }

    /// Notes of `key` what is allowed and probably not meant.
    pub fn warn(&self, key: &str, message: impl Into<String>) {
        self.value.problems.warn(self.value.file, self.line_of(key), &join(&self.value.path, key), message);
    }

    fn line_of(&self, key: &str) -> usize {
        self.entries().iter().find(|(name, _)| name == key).map_or(self.value.node.line, |(_, node)| node.line)
    }

    /// The table as a value, for problems about the whole of it.
    pub fn value(&self) -> &Value<'d> {
        &self.value
    }

    fn entries(&self) -> &'d [(String, Node)] {
        match &self.value.node.kind {
            Kind::Table(entries) => entries,
            _ => &[],
        }
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let taken = self.taken.borrow();
        let Value { file, problems, path, .. } = &self.value;
        for (name, node) in self.entries().iter().filter(|(name, _)| !taken.contains(name)) {
            let near = taken.iter().find(|known| is_near(known, name));
            let known = taken.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let message = match near {
                Some(near) => format!("is not a key here; did you mean `{near}`?"),
                None => format!("is not a key here; the keys are: {known}"),
            };
            problems.add(file, node.line, &join(path, name), message);
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether one is the other but for one letter added, lost or changed, or for the sign between words.
fn is_near(known: &str, name: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let (known, name) = (plain(known), plain(name));
    let prefix = known.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    let suffix = known.bytes().rev().zip(name.bytes().rev()).take_while(|(a, b)| a == b).count();
    let longest = known.len().max(name.len());
    longest >= 3 && known.len().abs_diff(name.len()) <= 1 && prefix + suffix + 1 >= longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str, read: impl FnOnce(&Table<'_>)) -> Vec<String> {
        let problems = Problems::default();
        if let Some(document) = Document::parse("test.toml", text, &problems) {
            read(&document.root(&problems));
        }
        problems.into_sorted().iter().map(ToString::to_string).collect()
    }

    /// It took most of a minute while lines were counted anew for each value, and takes less than a second.
    #[test]
    fn reading_takes_a_time_that_grows_with_the_text_only() {
        let start = std::time::Instant::now();
        let lines = 20_000;
        let keys: String = (0..lines).map(|number| format!("k{number} = 1\n")).collect();
        assert_eq!(problems_of(&keys, |_| {}).len(), lines);
        assert!(problems_of(&"= =\n".repeat(lines), |_| {}).len() >= lines);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[test]
    fn every_problem_is_reported_with_path_and_line() {
        let found = problems_of("[server]\nlisten = 1\ndrian = \"30s\"\ntime = \"soon\"\n", |root| {
            let server = root.section("server");
            server.get("listen").and_then(|value| value.text());
            server.get("time").and_then(|value| value.duration());
            server.get("drain");
            server.required("public_url", "the address that clients use");
        });
        assert_eq!(
            found,
            [
                "test.toml:1: server.public_url: is missing: the address that clients use",
                "test.toml:2: server.listen: must be a string, not an integer",
                "test.toml:3: server.drian: is not a key here; the keys are: drain, listen, public_url, time",
                "test.toml:4: server.time: `soon` is not a duration; write a number and ms, s, m, h or d, such as \"30m\"",
            ]
        );
    }

    #[test]
    fn a_key_that_is_nearly_right_is_named() {
        let found = problems_of("tokns = 1\n", |root| {
            root.get("tokens");
        });
        assert_eq!(found, ["test.toml:1: tokns: is not a key here; did you mean `tokens`?"]);
    }

    #[test]
    fn what_is_not_toml_is_a_problem_with_a_line() {
        let found = problems_of("a = 1\nb = = 2\n", |_| {});
        assert!(found[0].starts_with("test.toml:2: not TOML"), "{found:?}");
    }

    #[test]
    fn what_is_not_utf8_is_a_problem_with_line_and_byte() {
        let problems = Problems::default();
        assert_eq!(utf8("test.toml", b"a = 1\nb = \"\xe4\"\n".to_vec(), &problems), None);
        assert_eq!(utf8("test.toml", "b = \"ä\"".into(), &problems).as_deref(), Some("b = \"ä\""));
        let found = problems.into_sorted();
        assert_eq!(found.len(), 1);
        let says = "test.toml:2: not UTF-8, which TOML must be: byte 6 of this line is 0xE4; save the file as UTF-8";
        assert_eq!(found[0].to_string(), says);
    }

    #[test]
    fn a_value_of_another_type_is_told_what_would_be_right() {
        let found = problems_of("list = 5\nrate = 100\nplace = 8080\n", |root| {
            root.get("list").and_then(|value| value.one_or_texts());
            root.get("rate").and_then(|value| Rate::read(&value));
            root.get("place").and_then(|value| value.text_of("a place such as \"here\""));
        });
        assert_eq!(
            found,
            [
                "test.toml:1: list: must be a string or an array of strings, not an integer",
                "test.toml:2: rate: must be a rate such as \"30/1m\", or \"off\", not an integer",
                "test.toml:3: place: must be a place such as \"here\", not an integer",
            ]
        );
        assert!(
            problems_of("list = [\"a\"]\none = \"a\"\n", |root| {
                for key in ["list", "one"] {
                    assert_eq!(root.get(key).and_then(|value| value.one_or_texts()), Some(vec!["a"]));
                }
            })
            .is_empty()
        );
    }

    #[test]
    fn an_absent_section_reads_as_an_empty_one() {
        assert!(problems_of("", |root| assert!(root.section("server").get("listen").is_none())).is_empty());
    }
}

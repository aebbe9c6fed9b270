//! A record as a line: how it is written, and what is read of it again.
//!
//! Whatever a line says, it has one form: a JSON object that begins with its number and ends with the hash of the line
//! before, printable, and no longer than [`LONGEST`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::event::{Event, Who};
use crate::clock::Timestamp;
use crate::id::hex;
use crate::secret::sha256;
use crate::text::shown;

/// No line is longer: a record has few texts, and each is cut.
pub(super) const LONGEST: usize = 16 << 10;

/// The hash that the first record carries.
pub(super) fn none() -> String {
    "0".repeat(64)
}

/// Where a chain of records ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The number of the last record; 0 where there is none.
    pub(super) number: u64,
    /// The hash of its line.
    pub(super) hash: String,
    /// The bytes of all lines.
    pub(super) length: u64,
}

impl Tail {
    /// Of a file without records.
    pub(super) fn empty() -> Self {
        Self { number: 0, hash: none(), length: 0 }
    }

    /// Writes the next record to `out`, and is the end of the chain then.
    pub(super) fn append(&mut self, event: &Event, now: Timestamp, out: &mut Vec<u8>) {
        let line = Line::of(event, self.number + 1, now, &self.hash);
        // A struct of texts and numbers has no way to fail.
        let line = serde_json::to_vec(&line).unwrap_or_default();
        self.number += 1;
        self.hash = hash(&line);
        self.length = self.length.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX)).saturating_add(1);
        out.extend_from_slice(&line);
        out.push(b'\n');
    }
}

/// The hash of a line, which is without its end.
pub(super) fn hash(line: &[u8]) -> String {
    hex(&sha256(line))
}

/// A record as it is written, in this order.
#[derive(Serialize)]
struct Line<'l> {
    n: u64,
    time: String,
    action: &'static str,
    who: Who,
    from: String,
    request: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bot: Option<Cow<'l, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Cow<'l, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'l, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    prev: &'l str,
}

impl<'l> Line<'l> {
    fn of(event: &'l Event, n: u64, now: Timestamp, prev: &'l str) -> Self {
        Self {
            n,
            time: date(now),
            action: event.action.name(),
            who: named(&event.who),
            from: event.trace.from.map_or_else(|| "unix".to_owned(), |from| from.to_string()),
            request: event.trace.request.as_str(),
            bot: event.bot.as_deref().map(shown),
            session: event.session.as_deref().map(shown),
            subject: event.subject.as_deref().map(shown),
            source: event.source,
            expires: event.expires.map(date),
            replayed: event.replayed,
            prev,
        }
    }
}

/// A page's origin is what a browser, or whoever says to be one, has written.
fn named(who: &Who) -> Who {
    let shown = |text: &str| shown(text).into_owned();
    match who {
        Who::Client(name) => Who::Client(shown(name)),
        Who::Page(origin) => Who::Page(shown(origin)),
        Who::Bearer(session) => Who::Bearer(shown(session)),
        Who::Operator(name) => Who::Operator(shown(name)),
    }
}

/// RFC 3339, UTC, always with three digits of a second.
fn date(moment: Timestamp) -> String {
    let seconds = i64::try_from(moment.seconds()).unwrap_or(i64::MAX);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        moment.millis() % 1000
    )
}

/// What of a line holds the chain together. Members that it does not know are a later version's.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    pub(super) n: u64,
    pub(super) time: String,
    #[serde(rename = "action")]
    _action: String,
    pub(super) prev: String,
}

impl Link {
    /// What `line` says of itself; nothing if it is no record.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::event::{Action, Trace};
    use super::*;
    use crate::id::RequestId;

    /// Some event.
    pub(in crate::telemetry::audit) fn event(session: &str) -> Event {
        let trace = Trace { from: Some("192.0.2.7".parse().unwrap()), request: RequestId::next() };
        Event {
            bot: Some("support".to_owned()),
            session: Some(session.to_owned()),
            expires: Some(Timestamp::from_seconds(1_800_003_600)),
            ..Event::new(Action::Mint, Who::Client("website".to_owned()), trace)
        }
    }

    #[test]
    fn a_record_has_its_number_time_and_the_hash_of_the_line_before() {
        let (mut tail, mut out) = (Tail::empty(), Vec::new());
        tail.append(&event("s-1"), Timestamp::from_millis(1_800_000_000_007), &mut out);
        tail.append(&event("s-2"), Timestamp::from_millis(1_800_000_000_070), &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let record: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!((&record["n"], &record["time"]), (&1.into(), &"2027-01-15T08:00:00.007Z".into()));
        assert_eq!((&record["prev"], &record["who"]["client"]), (&none().into(), &"website".into()));
        assert_eq!(record["expires"], "2027-01-15T09:00:00.000Z");
        assert!(lines[1].ends_with(&format!("\"prev\":\"{}\"}}", hash(lines[0].as_bytes()))), "{}", lines[1]);
        assert_eq!((tail.number, tail.length), (2, u64::try_from(text.len()).unwrap()));
    }

    #[test]
    fn text_of_strangers_is_cut_and_cannot_end_a_line_or_steer_a_terminal() {
        let origin = format!("https://a\n\u{1b}[2J\u{202e}\u{9b}\"{}", "é".repeat(400));
        let evil = Event { who: Who::Page(origin), ..event("s\n{\"n\":2}") };
        let (mut tail, mut out) = (Tail::empty(), Vec::new());
        tail.append(&evil, Timestamp::from_seconds(0), &mut out);
        let line = std::str::from_utf8(out.strip_suffix(b"\n").unwrap()).unwrap();
        assert!(line.chars().all(|letter| !letter.is_control() && letter != '\u{202e}'), "{line:?}");
        assert!(line.len() < 1500 && Link::read(line.as_bytes()).is_some(), "{line}");
    }
}

//! Pages of sessions, the newest first.
//!
//! A page goes on after the last session of the one before, not after a number of them: sessions that are opened
//! meanwhile move nothing.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Record;
use crate::clock::Timestamp;

/// Which sessions. What is absent restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one of these bots; an empty list is of none.
    pub bots: Option<Vec<String>>,
    /// Of this contact.
    pub subject: Option<String>,
    /// Opened at this moment or later.
    pub opened_after: Option<Timestamp>,
    /// Opened before this moment.
    pub opened_before: Option<Timestamp>,
}

/// Where a page ended. Its text is opaque: clients hand it back as they got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) opened: Timestamp,
    pub(super) id: String,
}

impl Cursor {
    /// Reads what [`Cursor`] displays; nothing if it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (opened, id) = plain.split_once(':')?;
        Some(Self { opened: Timestamp::from_millis(opened.parse().ok()?), id: id.to_owned() })
    }

    pub(super) fn at(record: &Record) -> Self {
        Self { opened: record.opened, id: record.id.clone() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(format!("{}:{}", self.opened.millis(), self.id)))
    }
}

/// Some sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The newest first.
    pub records: Vec<Record>,
    /// Where the next page goes on; nothing after the last.
    pub next: Option<Cursor>,
}

impl Page {
    /// The first `most` of `records`, of which there is one more if the page is not the last.
    pub(super) fn cut(mut records: Vec<Record>, most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let is_last = records.len() <= most;
        records.truncate(most);
        let next = records.last().filter(|_| !is_last).map(Cursor::at);
        Self { records, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        let cursor = Cursor { opened: Timestamp::from_millis(1_700_000_000_123), id: "a:b".to_owned() };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for wrong in ["", "1700000000123:a", "AAAA", "%%"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}

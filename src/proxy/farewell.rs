//! How a stream ends before the vendor has ended it: at an event's border, with a last event that says why.

use http::HeaderMap;
use serde_json::json;

use super::answer::media_type;
use crate::bot::Bot;
use crate::fault::Code;

/// What the body of an answer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Server-sent events.
    Events,
    /// JSON Lines.
    Lines,
    /// Something that has no borders.
    Plain,
}

impl Format {
    /// The format that the headers declare.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let media = media_type(headers);
        let is = |known: &str| media.eq_ignore_ascii_case(known.as_bytes());
        if is("text/event-stream") {
            Self::Events
        } else if is("application/jsonl") || is("application/x-ndjson") || is("application/x-jsonlines") {
            Self::Lines
        } else {
            Self::Plain
        }
    }

    /// The last event: an `error` in the vendor's shape.
    pub(super) fn last_words(self, bot: &Bot, code: Code) -> Option<String> {
        let data = match &bot.profile.error {
            Some(shape) => shape.fill(code.status(), code.name(), code.title()),
            None => json!({"message": code.title(), "code": code.name()}),
        };
        match self {
            Self::Events => Some(format!("event: error\ndata: {data}\n\n")),
            Self::Lines => Some(format!("{}\n", json!({"type": "error", "data": data}))),
            Self::Plain => None,
        }
    }
}

/// Where the stream stands between two events, told from its last bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Border {
    /// The last four bytes, the latest lowest.
    tail: u32,
    seen: bool,
}

impl Border {
    /// Goes past `bytes`.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        for byte in &bytes[bytes.len().saturating_sub(4)..] {
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        self.tail = self.tail << 8 | u32::from(byte);
        self.seen = true;
    }

    /// Whether an event has just ended, or none has begun.
    pub(super) fn is_here(self, format: Format) -> bool {
        let [_, earlier, before, last] = self.tail.to_be_bytes();
        let ends_line = |byte| matches!(byte, b'\n' | b'\r');
        match format {
            Format::Plain => false,
            _ if !self.seen => true,
            Format::Lines => last == b'\n',
            // An empty line. Each of the two ends is a line feed, a carriage return, or both in this order.
            Format::Events if (before, last) == (b'\r', b'\n') => ends_line(earlier),
            Format::Events => ends_line(before) && ends_line(last),
        }
    }

    /// How many of `bytes` come before the next border, that included; nothing if it is not among them.
    pub(super) fn ahead(mut self, format: Format, bytes: &[u8]) -> Option<usize> {
        if self.is_here(format) {
            return Some(0);
        }
        bytes
            .iter()
            .position(|byte| {
                self.step(*byte);
                self.is_here(format)
            })
            .map(|at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::super::answer::is_json;
    use super::*;

    #[test]
    fn a_type_with_a_byte_beyond_ascii_in_a_parameter_is_that_type() {
        let declared = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            HeaderMap::from_iter([(header::CONTENT_TYPE, value)])
        };
        assert_eq!(Format::of(&declared(b"Text/Event-Stream ; x=\xe9")), Format::Events);
        assert!(
            is_json(&declared(b"application/problem+json;x=\xe9")) && is_json(&declared(b"application/json;x=\xe9"))
        );
        assert!(!is_json(&declared(b"text/plain;application/json")) && !is_json(&declared(b"\xe9")));
    }

    #[test]
    fn borders_are_found_across_chunks() {
        for (format, text, borders) in [
            (Format::Events, "data: a\n\ndata: b\n\n", vec![0, 9, 18]),
            (Format::Events, "data: a\r\n\r\nx", vec![0, 10, 11]),
            (Format::Events, "data: a\r\rx", vec![0, 9]),
            (Format::Events, "data: a\n\r\nx", vec![0, 9, 10]),
            (Format::Lines, "{}\n{}\n", vec![0, 3, 6]),
            (Format::Plain, "\n\n", vec![]),
        ] {
            for cut in 0..=text.len() {
                let mut border = Border::default();
                border.pass(&text.as_bytes()[..cut]);
                assert_eq!(border.is_here(format), borders.contains(&cut), "{text:?} at {cut}");
                let next = borders.iter().find(|border| **border >= cut).map(|border| border - cut);
                assert_eq!(border.ahead(format, &text.as_bytes()[cut..]), next, "{text:?} from {cut}");
            }
        }
    }
}

//! The forms in which an answer can be told, and which of them a client asks for.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::clock::Timestamp;

/// The form of an answer to `complete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object at the end.
    Json,
    /// One JSON object a line.
    Lines,
    /// Server-sent events.
    Events,
}

impl Format {
    /// The best of what `Accept` names (RFC 9110 §12.5.1): by weight, then by order; JSON if it names none of these.
    pub(super) fn asked_for(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut best = (0.0, Self::Json);
        for (weight, format) in values.flat_map(|value| value.split(',')).filter_map(Self::parse) {
            if weight > best.0 {
                best = (weight, format);
            }
        }
        best.1
    }

    fn parse(range: &str) -> Option<(f32, Self)> {
        let mut parts = range.split(';').map(str::trim);
        let format = match parts.next()?.to_ascii_lowercase().as_str() {
            "application/json" | "application/*" | "*/*" => Self::Json,
            "application/jsonl" => Self::Lines,
            "text/event-stream" | "text/*" => Self::Events,
            _ => return None,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some((weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)), format))
    }

    /// What `Content-Type` calls it.
    pub(super) fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Lines => "application/jsonl",
            Self::Events => "text/event-stream",
        })
    }

    /// One event of a stream that is told at `now`.
    pub(super) fn event(self, kind: &str, data: &Value, now: Timestamp) -> Bytes {
        let text = match self {
            Self::Events => format!("event: {kind}\ndata: {data}\n\n"),
            Self::Json | Self::Lines => {
                format!("{}\n", json!({ "type": kind, "data": data, "createdAt": now.millis() }))
            }
        };
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_for(accept: &'static str) -> Format {
        Format::asked_for(&[(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect())
    }

    #[test]
    fn the_form_follows_accept() {
        assert_eq!(Format::asked_for(&HeaderMap::new()), Format::Json);
        assert_eq!(asked_for("*/*"), Format::Json);
        assert_eq!(asked_for("application/jsonl"), Format::Lines);
        assert_eq!(asked_for("text/html, Text/Event-Stream; charset=utf-8"), Format::Events);
        assert_eq!(asked_for("application/json;q=0.5, application/jsonl"), Format::Lines);
        assert_eq!(asked_for("text/event-stream;q=0, application/pdf"), Format::Json);
    }
}

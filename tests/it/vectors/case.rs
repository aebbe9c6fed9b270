//! The cases of `tests/vectors`, as bytes: as they are, and moved onto a call that exists.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A case of Http11Probe.
#[derive(Deserialize)]
pub(crate) struct Probe {
    pub(crate) id: String,
    /// How strongly the RFC words it.
    pub(crate) level: String,
    /// What is sent on one connection, each once the one before is answered.
    pub(crate) payloads: Vec<String>,
    /// The statuses that are right, by what became of the connection; 0 where there was none.
    #[serde(default)]
    pub(crate) pass: Verdict,
    /// The statuses that the RFC leaves to the server.
    #[serde(default)]
    pub(crate) warn: Verdict,
}

/// Statuses, by what became of the connection.
#[derive(Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Verdict {
    pub(crate) open: Vec<u16>,
    pub(crate) closed: Vec<u16>,
    pub(crate) silent: Vec<u16>,
}

/// A case of llhttp.
#[derive(Deserialize)]
pub(crate) struct Llhttp {
    pub(crate) id: String,
    /// Whether llhttp refuses it unless it is told to be lenient.
    pub(crate) refuses: bool,
    pub(crate) raw: String,
}

/// The cases of a file in `tests/vectors`, one a line.
pub(crate) fn read<C: DeserializeOwned>(file: &str) -> Vec<C> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// What a case is moved onto.
pub(crate) struct Place<'p> {
    pub(crate) host: &'p str,
    /// Whole header lines that every request gets; nothing leaves it as it is.
    pub(crate) lines: &'p str,
    /// Whether a request without `Host` gets one.
    pub(crate) needs_host: bool,
}

/// The call that exists.
const TARGET: &str = "/echo";

/// The text of a case at this place.
pub(crate) fn placed(text: &str, place: &Place<'_>) -> String {
    let text = repeated(text).replace("{{HOST}}", place.host);
    let text = if place.lines.is_empty() { text } else { moved(&text, place) };
    // What follows the head: the length that hides a second request in a first one's body.
    let length = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
    text.replace("{{LENGTH}}", &length.to_string())
}

/// `{{A*3}}` is `AAA`.
fn repeated(text: &str) -> String {
    let Some((before, rest)) = text.split_once("*") else { return text.to_owned() };
    let count = rest.split_once("}}").and_then(|(digits, rest)| Some((digits.parse().ok()?, rest)));
    match (before.char_indices().next_back(), count) {
        (Some((at, letter)), Some((count, rest))) if before[..at].ends_with("{{") => {
            [&before[..at - 2], &letter.to_string().repeat(count), &repeated(rest)].concat()
        }
        _ => format!("{before}*{}", repeated(rest)),
    }
}

/// Each request of `text` on the call that exists, with the lines that let it in.
fn moved(text: &str, place: &Place<'_>) -> String {
    let Some(at) = text.to_ascii_uppercase().find(" HTTP/") else { return text.to_owned() };
    let (before, rest) = text.split_at(at);
    let start = before.rfind([' ', '\t']).map_or(0, |at| at + 1);
    let (head, body) = match rest.split_once("\r\n\r\n") {
        Some((head, body)) => (head, Some(body)),
        None => (rest, None),
    };
    let mut out = format!("{}{}{head}", &before[..start], on_target(&before[start..]));
    let Some(body) = body else { return out };
    let has = |name: &str| head.to_ascii_lowercase().contains(name);
    if place.needs_host && !has("\nhost:") {
        out.push_str(&format!("\r\nHost: {}", place.host));
    }
    if !has("\nauthorization:") {
        out.push_str(&format!("\r\n{}", place.lines));
    }
    out + "\r\n\r\n" + &moved(body, place)
}

/// A plain path becomes [`TARGET`]; a target that is itself what the case is about stays.
fn on_target(target: &str) -> String {
    let (origin, path) = match target.strip_prefix("http://") {
        Some(rest) => target.split_at(target.len() - rest.len() + rest.find('/').unwrap_or(rest.len())),
        None => ("", target),
    };
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    if path.starts_with('/') && end < 200 && path[..end].bytes().all(is_plain) {
        format!("{origin}{TARGET}{}", &path[end..])
    } else {
        target.to_owned()
    }
}

#[test]
fn a_case_is_moved_onto_a_call_that_exists() {
    let place = Place { host: "h:1", lines: "A: b", needs_host: true };
    for (text, expected) in [
        ("GET / HTTP/1.1\r\nHost: {{HOST}}\r\n\r\n", "GET /echo HTTP/1.1\r\nHost: h:1\r\nA: b\r\n\r\n"),
        ("GET  /a?b HTTP/1.1\r\n \r\nx\r\n\r\n", "GET  /echo?b HTTP/1.1\r\n \r\nx\r\nHost: h:1\r\nA: b\r\n\r\n"),
        ("GET /a%00 HTTP/1.1\r\n", "GET /a%00 HTTP/1.1\r\n"),
        ("GET http://{{HOST}}/ HTTP/1.1\r\n", "GET http://h:1/echo HTTP/1.1\r\n"),
        ("{{A*3}} *\r\nX: {{B*2}}", "AAA *\r\nX: BB"),
        (
            "POST / HTTP/1.1\r\nHost: {{HOST}}\r\nContent-Length: {{LENGTH}}\r\n\r\nPINGGET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: h:1\r\nContent-Length: 41\r\nA: b\r\n\r\nPINGGET /echo HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n",
        ),
    ] {
        assert_eq!(placed(text, &place), expected);
    }
}

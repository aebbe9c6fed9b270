//! RFC 9112 to the letter, twice: as what reaches the vendor must be, and as far as a server may go with what a client
//! sends. Neither shares a line with the gateway's own parser.

/// How strictly.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// What every parser reads alike: no choice that the RFC leaves to a server is needed.
    Canonical,
    /// All that the RFC allows a server to accept.
    Tolerant,
}

/// A request, or as much of it as has come.
pub(crate) struct Message {
    pub(crate) method: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether all of it has come.
    pub(crate) is_complete: bool,
}

impl Message {
    /// The values of a header.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }
}

/// What a tolerant server sees in what a client sends.
pub(crate) struct Seen {
    /// Requests that have begun: their heads are in order.
    pub(crate) requests: usize,
    /// Whether the bytes end within one.
    pub(crate) is_unfinished: bool,
}

/// Why there is no more to read.
enum Stop {
    Unfinished,
    Wrong(&'static str),
}

/// The requests on a connection to the vendor; the last one may have been broken off.
///
/// # Errors
///
/// What two parsers could read in two ways.
pub(crate) fn canonical(bytes: &[u8]) -> Result<Vec<Message>, &'static str> {
    let (mut rest, mut messages) = (bytes, Vec::new());
    while !rest.is_empty() {
        let head = match head(&mut rest, Rules::Canonical) {
            Ok(head) => head,
            Err(Stop::Wrong(what)) => return Err(what),
            Err(Stop::Unfinished) => break,
        };
        let mut body = Vec::new();
        let is_complete = match read_body(&mut rest, head.length, Rules::Canonical, &mut body) {
            Ok(()) => true,
            Err(Stop::Unfinished) => false,
            Err(Stop::Wrong(what)) => return Err(what),
        };
        messages.push(Message { method: head.method, headers: head.headers, body, is_complete });
        if !is_complete {
            break;
        }
    }
    Ok(messages)
}

/// What a tolerant server sees in these bytes.
pub(crate) fn tolerant(bytes: &[u8]) -> Seen {
    let mut seen = Seen { requests: 0, is_unfinished: false };
    let mut rest = bytes;
    while !rest.is_empty() {
        let stop = match head(&mut rest, Rules::Tolerant) {
            Ok(head) => {
                seen.requests += 1;
                let read = read_body(&mut rest, head.length, Rules::Tolerant, &mut Vec::new());
                if head.is_last { read.err().or(Some(Stop::Wrong("the last"))) } else { read.err() }
            }
            Err(stop) => Some(stop),
        };
        if let Some(stop) = stop {
            seen.is_unfinished = matches!(stop, Stop::Unfinished);
            break;
        }
    }
    seen
}

#[derive(Clone, Copy)]
enum Length {
    Known(usize),
    Chunked,
}

struct Head {
    method: String,
    headers: Vec<(String, String)>,
    length: Length,
    /// Whether the connection ends with this request.
    is_last: bool,
}

fn head(rest: &mut &[u8], rules: Rules) -> Result<Head, Stop> {
    let mut first = line(rest, rules)?;
    // RFC 9112 §2.2: at least one empty line before a request should be ignored.
    while first.is_empty() && rules == Rules::Tolerant {
        first = line(rest, rules)?;
    }
    let parts: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = parts[..] else { return Err(Stop::Wrong("a request line has three parts")) };
    let is_newest = version == "HTTP/1.1";
    if !is_token(method) || target.is_empty() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Stop::Wrong("method or target"));
    }
    if !(is_newest || rules == Rules::Tolerant && version == "HTTP/1.0") {
        return Err(Stop::Wrong("version"));
    }
    let mut headers = Vec::new();
    loop {
        let text = line(rest, rules)?;
        if text.is_empty() {
            break;
        }
        if text.starts_with([' ', '\t']) {
            return Err(Stop::Wrong("obs-fold"));
        }
        let (name, value) = text.split_once(':').ok_or(Stop::Wrong("a header has a colon"))?;
        if !is_token(name) || value.chars().any(|letter| letter.is_control() && letter != '\t') {
            return Err(Stop::Wrong("header"));
        }
        headers.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    let hosts = values(&headers, "host").len();
    if hosts > 1 || is_newest && hosts == 0 {
        return Err(Stop::Wrong("one Host"));
    }
    let length = length(&headers, is_newest, rules)?;
    let says = |word: &str| {
        let listed = values(&headers, "connection").join(",");
        listed.split(',').any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    let is_both = matches!(length, Length::Chunked) && !values(&headers, "content-length").is_empty();
    let is_last = says("close") || is_both || !is_newest && !says("keep-alive");
    Ok(Head { method: method.to_owned(), headers, length, is_last })
}

fn length(headers: &[(String, String)], is_newest: bool, rules: Rules) -> Result<Length, Stop> {
    let (codings, lengths) = (values(headers, "transfer-encoding"), values(headers, "content-length"));
    if rules == Rules::Canonical {
        return match (&codings[..], &lengths[..]) {
            ([], []) => Ok(Length::Known(0)),
            (["chunked"], []) => Ok(Length::Chunked),
            ([], [digits]) => match digits.parse::<usize>() {
                Ok(length) if length.to_string() == **digits => Ok(Length::Known(length)),
                _ => Err(Stop::Wrong("a length in plain digits")),
            },
            _ => Err(Stop::Wrong("more than one length")),
        };
    }
    if !codings.is_empty() {
        let last = codings.join(",").split(',').map(str::trim).rfind(|coding| !coding.is_empty()).map(str::to_owned);
        let is_chunked = last.is_some_and(|last| last.eq_ignore_ascii_case("chunked"));
        return if is_chunked && is_newest { Ok(Length::Chunked) } else { Err(Stop::Wrong("transfer-coding")) };
    }
    let mut said = lengths.iter().flat_map(|value| value.split(',')).map(|digits| {
        let digits = digits.trim();
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<usize>().ok()).flatten()
    });
    match said.next() {
        None => Ok(Length::Known(0)),
        Some(Some(length)) if said.all(|other| other == Some(length)) => Ok(Length::Known(length)),
        Some(_) => Err(Stop::Wrong("length")),
    }
}

fn read_body(rest: &mut &[u8], length: Length, rules: Rules, body: &mut Vec<u8>) -> Result<(), Stop> {
    let mut take = |rest: &mut &[u8], length: usize| {
        let (now, later) = rest.split_at(length.min(rest.len()));
        body.extend_from_slice(now);
        *rest = later;
        if now.len() == length { Ok(()) } else { Err(Stop::Unfinished) }
    };
    if let Length::Known(length) = length {
        return take(rest, length);
    }
    loop {
        let size = line(rest, rules)?;
        // What an extension holds is nobody's business here; the canonical form has none.
        let digits = if rules == Rules::Tolerant { size.split(';').next().unwrap_or_default() } else { &size };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Stop::Wrong("chunk size"));
        }
        let size = usize::from_str_radix(digits, 16).map_err(|_too_large| Stop::Wrong("chunk size"))?;
        if size == 0 {
            break;
        }
        take(rest, size)?;
        if !line(rest, rules)?.is_empty() {
            return Err(Stop::Wrong("chunk end"));
        }
    }
    while !line(rest, rules)?.is_empty() {
        if rules == Rules::Canonical {
            return Err(Stop::Wrong("trailers"));
        }
    }
    Ok(())
}

/// The next line, without its end.
fn line(rest: &mut &[u8], rules: Rules) -> Result<String, Stop> {
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Stop::Unfinished)?;
    let (line, later) = (&rest[..end], &rest[end + 1..]);
    let line = match line.strip_suffix(b"\r") {
        Some(line) => line,
        // RFC 9112 §2.2: a single LF may be recognised as the end of a line.
        None if rules == Rules::Tolerant => line,
        None => return Err(Stop::Wrong("bare LF")),
    };
    if line.contains(&b'\r') {
        return Err(Stop::Wrong("bare CR"));
    }
    *rest = later;
    Ok(line.iter().map(|byte| char::from(*byte)).collect())
}

fn is_token(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_letter)
}

fn values<'h>(headers: &'h [(String, String)], name: &str) -> Vec<&'h str> {
    headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn the_judge_of_what_reaches_the_vendor_is_strict() {
    let good = b"POST /a HTTP/1.1\r\nhost: v\r\ncontent-length: 2\r\n\r\nokPOST /b HTTP/1.1\r\nhost: v\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let bodies = canonical(good).ok().unwrap().into_iter().map(|call| (call.body, call.is_complete));
    assert_eq!(bodies.collect::<Vec<_>>(), [(b"ok".to_vec(), true), (b"ok".to_vec(), true)]);
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: v\r\n\r\n",
        "GET  / HTTP/1.1\r\nhost: v\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: v\r\nhost: v\r\n\r\n",
        "GET / HTTP/1.1\nhost: v\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: v\r\na: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: v\r\na: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : v\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: v\r\ncontent-length: 02\r\n\r\nok",
        "GET / HTTP/1.1\r\nhost: v\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        "GET / HTTP/1.1\r\nhost: v\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: v\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: v\r\ntransfer-encoding: chunked\r\n\r\n2;a\r\nok\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: v\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n",
    ] {
        assert!(canonical(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

//! What two parsers could read in two ways, and so is refused before anything else is asked.
//!
//! hyper has parsed the request, and refuses by itself what is no HTTP. It also resolves some conflicts before we see
//! them, as RFC 9112 §6 allows: of `Content-Length` and `Transfer-Encoding` the latter wins and the connection closes,
//! and equal lengths become one. What it lets through although another parser may read it otherwise is refused here.
//! This runs for every request, and allocates nothing for one that is in order.

use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};

use crate::fault::{Code, Fault};
use crate::listen::Peer;

/// The host that a request is for: its name or address, without port, brackets and trailing dot.
///
/// # Errors
///
/// What is ambiguous about the request. The connection that it came on is not to be used again (RFC 9112 §11.2).
pub(super) fn check<'r, B>(request: &'r Request<B>, peer: &Peer) -> Result<&'r str, Fault> {
    target(request.method(), request.uri())?;
    length(request.headers())?;
    coding(request.headers())?;
    let host = host(request)?;
    // A balancer or a firewall may have decided by the name that the client gave to TLS (RFC 9110 §7.4).
    match &peer.names {
        Some(names) if !names.cover(host.name) => {
            Err(Fault::new(Code::MisdirectedRequest, "this connection is for another host; open one for this"))
        }
        _ => Ok(host.name),
    }
}

/// A path, with `http` or `https` and a host before it or not. `*` is about the server itself, which has nothing to say;
/// a host alone is for tunnels, of which there are none (RFC 9112 §3.2).
fn target(method: &Method, uri: &Uri) -> Result<(), Fault> {
    let is_web = uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP);
    match uri.path_and_query() {
        Some(path) if is_web && path.as_str() != "*" && *method != Method::CONNECT => Ok(()),
        _ => Err(Fault::new(Code::BadRequest, "the target of a request must be a path, or an http or https URL")),
    }
}

/// One length at most, in plain digits: `005` is five to one parser, and an error to another.
fn length(headers: &HeaderMap) -> Result<(), Fault> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (None, _) | (Some(b"0"), None) => Ok(()),
        (Some([b'1'..=b'9', rest @ ..]), None) if rest.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err(Fault::new(Code::BadRequest, "send one Content-Length, in digits and without leading zeros")),
    }
}

/// `chunked` alone. hyper takes all that ends in it, and so a body in another coding as if it were plain.
fn coding(headers: &HeaderMap) -> Result<(), Fault> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (None, _) | (Some(b"chunked"), None) => Ok(()),
        _ => Err(Fault::new(Code::BadRequest, "the only Transfer-Encoding here is `chunked`")),
    }
}

/// One host. HTTP/1.1 must name it in `Host` also where the target does; in HTTP/2 `:authority` is enough.
fn host<B>(request: &Request<B>) -> Result<Host<'_>, Fault> {
    let bad = |detail| Err(Fault::new(Code::BadHost, detail));
    let mut values = request.headers().get_all(header::HOST).iter();
    let (named, again) = (values.next().map(|value| value.to_str().unwrap_or_default()), values.next());
    let asked = request.uri().authority().map(http::uri::Authority::as_str);
    if again.is_some() {
        return bad("send one Host header; this request has several");
    }
    match (asked.map(Host::parse), named.map(Host::parse)) {
        (Some(None), _) | (_, Some(None)) => bad("a Host is a name or an address, and a port if need be"),
        (None, Some(Some(host))) => Ok(host),
        (Some(Some(host)), None) if request.version() == Version::HTTP_2 => Ok(host),
        (Some(Some(asked)), Some(Some(named))) if asked.is_same(named, request.uri().scheme()) => Ok(asked),
        (Some(_), Some(_)) => bad("the target of the request and its Host name different hosts"),
        (_, None) => bad("send a Host header that names a host"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Host<'r> {
    name: &'r str,
    port: Option<u16>,
}

impl<'r> Host<'r> {
    /// Reads `name`, `name:port` or `[address]:port`. Stricter than RFC 3986, which allows escapes, commas and more in a
    /// name: DNS has none of them, and what is one name to one parser is a list to another.
    fn parse(text: &'r str) -> Option<Self> {
        let (name, port, is_letter): (_, _, fn(&u8) -> bool) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (address, port, |byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                let name = name.strip_suffix('.').unwrap_or(name);
                (name, port, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
            }
        };
        if name.is_empty() || name.ends_with('.') || !name.as_bytes().iter().all(is_letter) {
            return None;
        }
        let port = match port.strip_prefix(':') {
            // No digits are no port (RFC 3986 §3.2.3).
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            None if port.is_empty() => None,
            _ => return None,
        };
        Some(Self { name, port })
    }

    /// Whether the two are one: a port that is the scheme's own may be said or not.
    fn is_same(self, other: Self, scheme: Option<&Scheme>) -> bool {
        let usual = scheme.map(|scheme| if *scheme == Scheme::HTTPS { 443 } else { 80 });
        self.name.eq_ignore_ascii_case(other.name) && self.port.or(usual) == other.port.or(usual)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    /// What is made of a request with this target and these headers.
    fn checked(version: Version, call: &str, headers: &[(&'static str, &str)]) -> Result<String, Code> {
        let (method, target) = call.split_once(' ').unwrap();
        let mut request = Request::builder().version(version).method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), may_forward: true, worker: 0, names: None };
        check(&request.body(()).unwrap(), &peer).map(str::to_owned).map_err(|fault| fault.code())
    }

    fn host_of(text: &str) -> Result<String, Code> {
        checked(Version::HTTP_11, "GET /", &[("host", text)])
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port_at_most() {
        for (text, name) in [
            ("example.com", "example.com"),
            ("Example.COM.", "Example.COM"),
            ("example.com:", "example.com"),
            ("example.com.:8443", "example.com"),
            ("my_host-1", "my_host-1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[::ffff:192.0.2.1]:443", "::ffff:192.0.2.1"),
        ] {
            assert_eq!(host_of(text).as_deref(), Ok(name), "{text}");
        }
        for text in [
            "", ".", "..", "a..", ":80", "a:b", "a:+80", "a:80:90", "a:65536", "a:-1", "u@a", "a/", "a/p", "a,b",
            "a, b", "a b", "a\tb", "a?q", "a#f", "a%2eb", "a;b", "a\\b", "[::1", "::1]", "[]", "[::1]x", "[::1]]",
            "[v1.a]", "http://a",
        ] {
            assert_eq!(host_of(text), Err(Code::BadHost), "{text:?}");
        }
        let latin = Request::builder().uri("/").header("host", HeaderValue::from_bytes(b"b\xfccher").unwrap());
        assert!(host(&latin.body(()).unwrap()).is_err());
    }

    #[test]
    fn a_host_is_named_once() {
        let twice = |version| checked(version, "GET /", &[("host", "a"), ("host", "a")]);
        assert_eq!(twice(Version::HTTP_11), Err(Code::BadHost));
        assert_eq!(twice(Version::HTTP_2), Err(Code::BadHost));
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(checked(version, "GET /", &[]), Err(Code::BadHost), "{version:?}");
        }
        assert_eq!(checked(Version::HTTP_11, "GET http://a/", &[]), Err(Code::BadHost));
        assert_eq!(checked(Version::HTTP_2, "GET http://a/", &[]).as_deref(), Ok("a"));
    }

    #[test]
    fn target_and_host_agree_but_for_case_default_port_and_trailing_dot() {
        let both = |target: &str, host: &str| {
            let call = format!("GET {target}");
            let (old, new) = (Version::HTTP_11, Version::HTTP_2);
            let outcomes = [old, new].map(|version| checked(version, &call, &[("host", host)]).is_ok());
            assert_eq!(outcomes[0], outcomes[1], "{target} {host}");
            outcomes[0]
        };
        for (target, host) in [
            ("http://a/", "a"),
            ("http://A/", "a."),
            ("http://a:80/", "a"),
            ("https://a/", "a:443"),
            ("https://a./", "A:443"),
            ("http://a:8080/", "a:8080"),
            ("http://[::1]/", "[::1]:80"),
        ] {
            assert!(both(target, host), "{target} {host}");
        }
        for (target, host) in [
            ("http://a/", "b"),
            ("http://a/", "a:443"),
            ("https://a:80/", "a"),
            ("http://a:8080/", "a"),
            ("http://u@a/", "a"),
            ("http://a/", ""),
        ] {
            assert!(!both(target, host), "{target} {host}");
        }
    }

    #[test]
    fn a_target_is_a_path_or_a_url_of_the_web() {
        let target = |call: &str| checked(Version::HTTP_11, call, &[("host", "a")]);
        for call in ["GET /", "GET /a?b", "GET http://a", "GET HTTPS://a?b"] {
            assert_eq!(target(call).as_deref(), Ok("a"), "{call}");
        }
        for call in
            ["OPTIONS *", "GET *", "GET a", "GET a:80", "CONNECT a:80", "CONNECT /", "GET ftp://a/", "GET ws://a/"]
        {
            assert_eq!(target(call), Err(Code::BadRequest), "{call}");
        }
    }

    #[test]
    fn a_length_is_plain_digits_and_said_once() {
        let length = |values: &[&str]| {
            let headers: Vec<_> =
                [("host", "a")].into_iter().chain(values.iter().map(|value| ("content-length", *value))).collect();
            checked(Version::HTTP_2, "POST /", &headers)
        };
        for text in ["0", "5", "10", "18446744073709551615"] {
            assert!(length(&[text]).is_ok(), "{text}");
        }
        for text in ["", "00", "005", "+5", "-5", "5,5", "5 5", "0x5", "5.0", "٥"] {
            assert_eq!(length(&[text]), Err(Code::BadRequest), "{text:?}");
        }
        assert_eq!(length(&["5", "5"]), Err(Code::BadRequest));
    }

    #[test]
    fn a_transfer_coding_is_chunked_and_nothing_else() {
        let coded = |values: &[&str]| {
            let headers: Vec<_> =
                [("host", "a")].into_iter().chain(values.iter().map(|value| ("transfer-encoding", *value))).collect();
            checked(Version::HTTP_11, "POST /", &headers)
        };
        assert!(coded(&["chunked"]).is_ok());
        for text in
            ["", "Chunked", "gzip, chunked", ", chunked", "chunked,", "chunked, chunked", "identity", "xchunked"]
        {
            assert_eq!(coded(&[text]), Err(Code::BadRequest), "{text:?}");
        }
        assert_eq!(coded(&["chunked", "chunked"]), Err(Code::BadRequest));
        assert_eq!(coded(&["gzip", "chunked"]), Err(Code::BadRequest));
    }
}

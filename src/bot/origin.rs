//! Web origins (RFC 6454), as browsers send them and as a bot's list names them.

use http::HeaderValue;

use crate::net::is_loopback;

/// Longer ones name no host of the Internet (RFC 1035 §2.3.4, and a port): a page of one would have its session opened, and
/// no token, which says where it is for.
const LONGEST: usize = 255 + ":65535".len();

/// The origin of a web page: `https://www.example.com`, as the browser wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    /// Takes the value of an `Origin` header. `null` and what is no origin is nobody's: nothing.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        split(text)?;
        Some(Self(value.clone()))
    }

    /// The same, of a text.
    pub fn of(text: &str) -> Option<Self> {
        Self::parse(&HeaderValue::from_str(text).ok()?)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// As the value of `Access-Control-Allow-Origin`.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

/// The origins that may use a bot: exact ones, and all subdomains of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    exact: Vec<String>,
    below: Vec<Below>,
}

/// `https://*.example.com`: the scheme, what the host must end with, and the port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Below {
    scheme: String,
    suffix: String,
}

impl Origins {
    /// Adds one of the configuration's origins.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let wrong = || match as_browsers_write(text) {
            Some(right) => format!(
                "`{text}` is not an origin as a browser writes it; write \"{right}\": lower case, without the scheme's own \
                 port, without a path"
            ),
            None => format!(
                "`{text}` is not an origin; write scheme, host and port as a browser does (\"https://www.example.com\"), \
                 or \"https://*.example.com\" for all its subdomains"
            ),
        };
        if text == "*" {
            self.any = true;
            return Ok(());
        }
        let is_plain =
            |scheme: &str, authority: &str| scheme == "http" && !is_loopback(crate::net::host_name(authority));
        let plain =
            || Err(format!("`{text}` is plain HTTP: anybody on the visitor's network could be that page; write https"));
        if let Some((scheme, suffix)) = text.split_once("://*.") {
            split(&format!("{scheme}://{suffix}")).ok_or_else(wrong)?;
            if is_plain(scheme, suffix) {
                return plain();
            }
            if !suffix.split(':').next().unwrap_or(suffix).contains('.') {
                return Err(format!("`{text}` would allow a whole top-level domain; name a domain below it"));
            }
            self.below.push(Below { scheme: scheme.to_owned(), suffix: format!(".{suffix}") });
            return Ok(());
        }
        let (scheme, authority) = split(text).ok_or_else(wrong)?;
        if is_plain(scheme, authority) {
            return plain();
        }
        self.exact.push(text.to_owned());
        Ok(())
    }

    /// Whether a page of `origin` may.
    pub fn allows(&self, origin: &Origin) -> bool {
        let text = origin.as_str();
        self.any || self.exact.iter().any(|known| known == text) || self.below.iter().any(|below| below.holds(text))
    }

    /// All of them, as the configuration writes them.
    pub fn texts(&self) -> Vec<String> {
        let any = self.any.then(|| "*".to_owned());
        let below = self.below.iter().map(|below| format!("{}://*{}", below.scheme, below.suffix));
        any.into_iter().chain(self.exact.iter().cloned()).chain(below).collect()
    }

    /// Whether it allows every origin.
    pub fn is_any(&self) -> bool {
        self.any
    }

    /// Whether it allows none.
    pub fn is_empty(&self) -> bool {
        !self.any && self.exact.is_empty() && self.below.is_empty()
    }
}

impl Below {
    fn holds(&self, origin: &str) -> bool {
        let rest = origin.strip_prefix(self.scheme.as_str()).and_then(|rest| rest.strip_prefix("://"));
        rest.and_then(|host| host.strip_suffix(self.suffix.as_str())).is_some_and(|label| !label.is_empty())
    }
}

/// Scheme and authority of a serialised origin: lower case, no path, no user, nothing after the port.
fn split(text: &str) -> Option<(&str, &str)> {
    let (scheme, authority) = text.split_once("://")?;
    let is_scheme = !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || b"+-.".contains(&byte) || byte.is_ascii_digit());
    let is_authority = (1..=LONGEST).contains(&authority.len())
        && authority
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte));
    (is_scheme && is_authority && has_plain_port(scheme, authority)).then_some((scheme, authority))
}

/// The origin that is meant by what is nearly one.
fn as_browsers_write(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (scheme, rest) = lower.split_once("://")?;
    let (authority, _path) = rest.split_once('/').unwrap_or((rest, ""));
    let own = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let authority = authority.strip_suffix(own).unwrap_or(authority);
    let host = authority.strip_prefix("*.").unwrap_or(authority);
    split(&format!("{scheme}://{host}"))?;
    Some(format!("{scheme}://{authority}"))
}

/// No empty label; a port only where browsers write one: not the scheme's own (RFC 6454 §6.2).
fn has_plain_port(scheme: &str, authority: &str) -> bool {
    if authority.starts_with('[') {
        return authority.parse::<http::uri::Authority>().is_ok();
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let is_own = matches!((scheme, port), ("https", Some("443")) | ("http", Some("80")));
    host.split('.').all(|label| !label.is_empty()) && !is_own && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &[&str], origin: &str) -> bool {
        let mut origins = Origins::default();
        for text in list {
            origins.add(text).unwrap();
        }
        Origin::parse(&HeaderValue::from_str(origin).unwrap()).is_some_and(|origin| origins.allows(&origin))
    }

    #[test]
    fn an_origin_is_exact_or_a_subdomain() {
        let list = ["https://www.example.com", "https://*.preview.example.com", "http://localhost:3000"];
        for origin in [
            "https://www.example.com",
            "https://a.preview.example.com",
            "https://a.b.preview.example.com",
            "http://localhost:3000",
        ] {
            assert!(allows(&list, origin), "{origin}");
        }
        for origin in [
            "http://www.example.com",
            "https://www.example.com:8443",
            "https://www.example.com.evil.test",
            "https://evilwww.example.com",
            "https://preview.example.com",
            "https://.preview.example.com.evil.test",
            "https://a.preview.example.com:444",
            "http://a.preview.example.com",
            "https://evil.test/.preview.example.com",
            "https://evil.test#.preview.example.com",
            "https://user@a.preview.example.com",
            "null",
        ] {
            assert!(!allows(&list, origin), "{origin}");
        }
    }

    #[test]
    fn null_is_nobody_even_where_all_are_allowed() {
        assert!(allows(&["*"], "https://anything.example"));
        assert!(!allows(&["*"], "null"));
    }

    #[test]
    fn an_origin_longer_than_any_host_is_nobodys() {
        let of = |length: usize| format!("https://{}.example.com", "a".repeat(length - ".example.com".len()));
        for list in ["*", "https://*.example.com"] {
            assert!(allows(&[list], &of(253)), "{list}");
            assert!(!allows(&[list], &of(262)), "{list}");
        }
    }

    #[test]
    fn an_origin_that_is_written_wrongly_says_what_would_be_right() {
        let mut origins = Origins::default();
        for text in ["www.example.com", "https://*", "https://a.*.com", "ftp://a.example/", "https://a..com:443"] {
            assert!(origins.add(text).is_err_and(|error| error.contains("is not an origin; write scheme")), "{text}");
        }
        for (text, right) in [
            ("https://www.example.com/", "https://www.example.com"),
            ("HTTPS://WWW.Example.com/chat", "https://www.example.com"),
            ("https://www.example.com:443", "https://www.example.com"),
            ("http://LOCALHOST:80", "http://localhost"),
            ("https://WWW.example.com:8443", "https://www.example.com:8443"),
            ("https://*.Example.com:443", "https://*.example.com"),
        ] {
            let error = origins.add(text).unwrap_err();
            assert!(error.contains(&format!("as a browser writes it; write \"{right}\": lower case")), "{error}");
            origins.add(right).unwrap();
        }
        for text in ["www.example.com", "https://www.example.com/", "https://*", "HTTPS://WWW.EXAMPLE.COM"] {
            assert!(origins.add(text).is_err_and(|error| error.contains("is not an origin")), "{text}");
        }
        assert!(origins.add("https://*.com").is_err_and(|error| error.contains("top-level domain")));
        for text in ["http://example.com", "http://*.example.com"] {
            assert!(origins.add(text).is_err_and(|error| error.contains("plain HTTP")), "{text}");
        }
    }
}

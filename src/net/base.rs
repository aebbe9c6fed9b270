//! Where something is, as a configuration says it: read in one way, whatever it is the address of.

use http::uri::{Authority, Uri};

use crate::text::quoted_url;

/// `http(s)://host[:port][/path]`, without user, query and fragment.
#[derive(Clone, Debug)]
pub struct BaseUrl {
    text: String,
    is_https: bool,
    authority: Authority,
    path: String,
}

/// Why a text is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBaseUrl {
    /// It is another URL, or none.
    Another,
    /// A user or a password stands in it.
    HasUser,
    /// Its port is beyond 65535.
    NoSuchPort,
}

impl NoBaseUrl {
    /// What is wrong with `text`, and what would be right; `credentials` is where they go.
    pub fn told(self, text: &str, credentials: &str) -> String {
        match self {
            Self::Another => {
                format!("{} must be a URL such as \"https://api.example.com\", without a query", quoted_url(text))
            }
            Self::HasUser => {
                format!("a URL with a user or password in it is refused: credentials go into {credentials}")
            }
            Self::NoSuchPort => format!("{} has a port that does not exist", quoted_url(text)),
        }
    }
}

impl BaseUrl {
    /// Reads `text`.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, NoBaseUrl> {
        // A fragment is dropped in silence.
        let uri: Uri = if text.contains('#') { None } else { text.parse().ok() }.ok_or(NoBaseUrl::Another)?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(NoBaseUrl::Another),
        };
        let authority = uri.authority().filter(|_| uri.query().is_none()).cloned().ok_or(NoBaseUrl::Another)?;
        if authority.as_str().contains('@') {
            return Err(NoBaseUrl::HasUser);
        }
        let url = Self { text: text.to_owned(), is_https, path: uri.path().to_owned(), authority };
        if url.host().is_empty() {
            return Err(NoBaseUrl::Another);
        }
        // Behind an IPv6 address the bracket is no part of a port.
        let port = url.authority.as_str().rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        if port.is_some() && url.port().is_none() { Err(NoBaseUrl::NoSuchPort) } else { Ok(url) }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is https.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host, and the port where there is one, as a `Host` header has them.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The host; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.authority.host().trim_matches(['[', ']'])
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        self.authority.port_u16()
    }

    /// The path: `/` where none is written.
    pub fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_has_a_host_and_may_have_a_port_and_a_path() {
        for (text, is_https, host, port, path) in [
            ("https://api.example.com", true, "api.example.com", None, "/"),
            ("http://127.0.0.1:8080/v1/", false, "127.0.0.1", Some(8080), "/v1/"),
            ("https://[2001:db8::7]", true, "2001:db8::7", None, "/"),
            ("HTTPS://[2001:db8::7]:8443/a", true, "2001:db8::7", Some(8443), "/a"),
        ] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!((url.is_https(), url.host(), url.port(), url.path()), (is_https, host, port, path), "{text}");
            assert_eq!(url.as_str(), text);
        }
    }

    #[test]
    fn what_is_none_is_told_without_its_secrets() {
        for (text, why) in [
            ("api.example.com", NoBaseUrl::Another),
            ("/v1", NoBaseUrl::Another),
            ("", NoBaseUrl::Another),
            ("ftp://api.example.com", NoBaseUrl::Another),
            ("https://", NoBaseUrl::Another),
            ("https://:443", NoBaseUrl::Another),
            ("https://api.example.com/?key=hunter2", NoBaseUrl::Another),
            ("https://api.example.com/#hunter2", NoBaseUrl::Another),
            ("https://user:hunter2@api.example.com", NoBaseUrl::HasUser),
            ("https://user:hunter2/x@api.example.com", NoBaseUrl::NoSuchPort),
            ("https://api.example.com:65536", NoBaseUrl::NoSuchPort),
            ("https://[::1]:", NoBaseUrl::NoSuchPort),
        ] {
            assert_eq!(BaseUrl::parse(text).map(|url| url.text), Err(why), "{text}");
            assert!(!why.told(text, "`keys`").contains("hunter2"), "{text}");
        }
    }
}

//! Where a request comes from, as the proxies before the gateway say: who of them is believed, and in what.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of proxies whose word counts; nobody's by default.
#[derive(Clone, Debug, Default)]
pub struct Trusted(Vec<IpNet>);

/// `Forwarded` and `X-Forwarded-For` name different clients: one of them is not of the proxy that writes the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disagreement;

impl Trusted {
    /// Those of these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether the word of nobody counts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the word of another machine counts.
    pub fn has_others(&self) -> bool {
        self.0.iter().any(|network| !network.network().is_loopback())
    }

    /// Whether the word of `address` counts.
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that came from `peer`: read from the right, the first that is no proxy of ours. What the
    /// client itself has written stands to the left of that, and says nothing. A proxy that does not know its client, or
    /// hides it, is the client.
    ///
    /// # Errors
    ///
    /// Both headers are there, and differ. A proxy that writes one of them may pass the other as its client sent it.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Disagreement> {
        if self.is_empty() || !self.has(peer) {
            return Ok(peer);
        }
        let forwarded = headers.contains_key(header::FORWARDED).then(|| {
            let elements = from_the_right(headers, header::FORWARDED).flat_map(|line| rfc7239::parse(line).rev());
            self.first_stranger(peer, elements.map(|element| element.ok()?.forwarded_for?.ip().copied()))
        });
        let listed = headers.contains_key(X_FORWARDED_FOR).then(|| {
            let elements = from_the_right(headers, X_FORWARDED_FOR).flat_map(|line| line.rsplit(','));
            self.first_stranger(peer, elements.map(address))
        });
        match (forwarded, listed) {
            (Some(one), Some(other)) if one != other => Err(Disagreement),
            (Some(one), _) | (None, Some(one)) => Ok(one),
            (None, None) => Ok(peer),
        }
    }

    fn first_stranger(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for hop in hops {
            let Some(hop) = hop else { return client };
            client = hop.to_canonical();
            if !self.has(client) {
                return client;
            }
        }
        client
    }
}

/// The lines of a list, the last first. What is not text says nothing, and so stands for a proxy that hides its client.
fn from_the_right(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let mut lines: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    lines.reverse();
    lines.into_iter()
}

/// An address, with a port or in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[(&str, &str)]) -> Result<String, Disagreement> {
        let trusted = Trusted::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        trusted.client(peer.parse().unwrap(), &headers).map(|address| address.to_string())
    }

    fn is(peer: &str, lines: &[(&str, &str)], expected: &str) {
        assert_eq!(client(peer, lines), Ok(expected.to_owned()), "{peer} {lines:?}");
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        is("192.0.2.1", &[("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=198.51.100.1")], "192.0.2.1");
        let nobody = Trusted::default();
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"))]);
        assert_eq!(nobody.client("10.0.0.1".parse().unwrap(), &headers), Ok("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn the_first_stranger_from_the_right_is_the_client() {
        let spoofed = "203.0.113.9, 198.51.100.1, 10.0.0.2";
        is("10.0.0.1", &[("x-forwarded-for", spoofed)], "198.51.100.1");
        is("10.0.0.1", &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.1")], "198.51.100.1");
        is("10.0.0.1", &[("forwarded", "for=203.0.113.9, for=\"198.51.100.1:443\";proto=https")], "198.51.100.1");
        is("10.0.0.1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3");
        is("10.0.0.1", &[], "10.0.0.1");
        is("2001:db8:1::1", &[("x-forwarded-for", "198.51.100.1")], "198.51.100.1");
    }

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for text in ["2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:443"] {
            is("10.0.0.1", &[("x-forwarded-for", text)], "2001:db8::7");
        }
        is("10.0.0.1", &[("x-forwarded-for", "198.51.100.1:5678")], "198.51.100.1");
        is("10.0.0.1", &[("x-forwarded-for", "::ffff:198.51.100.1")], "198.51.100.1");
        is("10.0.0.1", &[("forwarded", "For=\"[2001:db8::7]:4711\"")], "2001:db8::7");
    }

    #[test]
    fn a_proxy_that_hides_its_client_is_the_client() {
        for hidden in ["unknown", "_secret", "", "1.2.3", "\u{e9}"] {
            is("10.0.0.1", &[("x-forwarded-for", &format!("198.51.100.1, {hidden}"))], "10.0.0.1");
            is("10.0.0.1", &[("forwarded", &format!("for=198.51.100.1, for={hidden}"))], "10.0.0.1");
        }
        is("10.0.0.1", &[("forwarded", "for=198.51.100.1, by=10.0.0.1;proto=http")], "10.0.0.1");
        is("10.0.0.1", &[("forwarded", "for=\"203.0.113.9, for=198.51.100.1")], "198.51.100.1");
    }

    #[test]
    fn two_headers_must_say_the_same() {
        is("10.0.0.1", &[("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=198.51.100.1")], "198.51.100.1");
        let lines = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=203.0.113.9")];
        assert_eq!(client("10.0.0.1", &lines), Err(Disagreement));
    }
}

//! Addresses and hosts, as limits and routing compare them; how much is read of a socket at once, and whether a body is whole.

mod base;
mod incoming;
mod trusted;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

pub(crate) use self::base::BaseUrl;
pub(crate) use self::incoming::{ClientBody, ClientBodyError};
pub(crate) use self::trusted::{Disagreement, Trusted};

/// The most that is read at once of a body, and so written of it: two packets of 64 KiB, which is how the kernel passes long
/// ones on, with room for their heads. 128 KiB would be two and a very small third, for which a peer is woken once more: a
/// body costs a fifth more. hyper's own 400 KiB would be kept for each connection on which a long body came, and for each
/// answer that nobody takes. It is the longest head of a vendor's answer over HTTP/1.1, too.
pub(crate) const READ_BUFFER: usize = 112 << 10;

/// Whom a limit per address counts: an IPv4 address, or the /64 of an IPv6 one, because a single host commonly has
/// the whole of that network and could change its address with each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Neighbourhood(IpAddr);

impl Neighbourhood {
    /// The neighbourhood of `address`; an IPv4 address that is written in IPv6 is the IPv4 one.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => Self(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64))),
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }

    /// Its bits, distinct for distinct neighbourhoods.
    pub(crate) fn bits(self) -> u128 {
        match self.0 {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }
}

impl fmt::Display for Neighbourhood {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The name in an authority (`host`, `host:port`, `[v6]:port`), without its port and trailing dot.
pub(crate) fn host_name(authority: &str) -> &str {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Appends `text` with all but unreserved characters percent-encoded (RFC 3986 §2.3).
pub(crate) fn percent_encode(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-') {
            out.push(char::from(byte));
        } else {
            out.extend(['%', char::from(DIGITS[usize::from(byte >> 4)]), char::from(DIGITS[usize::from(byte & 15)])]);
        }
    }
}

/// The text that `text` encodes, `+` for a space; nothing if an escape is malformed or the whole is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// Whether `host` (a name or an address, without brackets) never leaves this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbourhood(text: &str) -> Neighbourhood {
        Neighbourhood::of(text.parse().expect("an address"))
    }

    #[test]
    fn ipv6_is_counted_by_its_64() {
        assert_eq!(neighbourhood("2001:db8::1"), neighbourhood("2001:db8::ffff:1"));
        assert_ne!(neighbourhood("2001:db8::1"), neighbourhood("2001:db8:0:1::1"));
        assert_eq!(neighbourhood("::ffff:192.0.2.1"), neighbourhood("192.0.2.1"));
        assert_ne!(neighbourhood("192.0.2.1"), neighbourhood("192.0.2.2"));
    }

    #[test]
    fn a_host_is_compared_without_port_and_trailing_dot() {
        assert_eq!(host_name("example.com:8443"), "example.com");
        assert_eq!(host_name("example.com."), "example.com");
        assert_eq!(host_name("[::1]:80"), "::1");
        assert!(is_loopback("127.0.0.1") && is_loopback("localhost") && is_loopback("::1"));
        assert!(!is_loopback("10.0.0.1"));
    }
}

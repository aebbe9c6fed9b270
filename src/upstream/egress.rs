//! Which addresses a connection may go to.
//!
//! The names that are resolved are the operator's own: those of `base_url` and `proxy`, never one that a caller or a
//! vendor's answer gave. What is left to fear is a name that no longer means what the operator meant, because whoever
//! has its DNS points it elsewhere. So an address is judged after the name was resolved, and exactly the judged address
//! is dialled: a second look-up could give another one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why no connection goes to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Forbidden {
    /// Services of the cloud or the network segment that trust whoever can reach them: they hand out credentials.
    #[error("is a link-local or metadata address")]
    Metadata,
    /// This machine, although the name is not one of this machine's.
    #[error("is this machine, and the name is not (DNS rebinding)")]
    Loopback,
    /// No single host.
    #[error("is no address of a host")]
    NoHost,
}

/// Metadata services outside of the link-local ranges: Alibaba Cloud, Azure's platform, Oracle Cloud; and AWS and Google
/// Cloud over IPv6.
const METADATA_V4: &[Ipv4Addr] =
    &[Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: &[Ipv6Addr] =
    &[Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Whether a connection may go to `address`; `is_local` says that the name itself is one of this machine's.
///
/// Private networks (RFC 1918, ULA, RFC 6598) are allowed: vendors' private endpoints, models on the premises and
/// outgoing gateways stand there, and a name that was bent to a host there gains nothing from us, since it has no
/// certificate for the vendor's name. Plain HTTP, which knows no certificates, needs `insecure = true` as it is.
pub(super) fn check(address: IpAddr, is_local: bool) -> Result<(), Forbidden> {
    match address {
        IpAddr::V4(v4) => check_v4(v4, is_local),
        IpAddr::V6(v6) => check_v6(v6, is_local),
    }
}

fn check_v4(address: Ipv4Addr, is_local: bool) -> Result<(), Forbidden> {
    if address.is_link_local() || METADATA_V4.contains(&address) {
        return Err(Forbidden::Metadata);
    }
    // 0.0.0.0/8 is this machine for Linux; 240.0.0.0/4 holds the broadcast address and nothing that is in use.
    if address.octets()[0] == 0 || address.octets()[0] >= 240 || address.is_multicast() {
        return Err(Forbidden::NoHost);
    }
    if address.is_loopback() && !is_local {
        return Err(Forbidden::Loopback);
    }
    Ok(())
}

fn check_v6(address: Ipv6Addr, is_local: bool) -> Result<(), Forbidden> {
    let first = address.segments()[0];
    // fe80::/10, and fec0::/10 that came before ULA.
    if first & 0xff80 == 0xfe80 || METADATA_V6.contains(&address) {
        return Err(Forbidden::Metadata);
    }
    if address.is_unspecified() || address.is_multicast() {
        return Err(Forbidden::NoHost);
    }
    if address.is_loopback() {
        return if is_local { Ok(()) } else { Err(Forbidden::Loopback) };
    }
    embedded(address).into_iter().flatten().try_for_each(|v4| check_v4(v4, is_local))
}

/// The IPv4 addresses that an IPv6 address may stand for: a router or the kernel could make one of it.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let bits = address.to_bits();
    let at = |shift: u32| Some(Ipv4Addr::from_bits(u32::try_from(bits >> shift & 0xffff_ffff).unwrap_or_default()));
    match address.segments() {
        // Mapped (RFC 4291 §2.5.5.2), its translated form (RFC 2765), compatible; NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0, 0, 0, 0, 0, 0, ..] => [at(0), None],
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => [at(0), None],
        // NAT64 of a network's own (RFC 8215): as a /96, or as a /48 with eight bits left free in the middle.
        [0x64, 0xff9b, 1, high, low, last, ..] => {
            let [middle, rest] = [low & 0xff, last >> 8];
            let split = u32::from(high) << 16 | u32::from(middle) << 8 | u32::from(rest);
            // The reading that is not meant is all zeros.
            [at(0), Some(Ipv4Addr::from_bits(split))].map(|v4| v4.filter(|v4| !v4.is_unspecified()))
        }
        // 6to4 (RFC 3056).
        [0x2002, ..] => [at(80), None],
        // Teredo (RFC 4380): the server, and the client with its bits turned over.
        [0x2001, 0, ..] => [at(64), at(0).map(|client| Ipv4Addr::from_bits(!client.to_bits()))],
        // ISATAP (RFC 5214).
        [.., 0 | 0x200, 0x5efe, _, _] => [at(0), None],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str, is_local: bool) -> Result<(), Forbidden> {
        check(text.parse().unwrap(), is_local)
    }

    #[test]
    fn link_local_and_metadata_addresses_are_refused_however_they_are_written() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::",
            "2001:0:102:304::5601:5601",
            "2001:db8::5efe:169.254.169.254",
        ] {
            assert_eq!(judged(address, false), Err(Forbidden::Metadata), "{address}");
            assert_eq!(judged(address, true), Err(Forbidden::Metadata), "{address}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for address in ["0.0.0.0", "0.1.2.3", "255.255.255.255", "240.0.0.1", "224.0.0.1", "::", "ff02::1", "::0.0.0.1"]
        {
            let refused = judged(address, false);
            assert!(refused.is_err(), "{address}");
        }
        assert_eq!(judged("::ffff:255.255.255.255", true), Err(Forbidden::NoHost));
    }

    #[test]
    fn this_machine_is_reached_by_its_own_names_only() {
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "2002:7f00:1::"] {
            assert_eq!(judged(address, false), Err(Forbidden::Loopback), "{address}");
            assert_eq!(judged(address, true), Ok(()), "{address}");
        }
    }

    #[test]
    fn public_and_private_addresses_are_allowed() {
        for address in
            ["203.0.113.7", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "2606:4700::1111", "fd12::1"]
        {
            assert_eq!(judged(address, false), Ok(()), "{address}");
        }
    }
}

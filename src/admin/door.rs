//! Who may come in: no page of a browser, and for the API only an operator.
//!
//! A page that an operator looks at can make calls to this machine. It says so with `Origin`, or, where its own name was
//! made to point here (DNS rebinding), with a `Host` that is not the listener's: an address cannot be made to point
//! elsewhere, a name can.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Request, header};

use super::{Admin, Door, Peer};
use crate::access::{Credential, Operator};
use crate::fault::{Code, Fault};

/// The port that a `Host` without one means.
const USUAL_PORT: u16 = 80;

/// Whether the request is no page's, and meant for the listener behind `door`.
pub(super) fn check<B>(request: &Request<B>, door: &Door) -> Result<(), Fault> {
    if request.headers().contains_key(header::ORIGIN) {
        return Err(Fault::new(Code::OriginNotAllowed, "no page may call the admin listener"));
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none()).and_then(|host| host.to_str().ok());
    let is_meant = |host: &str| match door {
        Door::Address { address, .. } => is_own(host, *address),
        // It has no address of its own; clients write this one.
        Door::Socket(_) => host.eq_ignore_ascii_case("localhost"),
    };
    let is_own = host.is_some_and(is_meant) && request.uri().authority().is_none();
    let wanted = match door {
        Door::Address { .. } => "call the admin listener by its address",
        Door::Socket(_) => "call the admin listener's socket as http://localhost/",
    };
    if is_own { Ok(()) } else { Err(Fault::new(Code::HostNotAllowed, wanted)) }
}

/// Whether `host` is the address of the listener. Where it listens on all addresses, any is.
fn is_own(host: &str, listener: SocketAddr) -> bool {
    let is_everywhere = listener.ip().is_unspecified();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(USUAL_PORT)),
    };
    let is_named = match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => is_everywhere || address.to_canonical() == listener.ip().to_canonical(),
        Err(_name) => name.eq_ignore_ascii_case("localhost") && (is_everywhere || listener.ip().is_loopback()),
    };
    is_named && port == Some(listener.port())
}

impl Admin {
    /// The operator who calls: by the operators' secret, or because nobody else comes through the socket.
    pub(super) fn prove(&self, headers: &HeaderMap, peer: Peer) -> Result<Operator, Fault> {
        let (known, address) = match (&self.door, peer) {
            (Door::Socket(socket), _) => return Ok(Operator::at(socket)),
            (Door::Address { operator: Some(known), .. }, Peer::Address(address)) => (known, address),
            (Door::Address { .. }, _) => {
                return Err(Fault::new(
                    Code::NotFound,
                    "the admin API is off: the configuration has no admin.secret_sha256",
                ));
            }
        };
        let credential = Credential::presented(headers, None, None, false)?;
        self.api().access.identify_operator(credential, known, address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listeners_own_address_is_its_host() {
        let own = |host: &str, listener: &str| is_own(host, listener.parse().unwrap());
        for host in ["127.0.0.1:9090", "localhost:9090", "LocalHost:9090"] {
            assert!(own(host, "127.0.0.1:9090"), "{host}");
        }
        for host in
            ["127.0.0.1", "127.0.0.1:9091", "evil.example.com:9090", "192.0.2.1:9090", "", ":9090", "a@localhost:9090"]
        {
            assert!(!own(host, "127.0.0.1:9090"), "{host}");
        }
        assert!(
            own("[::1]:9090", "[::1]:9090") && own("10.0.0.7:9090", "0.0.0.0:9090") && own("10.0.0.7", "0.0.0.0:80")
        );
        assert!(!own("evil.example.com:9090", "0.0.0.0:9090") && !own("localhost:9090", "10.0.0.7:9090"));
    }
}

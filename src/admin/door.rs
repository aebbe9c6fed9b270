//! Who may come in: no page of a browser, and for the API only an operator.
//!
//! A page that an operator looks at can make calls to this machine. It says so with `Origin`, or, where its own name was
//! made to point here (DNS rebinding), with a `Host` that is not the listener's: an address cannot be made to point
//! elsewhere, a name can.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Request, header};

use super::Admin;
use crate::access::Credential;
use crate::fault::{Code, Fault};

/// The port that a `Host` without one means.
const USUAL_PORT: u16 = 80;

/// Whether the request is no page's, and meant for the listener at `address`.
pub(super) fn check<B>(request: &Request<B>, address: SocketAddr) -> Result<(), Fault> {
    if request.headers().contains_key(header::ORIGIN) {
        return Err(Fault::new(Code::OriginNotAllowed, "no page may call the admin listener"));
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none()).and_then(|host| host.to_str().ok());
    let is_own = host.is_some_and(|host| is_own(host, address)) && request.uri().authority().is_none();
    if is_own { Ok(()) } else { Err(Fault::new(Code::HostNotAllowed, "call the admin listener by its address")) }
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
    /// Whether the request carries the operators' secret.
    pub(super) fn prove(&self, headers: &HeaderMap, address: IpAddr) -> Result<(), Fault> {
        let Some(operator) = &self.operator else {
            return Err(Fault::new(
                Code::NotFound,
                "the admin API is off: the configuration has no admin.secret_sha256",
            ));
        };
        let failure = match Credential::presented(headers, None, None, false)? {
            Credential::Client(secret) if operator.has_secret(secret) => return Ok(()),
            Credential::None => {
                return Err(Fault::new(Code::CredentialRequired, "send the operators' secret as a Bearer token"));
            }
            Credential::Client(_) | Credential::Token(_) => {
                Fault::new(Code::InvalidClient, "this is not the operators' secret")
            }
        };
        self.api.access.count_failure(address)?;
        Err(failure)
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

//! Which hosts a TLS connection is for: the name that the client asked for, and what the certificate covers.
//!
//! A client may send calls for other hosts on a connection that it has (RFC 9113 §9.1.1), but only where the certificate
//! is theirs too. Any other is a mistake, or somebody who goes around what a balancer decided by the name.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;

use super::certificate::covers;

/// The hosts that one connection is for.
pub(crate) struct Names {
    /// The name of the handshake (SNI, RFC 6066 §3).
    asked: String,
    certificate: Arc<CertificateDer<'static>>,
    /// The last other host that the certificate covers: a client that uses a connection for two names asks for the same
    /// two again and again, and reading a certificate costs microseconds.
    other: Mutex<String>,
}

impl fmt::Debug for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Names").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Names {
    /// The names of a connection whose handshake is done. Nothing where the client asked for no name: by an address, or
    /// by a client that is too old to say it, nothing can be told.
    pub(super) fn of(connection: &ServerConnection, certificate: &Arc<CertificateDer<'static>>) -> Option<Self> {
        let asked = connection.server_name()?;
        Some(Self::new(asked, Arc::clone(certificate)))
    }

    fn new(asked: &str, certificate: Arc<CertificateDer<'static>>) -> Self {
        let asked = asked.strip_suffix('.').unwrap_or(asked).to_owned();
        Self { asked, certificate, other: Mutex::default() }
    }

    /// Whether a call for `host` (a name or an address, without port, brackets and trailing dot) belongs on this
    /// connection.
    pub(crate) fn cover(&self, host: &str) -> bool {
        if self.asked.eq_ignore_ascii_case(host) {
            return true;
        }
        let mut other = self.other.lock();
        if !other.is_empty() && other.eq_ignore_ascii_case(host) {
            return true;
        }
        let is_covered = covers(&self.certificate, host);
        if is_covered {
            other.clear();
            other.push_str(host);
        }
        is_covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_for_the_name_asked_for_and_for_what_the_certificate_covers() {
        let covered = ["chat.example.com", "*.preview.example.com", "192.0.2.7", "2001:db8::7"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(covered).unwrap();
        let names = Names::new("front.example.net.", Arc::new(made.cert.der().clone()));

        for host in ["front.example.net", "FRONT.example.net", "chat.example.com", "Chat.Example.com"] {
            assert!(names.cover(host), "{host}");
        }
        for host in ["a.preview.example.com", "192.0.2.7", "2001:db8::7", "chat.example.com", "front.example.net"] {
            assert!(names.cover(host), "{host}");
        }
        for host in ["example.com", "a.b.preview.example.com", "evil.example.com", "192.0.2.8", "", "*", "a b"] {
            assert!(!names.cover(host), "{host}");
        }
    }
}

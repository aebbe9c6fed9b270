//! What our own certificate says: from when to when it is good, and for which hosts.
//!
//! TLS shows it whatever it says; it is the clients who refuse it then. So it is looked at before it is shown.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::clock::Timestamp;

/// So long before its end somebody must hear of it: programs that renew certificates do it 30 days before.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A certificate that clients are shown.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    der: Arc<CertificateDer<'static>>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Certificate {
    /// Reads it; nothing if it is none.
    pub(super) fn read(der: CertificateDer<'static>) -> Option<Self> {
        let (_behind, read) = parse_x509_certificate(&der).ok()?;
        let (not_before, not_after) = (moment(read.validity().not_before), moment(read.validity().not_after));
        Some(Self { der: Arc::new(der), not_before, not_after })
    }

    /// The certificate itself.
    pub(super) fn der(&self) -> &Arc<CertificateDer<'static>> {
        &self.der
    }

    /// When it ends.
    pub(super) fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Why clients refuse it at `now`, if they do.
    pub(super) fn fault(&self, now: Timestamp) -> Option<String> {
        if self.not_after < now {
            Some(format!("has expired: it ended at {}, and clients refuse it", self.not_after))
        } else if now < self.not_before {
            Some(format!("is good only from {} on, and clients refuse it until then", self.not_before))
        } else {
            None
        }
    }

    /// What is probably not meant, where clients know us as `host`.
    pub(super) fn warnings(&self, now: Timestamp, host: Option<&str>) -> Vec<String> {
        let is_soon = self.not_after.since(now) < SOON.min(self.not_after.since(self.not_before) / 3);
        let soon = || is_soon.then(|| format!("ends soon, at {}: renew it", self.not_after));
        let host = host.filter(|host| !covers(&self.der, host));
        let elsewhere = host.map(|host| format!("is not for {host}, the host of public_url: clients refuse it there"));
        self.fault(now).or_else(soon).into_iter().chain(elsewhere).collect()
    }
}

/// Whether a certificate is for `host`: a name or an address, without port, brackets and trailing dot.
pub(super) fn covers(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let (Ok(certificate), Ok(name)) = (ParsedCertificate::try_from(certificate), ServerName::try_from(host)) else {
        return false;
    };
    verify_server_name(&certificate, &name).is_ok()
}

fn moment(time: ASN1Time) -> Timestamp {
    Timestamp::from_seconds(u64::try_from(time.timestamp()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Good from 2027-01-01 to 2027-04-01.
    fn certificate() -> Certificate {
        let mut params = CertificateParams::new(vec!["chat.example.com".to_owned(), "2001:db8::7".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2027, 1, 1), date_time_ymd(2027, 4, 1));
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::read(made.der().clone()).unwrap()
    }

    #[test]
    fn a_certificate_that_clients_refuse_or_will_soon_is_warned_of() {
        let certificate = certificate();
        let (begins, ends) = (Timestamp::from_seconds(1_798_761_600), Timestamp::from_seconds(1_806_537_600));
        assert_eq!(certificate.not_after(), ends);
        let said = |now| certificate.warnings(now, Some("chat.example.com"));
        assert_eq!(said(begins), [""; 0]);
        assert_eq!(said(begins.plus(70 * DAY)), [""; 0]);
        assert_eq!(said(begins.plus(80 * DAY)), ["ends soon, at 2027-04-01T00:00:00Z: renew it"]);
        assert_eq!(said(ends.plus(DAY)), ["has expired: it ended at 2027-04-01T00:00:00Z, and clients refuse it"]);
        let early = said(Timestamp::from_seconds(1_790_000_000));
        assert_eq!(early, ["is good only from 2027-01-01T00:00:00Z on, and clients refuse it until then"]);
        assert!(certificate.fault(begins.plus(80 * DAY)).is_none() && certificate.fault(ends.plus(DAY)).is_some());
    }

    #[test]
    fn a_certificate_for_other_hosts_than_public_url_is_warned_of() {
        let (certificate, now) = (certificate(), Timestamp::from_seconds(1_800_000_000));
        for host in [Some("chat.example.com"), Some("2001:db8::7"), None] {
            assert_eq!(certificate.warnings(now, host), [""; 0], "{host:?}");
        }
        let found = certificate.warnings(now, Some("www.example.com"));
        assert_eq!(found, ["is not for www.example.com, the host of public_url: clients refuse it there"]);
    }

    #[test]
    fn what_is_no_certificate_is_not_read_as_one() {
        assert!(Certificate::read(CertificateDer::from(b"\x30\x03\x02\x01\x05".as_slice())).is_none());
    }
}

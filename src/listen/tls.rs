//! TLS towards clients: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::Certificate;
use super::names::Names;
use super::stream::Stream;
use crate::clock::Timestamp;
use crate::secret::{read_private, unreadable};

/// The TLS side of a listener.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ArcSwap<Identity>>);

/// What clients are shown.
#[derive(Debug)]
struct Identity {
    config: Arc<ServerConfig>,
    /// The one that is shown to every client.
    certificate: Certificate,
}

impl Tls {
    /// The handshake with a client.
    pub(super) async fn accept(&self, stream: Stream) -> io::Result<TlsStream<Stream>> {
        let config = Arc::clone(&self.0.load().config);
        TlsAcceptor::from(config).accept(stream).await
    }

    /// The hosts that this connection is for, if its client has said one.
    pub(super) fn names(&self, stream: &TlsStream<Stream>) -> Option<Arc<Names>> {
        Names::of(stream.get_ref().1, self.0.load().certificate.der()).map(Arc::new)
    }

    /// From now on clients are shown what `other` shows.
    ///
    /// # Errors
    ///
    /// Why clients would refuse its certificate at `now`, where they do not refuse this one: it stays.
    pub fn become_like(&self, other: &Self, now: Timestamp) -> Result<(), String> {
        let other = other.0.load_full();
        match other.certificate.fault(now).filter(|_| self.0.load().certificate.fault(now).is_none()) {
            Some(fault) => Err(fault),
            None => {
                self.0.store(other);
                Ok(())
            }
        }
    }

    /// Whether clients take its certificate at `now`, as far as that is a matter of time.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.0.load().certificate.fault(now).is_none()
    }

    /// When the certificate ends that clients are shown.
    pub fn not_after(&self) -> Timestamp {
        self.0.load().certificate.not_after()
    }

    /// What is probably not meant of the certificate at `now`, where clients know us as `host`.
    pub(super) fn warnings(&self, now: Timestamp, host: Option<&str>) -> Vec<String> {
        self.0.load().certificate.warnings(now, host)
    }
}

/// The TLS side of a listener with this certificate chain and key.
///
/// # Errors
///
/// What is wrong with one of the files, and what to do.
pub(super) fn read(cert: &Path, key: &Path) -> Result<Tls, String> {
    let chain = certificates(cert)?;
    let certificate = chain
        .first()
        .cloned()
        .and_then(Certificate::read)
        .ok_or_else(|| format!("the first certificate in {} is damaged: it cannot be read", cert.display()))?;
    let private = private_key(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    if provider.key_provider.load_private_key(private.clone_key()).is_err() {
        return Err(format!("the private key in {} is damaged, or of a kind that TLS has no use for", key.display()));
    }
    let failed = |error: rustls::Error| format!("{} and {} do not go together: {error}", cert.display(), key.display());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(failed)?;
    // A session is taken up again by what its ticket says (RFC 8446 §2.2, RFC 5077), sealed under keys that change every six
    // hours: any number of visitors, and no list of them. The keys are this certificate's: under another one nobody goes on.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(failed)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Tls(Arc::new(ArcSwap::from_pointee(Identity { config: Arc::new(config), certificate }))))
}

/// The certificates in a file, the first that of its owner.
///
/// # Errors
///
/// There is none, or what is there is damaged.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    match CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(found) if found.is_empty() => Err(format!("{shown} holds no certificate; it must be PEM")),
        Ok(found) => Ok(found),
        Err(pem::Error::Io(error)) => Err(unreadable(path, &error)),
        // Its text may have what stands in the file, which may be the wrong one.
        Err(_damaged) => Err(format!("{shown} holds a certificate that is damaged, or is no PEM")),
    }
}

/// The private key in a file that only its owner (and group) can read.
///
/// # Errors
///
/// What is wrong with it, and what to do; nothing of what is in it.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let (text, shown) = (read_private(path)?, path.display());
    // RFC 5958, and what OpenSSL wrote before it (RFC 1421).
    if ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"].iter().any(|mark| text.contains(mark)) {
        return Err(format!("{shown} is encrypted; decrypt it: openssl pkey -in {shown} -out FILE"));
    }
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(format!("{shown} holds no private key; it must be PEM")),
        Err(_damaged) => Err(format!("{shown} holds a private key that is damaged, or is no PEM")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What is said of a certificate and a key that read so.
    fn said(cert: &str, key: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let files = [("tls.crt", cert), ("tls.key", key)].map(|(name, text)| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            file
        });
        let said = read(&files[0], &files[1]).unwrap_err();
        assert!(said.contains("tls.crt") || said.contains("tls.key"), "{said}");
        said.replace(&format!("{}/", folder.path().display()), "")
    }

    fn made() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_a_key_is_told_and_nothing_of_it() {
        let (cert, key) = made();
        let encrypted =
            key.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE").replace("END PRIVATE", "END ENCRYPTED PRIVATE");
        assert_eq!(said(&cert, &encrypted), "tls.key is encrypted; decrypt it: openssl pkey -in tls.key -out FILE");
        let traditional = key.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n");
        assert!(said(&cert, &traditional).contains("is encrypted"));
        assert_eq!(said(&cert, &cert), "tls.key holds no private key; it must be PEM");
        assert_eq!(said(&cert, ""), "tls.key holds no private key; it must be PEM");
        let cut = key.split("-----END").next().unwrap();
        assert_eq!(said(&cert, cut), "tls.key holds a private key that is damaged, or is no PEM");
        let other = key.replace("MIGH", "MIGG");
        assert_eq!(said(&cert, &other), "the private key in tls.key is damaged, or of a kind that TLS has no use for");
        assert!(said(&cert, &made().1).starts_with("tls.crt and tls.key do not go together: "));
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told() {
        let (cert, key) = made();
        assert_eq!(said(&key, &key), "tls.crt holds no certificate; it must be PEM");
        let cut = cert.split("-----END").next().unwrap();
        assert_eq!(said(cut, &key), "tls.crt holds a certificate that is damaged, or is no PEM");
        let damaged = cert.replacen("MII", "MIH", 1);
        assert_eq!(said(&damaged, &key), "the first certificate in tls.crt is damaged: it cannot be read");
    }
}

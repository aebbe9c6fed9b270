//! TLS towards clients: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
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

    /// When the certificate ends that clients are shown.
    pub fn not_after(&self) -> Timestamp {
        self.0.load().certificate.not_after()
    }

    /// What is hardly meant of the certificate at `now`, where clients know us as `host`.
    pub(super) fn doubts(&self, now: Timestamp, host: Option<&str>) -> Vec<String> {
        self.0.load().certificate.doubts(now, host)
    }
}

/// The TLS side of a listener with this certificate chain and key.
///
/// # Errors
///
/// What is wrong with one of the files, and what to do.
pub(super) fn read(cert: &Path, key: &Path) -> Result<Tls, String> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect).map_err(|error| unreadable(cert, &error))?;
    let Some(first) = chain.first().cloned() else {
        return Err(format!("{} holds no certificate; it must be PEM, the server's own first", cert.display()));
    };
    let certificate = Certificate::read(first)
        .ok_or_else(|| format!("the first certificate in {} is damaged: it cannot be read", cert.display()))?;
    let text = read_private(key)?;
    let private = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| unreadable(key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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

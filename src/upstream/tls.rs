//! TLS towards a vendor: its certificate is always checked, for its own name. There is no key to switch that off.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::document::{Environment, Table, Value};
use crate::listen::{certificates, private_key};

/// Whom a vendor's certificate must come from, and how the gateway shows itself.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// The authorities of `ca`; absent: those of this machine.
    roots: Option<RootCertStore>,
    /// The chain and key of `client_cert`.
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Trust {
    /// Reads `ca` and `client_cert`.
    pub(super) fn read(table: &Table<'_>, environment: &Environment) -> Option<Self> {
        let roots = table.get("ca").map(|value| {
            let path = environment.input(value.text()?);
            authorities(&path).map_err(|message| value.problem(message)).ok()
        });
        let identity = table.get("client_cert").map(|value| {
            let section = value.table()?;
            let cert = section.required("cert", "the file of the certificate chain, in PEM");
            let key = section.required("key", "the file of its private key, in PEM");
            let (cert, key) = (environment.input(cert?.text()?), environment.input(key?.text()?));
            identity(&cert, &key).map_err(|message| value.problem(message)).ok()
        });
        let is_read = !matches!(roots, Some(None)) && !matches!(identity, Some(None));
        is_read.then(|| Self { roots: roots.flatten(), identity: identity.flatten() })
    }

    /// Whether anything was said.
    pub(super) fn is_said(&self) -> bool {
        self.roots.is_some() || self.identity.is_some()
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{} holds what is no authority's certificate: {error}", path.display()))?;
    }
    Ok(roots)
}

fn identity(cert: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = certificates(cert)?;
    Ok((chain, private_key(key)?))
}

/// How a vendor's certificate is checked, and what is offered to it.
#[derive(Debug)]
pub(super) struct Tls {
    /// Whose certificate it must be.
    pub(super) name: ServerName<'static>,
    /// Offers all that a pool can use.
    pub(super) any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone: for connections that shall become something else than HTTP.
    pub(super) http1: Arc<ClientConfig>,
}

impl Tls {
    /// With aws-lc. What is wrong is noted at `value`.
    pub(super) fn new(name: ServerName<'static>, trust: Trust, value: &Value<'_>) -> Option<Self> {
        let roots = match trust.roots {
            Some(roots) => roots,
            None => native_roots(value)?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_root_certificates(roots))
            .and_then(|builder| match trust.identity {
                None => Ok(builder.with_no_client_auth()),
                Some((chain, key)) => builder.with_client_auth_cert(chain, key),
            });
        let mut http1 = match config {
            Ok(config) => config,
            Err(error) => {
                value.problem(format!("TLS cannot be set up, is `client_cert` a pair? {error}"));
                return None;
            }
        };
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut any = http1.clone();
        any.alpn_protocols.insert(0, b"h2".to_vec());
        Some(Self { name, any: Arc::new(any), http1: Arc::new(http1) })
    }
}

/// This machine's own store of authorities.
fn native_roots(value: &Value<'_>) -> Option<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        value.problem(format!(
            "this machine has no certificate authorities to check the vendor against{why}; install them (Debian: apt-get \
             install ca-certificates), or name the vendor's own with `ca`",
        ));
        return None;
    }
    Some(roots)
}

//! TLS towards a vendor: its certificate is always checked, for its own name.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use crate::document::Value;

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
    /// Against this machine's own store of authorities, with aws-lc. What is wrong is noted at `value`.
    pub(super) fn new(name: ServerName<'static>, value: &Value<'_>) -> Option<Self> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            value.problem(
                "this machine has no certificate authorities to check the vendor against; install them (Debian: \
                 apt-get install ca-certificates)",
            );
            return None;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut http1 = match versions {
            Ok(builder) => builder.with_root_certificates(roots).with_no_client_auth(),
            Err(error) => {
                value.problem(format!("TLS cannot be set up: {error}"));
                return None;
            }
        };
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let any = http1.clone();
        Some(Self { name, any: Arc::new(any), http1: Arc::new(http1) })
    }
}

//! One new connection to a vendor.

use std::sync::Arc;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::body::RequestBody;
use super::{SendError, Upstream};
use crate::document::Value;

/// How this machine checks vendors' certificates: against its own store of authorities, with aws-lc.
pub(super) fn client_config(value: &Value<'_>) -> Option<Arc<ClientConfig>> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        value.problem(
            "this machine has no certificate authorities to check the vendor against; install them (Debian: apt-get \
             install ca-certificates)",
        );
        return None;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = match versions {
        Ok(builder) => builder.with_root_certificates(roots).with_no_client_auth(),
        Err(error) => {
            value.problem(format!("TLS cannot be set up: {error}"));
            return None;
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(Arc::new(config))
}

/// Connects, and leaves the connection's own work to a task of this worker.
pub(super) async fn connect(upstream: &Upstream) -> Result<SendRequest<RequestBody>, SendError> {
    let opening = open(upstream);
    match tokio::time::timeout(upstream.timeouts.connect, opening).await {
        Ok(result) => result,
        Err(_elapsed) => Err(SendError::Connect("no connection in time".into())),
    }
}

async fn open(upstream: &Upstream) -> Result<SendRequest<RequestBody>, SendError> {
    let failed = |error: std::io::Error| SendError::Connect(error.into());
    let stream = TcpStream::connect((upstream.host.as_str(), upstream.port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    match &upstream.tls {
        None => handshake(stream).await,
        Some((name, config)) => {
            let connector = TlsConnector::from(Arc::clone(config));
            handshake(connector.connect(name.clone(), stream).await.map_err(failed)?).await
        }
    }
}

async fn handshake(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<RequestBody>, SendError> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(io)).await.map_err(|error| SendError::Connect(error.into()))?;
    tokio::spawn(async move {
        // How a connection ends is told to the call that uses it; an idle one ends unheard.
        let _ended = connection.await;
    });
    Ok(sender)
}

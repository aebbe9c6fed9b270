//! A gateway that speaks TLS, and clients that trust its certificate.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, SupportedProtocolVersion};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authority::trusting;
use super::gateway::TestGateway;
use super::vendor::TestVendor;
use super::wire;

/// A gateway that speaks TLS, and the certificate to trust.
pub(crate) struct Secure {
    pub(crate) gateway: TestGateway,
    certificate: CertificateDer<'static>,
    _files: TempDir,
}

impl Secure {
    /// In front of `vendor`, with a certificate for `localhost` and `*.example.com`.
    pub(crate) fn in_front_of(vendor: &TestVendor) -> Self {
        let names = ["localhost", "*.example.com"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let files = tempfile::tempdir().unwrap();
        let (cert, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let lines = format!("tls = {{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display());
        let gateway = TestGateway::in_front_of(vendor).server(&lines).start();
        Self { gateway, certificate: made.cert.der().clone(), _files: files }
    }

    /// A connection that asks for `name`, or for none.
    pub(crate) async fn connect(
        &self,
        version: &'static SupportedProtocolVersion,
        alpn: &[&str],
        name: Option<&'static str>,
    ) -> TlsStream<TcpStream> {
        let mut config = self.client(version, alpn);
        config.enable_sni = name.is_some();
        self.connect_as(&Arc::new(config), name.unwrap_or("localhost")).await
    }

    /// A client that remembers its sessions.
    pub(crate) fn client(&self, version: &'static SupportedProtocolVersion, alpn: &[&str]) -> ClientConfig {
        trusting(&self.certificate, &[version], alpn)
    }

    /// A connection of this client that asks for `name`.
    pub(crate) async fn connect_as(&self, client: &Arc<ClientConfig>, name: &'static str) -> TlsStream<TcpStream> {
        let name = ServerName::try_from(name).unwrap();
        TlsConnector::from(Arc::clone(client)).connect(name, wire::connect(&self.gateway).await).await.unwrap()
    }

    /// The token of a session of `support`.
    pub(crate) async fn token(&self) -> String {
        let stream = self.connect(&rustls::version::TLS13, &[], Some("localhost")).await;
        let owner = self.gateway.owner.expose();
        let (_, status, minted) = self.post(stream, "localhost", "/v1/bots/support/sessions", owner, "{}").await;
        assert_eq!(status, 201);
        serde_json::from_slice::<Value>(&minted).unwrap()["token"].as_str().unwrap().to_owned()
    }

    /// A `POST` for `host` in the version that ALPN chose; its answer's body.
    pub(crate) async fn post(
        &self,
        stream: TlsStream<TcpStream>,
        host: &str,
        path: &str,
        bearer: &str,
        body: &'static str,
    ) -> (Version, u16, Bytes) {
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let (uri, host) =
            if is_http2 { (format!("https://{host}{path}"), None) } else { (path.to_owned(), Some(host)) };
        let mut request =
            Request::builder().method(Method::POST).uri(uri).header("authorization", format!("Bearer {bearer}"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body))).unwrap();
        let io = TokioIo::new(stream);
        let answer = if is_http2 {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        let (version, status) = (answer.version(), answer.status().as_u16());
        (version, status, answer.into_body().collect().await.unwrap().to_bytes())
    }
}

//! A certificate authority of the tests' own, made when they run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An authority, and the folder of its files.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, files: tempfile::tempdir().unwrap() };
        std::fs::write(authority.path("ca.crt"), authority.issuer.pem()).unwrap();
        authority
    }

    /// The line that makes a vendor's certificates come from this authority.
    pub(crate) fn ca(&self) -> String {
        format!("ca = \"{}\"", self.path("ca.crt").display())
    }

    /// The file of its certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// The line that gives the gateway a certificate of this authority, and the file of its key.
    pub(crate) fn client_cert(&self) -> (String, PathBuf) {
        let (certificate, key) = self.issue("gateway", |_| {});
        let pem = pem::encode("CERTIFICATE", &certificate);
        let (cert_file, key_file) = (self.path("client.crt"), self.path("client.key"));
        std::fs::write(&cert_file, pem).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let line = format!("client_cert = {{ cert = \"{}\", key = \"{}\" }}", cert_file.display(), key_file.display());
        (line, key_file)
    }

    /// The files of a certificate for the server `name` and of its key.
    pub(crate) fn server_files(&self, name: &str) -> (PathBuf, PathBuf) {
        self.files_of(name, |_| {})
    }

    fn files_of(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue(name, change);
        let (cert_file, key_file) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        std::fs::write(&cert_file, pem::encode("CERTIFICATE", &certificate)).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    /// Moves a new certificate for the server `name` into this folder, and its key, as programs that renew certificates
    /// do: `NAME.crt` and `NAME.key`.
    pub(crate) fn renew(&self, name: &str, folder: &Path) {
        self.renew_until(name, folder, 4000);
    }

    /// The same, with a certificate that ends with the beginning of this year.
    pub(crate) fn renew_until(&self, name: &str, folder: &Path, year: i32) {
        self.renew_with(name, folder, |params| params.not_after = date_time_ymd(year, 1, 1));
    }

    /// The same, with a certificate that is good only from then on.
    pub(crate) fn renew_from(&self, name: &str, folder: &Path, since_1970: Duration) {
        self.renew_with(name, folder, |params| params.not_before = date_time_ymd(1970, 1, 1) + since_1970);
    }

    fn renew_with(&self, name: &str, folder: &Path, change: impl FnOnce(&mut CertificateParams)) {
        let (cert, key) = self.files_of(name, change);
        let beside = folder.join("beside");
        for from in [cert, key] {
            std::fs::copy(&from, &beside).unwrap();
            std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(&beside, folder.join(from.file_name().unwrap())).unwrap();
        }
    }

    /// The certificate, of this authority and for this name, that is shown at the other end of a connection.
    pub(crate) async fn shown(&self, name: &'static str, stream: TcpStream) -> CertificateDer<'static> {
        let stream = Self::spoken(&self.client(rustls::ALL_VERSIONS), name, stream).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// A client that trusts this authority, and remembers its sessions.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        Arc::new(trusting(self.issuer.der(), versions, &[]))
    }

    /// The handshake of this client with the server `name`.
    pub(crate) async fn spoken(
        client: &Arc<ClientConfig>,
        name: &'static str,
        stream: TcpStream,
    ) -> TlsStream<TcpStream> {
        TlsConnector::from(Arc::clone(client)).connect(ServerName::try_from(name).unwrap(), stream).await.unwrap()
    }

    /// A server with a certificate for `localhost`, spoiled by `change`; it offers these protocols.
    pub(crate) fn server(&self, alpn: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        self.finish(builder.with_no_client_auth(), alpn, change)
    }

    /// A server that wants a certificate of this authority from its clients.
    pub(crate) fn strict_server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(only(self.issuer.der()));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().unwrap();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        self.finish(builder.with_client_cert_verifier(verifier), alpn, |_| {})
    }

    fn finish(
        &self,
        builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
        alpn: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue("localhost", change);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // Not the authority's own: OpenSSL would take the certificate for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

/// PEM, as far as one certificate needs it.
mod pem {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    pub(super) fn encode(label: &str, der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }
}

/// A client that trusts this certificate and those that it signed; it offers these protocols, and remembers its sessions.
pub(super) fn trusting(
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(only(certificate)).with_no_client_auth();
    config.alpn_protocols = protocols(alpn);
    config
}

fn only(certificate: &CertificateDer<'static>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    roots
}

fn protocols(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

//! A real HAProxy with the repository's own configuration, before three replicas, and connections to it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::authority::trusting;
use super::eventually;
use super::ports::free_address;

/// Where a replica listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Place {
    /// One of this machine that nobody uses.
    pub(crate) fn free() -> Self {
        Self { listen: free_address(), admin: free_address() }
    }
}

/// The repository's configuration, for these variables.
fn haproxy(variables: &[(String, String)]) -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy/haproxy.cfg");
    // Debian's place of it is in the path of root only.
    let usual = Path::new("/usr/sbin/haproxy");
    let mut command = Command::new(if usual.exists() { usual } else { Path::new("haproxy") });
    command.arg("-db").arg("-f").arg(file).env_clear().envs(variables.iter().cloned()).stdin(Stdio::null());
    command
}

fn variables(listen: SocketAddr, replicas: &[Place; 3]) -> Vec<(String, String)> {
    let mut variables = vec![("KEYSTILE_LISTEN".to_owned(), listen.to_string())];
    for (number, place) in (1..).zip(replicas) {
        variables.push((format!("REPLICA_{number}"), place.listen.to_string()));
        variables.push((format!("PROBE_{number}"), place.admin.to_string()));
    }
    variables
}

/// What HAProxy says of the configuration with these variables as well.
pub(crate) fn judged(more: &[(&str, &Path)]) -> Output {
    let replicas = [Place::free(), Place::free(), Place::free()];
    let mut variables = variables(free_address(), &replicas);
    variables.extend(more.iter().map(|(name, path)| ((*name).to_owned(), path.display().to_string())));
    haproxy(&variables).arg("-c").output().expect("haproxy is there; tests/run installs it")
}

/// A certificate for `localhost` made just now, and the file in which its key is, too.
pub(crate) fn certificate(folder: &Path) -> (CertificateDer<'static>, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = folder.join("localhost.pem");
    std::fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    (made.cert.der().clone(), file)
}

/// A call as it is in HAProxy's log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) server: String,
    /// -1 where nothing was answered.
    pub(crate) status: i32,
    /// How often a replica could not be reached, and another was tried.
    pub(crate) retries: u32,
}

impl Line {
    fn read(line: &str) -> Option<Self> {
        // As the configuration's `log-format` has them.
        let fields: Vec<&str> = line.split(' ').collect();
        let [_client, at, server, _times, status, _bytes, _state, retries, ..] = fields[..] else { return None };
        let (server, status) = (server.to_owned(), status.parse().ok().filter(|_| at.starts_with('['))?);
        // A `+` says that another replica was tried than the one before.
        Some(Self { server, status, retries: retries.trim_start_matches('+').parse().ok()? })
    }
}

/// An HAProxy at work, which speaks TLS. Dropping it ends it.
pub(crate) struct TestBalancer {
    process: Child,
    address: SocketAddr,
    connectors: [TlsConnector; 2],
    folder: TempDir,
}

/// Connections to it.
#[derive(Debug)]
pub(crate) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Whether the balancer has not closed it.
    pub(crate) async fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Makes a call, which is written as for HTTP/1.1.
    pub(crate) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => {
                let host = request.headers_mut().remove("host").unwrap();
                let place = format!("https://{}{}", host.to_str().unwrap(), request.uri());
                *request.uri_mut() = place.parse().unwrap();
                sender.send_request(request).await
            }
        }
    }
}

impl TestBalancer {
    /// Before these replicas, whose certificates come from this authority.
    pub(crate) async fn before(replicas: &[Place; 3], authority: &Path) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let (certificate, file) = certificate(folder.path());
        let mut variables = variables(address, replicas);
        variables.push(("KEYSTILE_CERTIFICATE".to_owned(), file.display().to_string()));
        variables.push(("KEYSTILE_REPLICA_CA".to_owned(), authority.display().to_string()));
        variables.push(("KEYSTILE_SERVED_BY".to_owned(), "yes".to_owned()));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = haproxy(&variables);
        let process = command.stdout(Stdio::null()).stderr(log).spawn();
        let process = process.expect("haproxy is there; tests/run installs it");
        let connectors = ["http/1.1", "h2"]
            .map(|protocol| TlsConnector::from(Arc::new(trusting(&certificate, rustls::ALL_VERSIONS, &[protocol]))));
        let balancer = Self { process, address, connectors, folder };
        eventually("haproxy", || std::net::TcpStream::connect(address).is_ok()).await;
        balancer
    }

    /// A connection from this address of the machine, by TLS, in this version of HTTP.
    pub(crate) async fn connect(&self, from: IpAddr, is_http2: bool) -> std::io::Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let connector = &self.connectors[usize::from(is_http2)];
        let stream = TokioIo::new(connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?);
        if is_http2 {
            let made = http2::handshake(TokioExecutor::new(), stream).await;
            let (sender, connection) = made.map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            return Ok(Connection::Http2(sender));
        }
        let (sender, connection) = http1::handshake(stream).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Connection::Http1(sender))
    }

    /// What it has written so far: one line a call, and what it thinks of the replicas.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The calls that it has seen end.
    pub(crate) fn calls(&self) -> Vec<Line> {
        self.log().lines().filter_map(Line::read).collect()
    }
}

impl Drop for TestBalancer {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

//! The way from a command to the admin listener of a running gateway.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::admin::Place;
use crate::cli::{ConfigFile, Outcome, complain, complain_of, complain_of_config};
use crate::config;
use crate::document::Environment;
use crate::secret::{Secret, read_private};
use crate::text::harmless;

/// Where the operators' secret is, unless a file is named.
const VARIABLE: &str = "KEYSTILE_ADMIN";
/// The gateway waits some seconds for its store, and for a vendor two minutes at most.
const PATIENCE: Duration = Duration::from_secs(130);

/// What the gateway calls the life of a token, which a command has by another name.
const DURATION: &str = "`durationInSeconds`";

/// How a running gateway is reached.
#[derive(Debug, Args)]
pub(in crate::cli) struct Reach {
    #[command(flatten)]
    file: ConfigFile,
    /// The file of the operators' secret; else the variable KEYSTILE_ADMIN has it. A Unix socket needs none.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Write JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A gateway that can be called.
pub(super) struct Gateway {
    place: Place,
    secret: Option<Secret>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("no gateway answers at {place}; it may not be running")]
    Connect { place: String, source: io::Error },
    #[error("the gateway does not answer in time")]
    Late,
    #[error("the gateway's answer cannot be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Reach {
    /// The gateway that the configuration says, and the operators' secret where it asks for one.
    pub(super) fn gateway(&self) -> Result<Gateway, Outcome> {
        let place = self.place()?;
        let secret = match &place {
            Place::Address(_) => Some(self.secret()?),
            Place::Socket(_) => None,
        };
        Ok(Gateway { place, secret })
    }

    fn place(&self) -> Result<Place, Outcome> {
        let settings = config::load_admin(&self.file.config).map_err(|error| complain_of_config(&error))?;
        match settings.place {
            Some(Place::Address(address)) => Ok(Place::Address(here(address))),
            Some(socket) => Ok(socket),
            None => {
                complain("keystile: admin.listen is \"off\": this gateway has no admin listener");
                Err(Outcome::Misused)
            }
        }
    }

    fn secret(&self) -> Result<Secret, Outcome> {
        let text = match &self.secret_file {
            Some(file) => read_private(file).map(|text| Secret::new(text.trim())),
            None => Environment::process("")
                .variable(VARIABLE)
                .map(Secret::new)
                .ok_or_else(|| format!("the operators' secret is needed: set {VARIABLE}, or name --secret-file")),
        };
        text.map_err(|wrong| {
            complain(format!("keystile: {wrong}"));
            Outcome::Misused
        })
    }
}

/// A gateway that listens on all addresses is on this machine, too.
fn here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let here = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(here);
    }
    address
}

impl Gateway {
    /// What it answers; what it refuses, or that it does not answer, is told.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Outcome> {
        match self.call(method, path, body) {
            Ok((status, answer)) if status.is_success() => Ok(answer),
            Ok((status, answer)) => {
                let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("the answer says nothing more");
                let detail = detail.replace(DURATION, "`--ttl` (`durationInSeconds`)");
                complain(format!("keystile: {}: {}", status.as_u16(), harmless(&detail)));
                Err(Outcome::Failed)
            }
            Err(error) => {
                complain_of(&error);
                Err(Outcome::Failed)
            }
        }
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value), CallError> {
        let request = self.request(method, path, body).map_err(|error| CallError::Unreadable(error.into()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CallError::Unreadable(error.into()))?;
        let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, self.exchange(request)).await });
        answer.unwrap_or(Err(CallError::Late))
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> http::Result<Request<Full<Bytes>>> {
        let host = match &self.place {
            Place::Address(address) => address.to_string(),
            Place::Socket(_) => "localhost".to_owned(),
        };
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if let Some(secret) = &self.secret {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", secret.expose()));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::from(body.map_or_else(String::new, Value::to_string)))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Value), CallError> {
        let away = |source| CallError::Connect { place: self.place.to_string(), source };
        match &self.place {
            Place::Address(address) => exchanged(TcpStream::connect(address).await.map_err(away)?, request).await,
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(away)?;
                is_trusted(&stream).map_err(away)?;
                exchanged(stream, request).await
            }
        }
        .map_err(CallError::Unreadable)
    }
}

/// Whether a gateway of this user's, or root's, is at the other end: what is told to another could be told to anybody.
fn is_trusted(stream: &UnixStream) -> io::Result<()> {
    let (peer, own) = (stream.peer_cred()?.uid(), rustix::process::geteuid());
    // Root calls gateways of any user.
    if peer == 0 || own.is_root() || peer == own.as_raw() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("user {peer} listens there, who is neither you nor root"),
    ))
}

async fn exchanged<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Value), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, if body.is_empty() { json!({}) } else { serde_json::from_slice(&body)? }))
}

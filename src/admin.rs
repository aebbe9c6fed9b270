//! The admin listener: probes and metrics for all who reach it, and an API for operators.
//!
//! It is a listener of its own, on one thread: an operator gets through however busy the workers are. It speaks plain
//! HTTP/1.1, at an address or at a Unix socket. Pages are kept out, whatever they have ([`door`]); the API needs the
//! operators' secret, but at a socket, where the system lets nobody else in. What is not built answers 404.

mod door;
mod metrics;
mod probes;
mod reloads;
mod sessions;
mod settings;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::reloads::Reloads;
pub(crate) use self::settings::{Place, Settings};
use crate::api::{Api, Refused, served};
use crate::bot::Client;
use crate::fault::{Blame, Code, Fault};
use crate::gateway;
use crate::id::RequestId;
use crate::listen::{self, Bounds, Drain, PrivateSocket, Tls};
use crate::telemetry::audit::Trace;

/// Connections at once: probes and a few operators. One more takes the place of the oldest on which no call is being carried
/// out, so that nobody who opens many and leaves them open keeps a probe out, or cuts an operator's call.
const CONNECTIONS: usize = 128;
/// For the head of a request, and between two requests.
const HEAD: Duration = Duration::from_secs(30);
/// The longest head.
const BUFFER: usize = 16 << 10;
/// How long to wait when the system gives no connection: of descriptors, say.
const PAUSE: Duration = Duration::from_millis(100);

/// What the listener answers with.
#[derive(Debug)]
struct Admin {
    api: Arc<ArcSwap<Api>>,
    door: Door,
    drain: Drain,
    /// What knows how many connections clients have.
    clients: Bounds,
    /// What clients are shown, where they speak TLS.
    tls: Option<Tls>,
    reloads: Reloads,
}

/// What of the gateway its operators are told about, besides its API.
#[derive(Debug)]
pub(crate) struct Watched {
    /// Whether it ends.
    pub drain: Drain,
    /// The bounds of its own listener, which know how many connections clients have.
    pub clients: Bounds,
    /// What that shows, where it speaks TLS.
    pub tls: Option<Tls>,
    /// What became of the last reload.
    pub reloads: Reloads,
}

/// Where one comes in, and what is asked for there.
#[derive(Debug)]
enum Door {
    Address {
        address: SocketAddr,
        /// Whose secret opens the API.
        operator: Option<Client>,
    },
    /// Nothing: it is the operator's own.
    Socket(PrivateSocket),
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Address(IpAddr),
    Socket,
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(formatter, "{address}"),
            Self::Socket => formatter.write_str("unix"),
        }
    }
}

/// What is bound.
#[derive(Debug)]
enum Listening {
    Address(std::net::TcpListener),
    Socket(std::os::unix::net::UnixListener),
}

/// An admin listener whose socket is bound.
#[derive(Debug)]
pub(crate) struct Bound {
    admin: Arc<Admin>,
    listening: Listening,
    place: Place,
}

impl Bound {
    /// Binds the socket. Nothing where the configuration has no such listener, or says nothing of it and its usual
    /// address is taken: a second gateway on the machine starts all the same, and says so.
    ///
    /// # Errors
    ///
    /// The place that the configuration names cannot be had.
    pub(crate) fn new(settings: Settings, api: Arc<ArcSwap<Api>>, watched: Watched) -> io::Result<Option<Self>> {
        let Settings { place: Some(place), is_written, operator } = settings else { return Ok(None) };
        let Watched { drain, clients, tls, reloads } = watched;
        let (door, listening, place) = match place {
            Place::Address(address) => match listen::bind(address, 1) {
                Ok((mut sockets, address)) => {
                    let socket = sockets.pop().ok_or_else(|| io::Error::other("there is no socket"))?;
                    let door = Door::Address { address, operator };
                    (door, Listening::Address(socket), Place::Address(address))
                }
                Err(error) if !is_written => {
                    tracing::warn!(%address, %error, "no admin listener; name another address as admin.listen, or \"off\"");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            },
            Place::Socket(path) => {
                let socket = PrivateSocket::bind(&path)?;
                let listening = Listening::Socket(socket.listener()?);
                (Door::Socket(socket), listening, Place::Socket(path))
            }
        };
        Ok(Some(Self { admin: Arc::new(Admin { api, door, drain, clients, tls, reloads }), listening, place }))
    }

    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Serves until `stopped`.
    ///
    /// # Errors
    ///
    /// The socket cannot be used.
    pub(crate) async fn serve(self, stopped: &CancellationToken) -> io::Result<()> {
        let listener = Listener::new(self.listening)?;
        let router = self.admin.router();
        let mut open = Vec::with_capacity(CONNECTIONS);
        loop {
            let served = listener.serve_next(&self.admin, &router, &mut open);
            tokio::select! {
                () = stopped.cancelled() => return Ok(()),
                accepted = served => if let Err(error) = accepted {
                    tracing::warn!(%error, "the admin listener cannot accept");
                    tokio::time::sleep(PAUSE).await;
                },
            }
        }
    }
}

/// A connection that is open.
struct Open {
    serving: AbortHandle,
    /// Whether a call is being carried out on it.
    is_asked: Arc<AtomicBool>,
}

/// What is accepted on.
enum Listener {
    Address(TcpListener),
    Socket(UnixListener),
}

impl Listener {
    fn new(listening: Listening) -> io::Result<Self> {
        Ok(match listening {
            Listening::Address(socket) => Self::Address(TcpListener::from_std(socket)?),
            Listening::Socket(socket) => Self::Socket(UnixListener::from_std(socket)?),
        })
    }

    /// Accepts a connection, and serves it aside; `open` are those that are. Cancel-safe.
    async fn serve_next(&self, admin: &Arc<Admin>, router: &Router, open: &mut Vec<Open>) -> io::Result<()> {
        let serving = match self {
            Self::Address(listener) => {
                let (stream, peer) = listener.accept().await?;
                admin.serve(stream, Peer::Address(peer.ip().to_canonical()), router)
            }
            Self::Socket(listener) => {
                let (stream, _nameless) = listener.accept().await?;
                admin.serve(stream, Peer::Socket, router)
            }
        };
        open.retain(|connection| !connection.serving.is_finished());
        if open.len() >= CONNECTIONS {
            match open.iter().position(|connection| !connection.is_asked.load(Ordering::Relaxed)) {
                Some(oldest) => open.remove(oldest).serving.abort(),
                None => {
                    serving.serving.abort();
                    return Ok(());
                }
            }
        }
        open.push(serving);
        Ok(())
    }
}

impl Admin {
    /// As the present configuration has it.
    fn api(&self) -> Arc<Api> {
        self.api.load_full()
    }

    fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/livez", get(probes::live))
            .route("/readyz", get(probes::ready))
            .route("/metrics", get(metrics::read))
            .route("/v1/bots/{bot}/sessions", post(sessions::open))
            .route("/v1/sessions", get(sessions::list).delete(sessions::end_all))
            .route("/v1/sessions/{id}", get(sessions::show).delete(sessions::end))
            .fallback(|| async { Refused::from(Fault::new(Code::NotFound, "there is nothing here")) })
            .with_state(Arc::clone(self))
    }

    fn serve<S>(self: &Arc<Self>, stream: S, peer: Peer, router: &Router) -> Open
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let is_asked = Arc::new(AtomicBool::new(false));
        let connection = Arc::clone(self).connection(stream, peer, router.clone(), Arc::clone(&is_asked));
        Open { serving: tokio::spawn(connection).abort_handle(), is_asked }
    }

    async fn connection<S>(self: Arc<Self>, stream: S, peer: Peer, router: Router, is_asked: Arc<AtomicBool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let (answer, is_asked) = (Arc::clone(&self).answer(peer, request, router.clone()), Arc::clone(&is_asked));
            async move {
                is_asked.store(true, Ordering::Relaxed);
                let answer = answer.await;
                is_asked.store(false, Ordering::Relaxed);
                answer
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection of the admin listener ended");
        }
    }

    async fn answer(
        self: Arc<Self>,
        peer: Peer,
        mut request: Request<Incoming>,
        router: Router,
    ) -> Result<Response, Infallible> {
        let id = RequestId::next();
        let from = match peer {
            Peer::Address(address) => Some(address),
            Peer::Socket => None,
        };
        request.extensions_mut().insert(Trace { from, request: id });
        Ok(match self.admitted(peer, request, router).await {
            Ok(mut response) => {
                gateway::identify(response.headers_mut(), id);
                response
            }
            Err(fault) => {
                match fault.code().blame() {
                    Blame::Client => tracing::info!(%id, %peer, "admin call refused: {fault:?}"),
                    Blame::Gateway | Blame::Vendor => tracing::error!(%id, %peer, "admin call failed: {fault:?}"),
                }
                gateway::problem(&fault, id).map(Body::from)
            }
        })
    }

    async fn admitted(&self, peer: Peer, mut request: Request<Incoming>, router: Router) -> Result<Response, Fault> {
        door::check(&request, &self.door)?;
        if request.uri().path().starts_with("/v1/") {
            let operator = self.prove(request.headers(), peer)?;
            request.extensions_mut().insert(Arc::new(operator));
            request.extensions_mut().insert(peer);
        }
        let response = served(router, request.map(Body::new)).await?;
        other_method(&response).map_or(Ok(response), Err)
    }
}

/// What the router answers bare where a call has another method.
fn other_method(response: &Response) -> Option<Fault> {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return None;
    }
    let allowed = response.headers().get(header::ALLOW).and_then(|names| names.to_str().ok()).unwrap_or_default();
    Some(Fault::new(Code::MethodNotAllowed, allowed.replace(',', ", ")))
}

//! The admin listener: probes for all who reach it, and an API for operators.
//!
//! It is a listener of its own, on one thread: an operator gets through however busy the workers are. It speaks plain
//! HTTP/1.1. Pages are kept out, whatever they have ([`door`]); the API needs the operators' secret. What is not built
//! answers 404.

mod door;
mod probes;
mod sessions;
mod settings;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

pub use self::settings::Settings;
use crate::api::{Api, Refused};
use crate::bot::Client;
use crate::fault::{Blame, Code, Fault};
use crate::gateway;
use crate::id::RequestId;
use crate::listen;
use crate::telemetry::audit::Trace;

/// Connections at once: probes and a few operators.
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
    api: Arc<Api>,
    operator: Option<Client>,
    address: SocketAddr,
}

/// An admin listener whose socket is bound.
#[derive(Debug)]
pub struct Bound {
    admin: Arc<Admin>,
    socket: std::net::TcpListener,
}

impl Bound {
    /// Binds the socket. Nothing where the configuration has no such listener, or says nothing of it and its usual
    /// address is taken: a second gateway on the machine starts all the same, and says so.
    ///
    /// # Errors
    ///
    /// The address that the configuration names cannot be had.
    pub fn new(settings: Settings, api: Arc<Api>) -> io::Result<Option<Self>> {
        let Settings { address: Some(address), is_written, operator } = settings else { return Ok(None) };
        let (sockets, address) = match listen::bind(address, 1) {
            Ok(bound) => bound,
            Err(error) if !is_written => {
                tracing::warn!(%address, %error, "no admin listener; name another address as admin.listen, or \"off\"");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let admin = Arc::new(Admin { api, operator, address });
        Ok(sockets.into_iter().next().map(|socket| Self { admin, socket }))
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.admin.address
    }

    /// Serves until `stopped`.
    ///
    /// # Errors
    ///
    /// The socket cannot be used.
    pub async fn serve(self, mut stopped: watch::Receiver<bool>) -> io::Result<()> {
        let listener = TcpListener::from_std(self.socket)?;
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let router = self.admin.router();
        loop {
            tokio::select! {
                // An error means that nobody can ask to stop any more, which is as good as being asked.
                _asked = stopped.wait_for(|stop| *stop) => return Ok(()),
                accepted = accept(&listener, &room) => match accepted {
                    Ok((stream, peer, place)) => {
                        let (admin, router) = (Arc::clone(&self.admin), router.clone());
                        tokio::spawn(async move {
                            admin.connection(stream, peer.ip(), router).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the admin listener cannot accept");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

impl Admin {
    fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/livez", get(probes::live))
            .route("/readyz", get(probes::ready))
            .route("/v1/sessions", get(sessions::list).delete(sessions::end_all))
            .route("/v1/sessions/{id}", get(sessions::show).delete(sessions::end))
            .fallback(|| async { Refused::from(Fault::new(Code::NotFound, "there is nothing here")) })
            .with_state(Arc::clone(self))
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: IpAddr, router: Router) {
        let service = service_fn(move |request| Arc::clone(&self).answer(peer, request, router.clone()));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection of the admin listener ended");
        }
    }

    async fn answer(
        self: Arc<Self>,
        peer: IpAddr,
        mut request: Request<Incoming>,
        router: Router,
    ) -> Result<Response, Infallible> {
        let id = RequestId::next();
        request.extensions_mut().insert(Trace { from: peer, request: id });
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

    async fn admitted(&self, peer: IpAddr, request: Request<Incoming>, router: Router) -> Result<Response, Fault> {
        door::check(&request, self.address)?;
        if request.uri().path().starts_with("/v1/") {
            self.prove(request.headers(), peer)?;
        }
        let mut response = match router.oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        match response.extensions_mut().remove::<Refused>().and_then(|refused| refused.take()) {
            Some(fault) => Err(fault),
            None => Ok(response),
        }
    }
}

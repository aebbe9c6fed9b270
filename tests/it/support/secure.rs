//! A vendor that speaks TLS: HTTP/2 or HTTP/1.1, whichever ALPN chose.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::authority::Authority;
use super::gateway::{Builder, TestGateway};
use super::vendor::{TestVendor, on_a_thread};

/// What a vendor answers to a call whose body it may still be reading.
pub(crate) type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// What a handler is told of a call besides itself: on which connection it came, from 0, and in which version.
pub(crate) type Call = (usize, Version);

/// A vendor behind TLS.
pub(crate) struct SecureVendor {
    pub(crate) vendor: TestVendor,
    pub(crate) authority: Authority,
    /// TLS connections that were set up so far.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Every call: see [`Call`].
    pub(crate) calls: Arc<Mutex<Vec<Call>>>,
}

impl SecureVendor {
    /// A vendor that speaks for itself on each connection once TLS stands.
    pub(crate) fn raw<F: Future<Output = ()> + Send + 'static>(
        authority: Authority,
        config: Arc<ServerConfig>,
        speak: impl Fn(usize, TlsStream<TcpStream>) -> F + Send + Sync + 'static,
    ) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", socket.local_addr().unwrap().port());
        let (connections, speak) = (Arc::new(AtomicUsize::new(0)), Arc::new(speak));
        let count = Arc::clone(&connections);
        on_a_thread(socket, move |listener| async move {
            let acceptor = TlsAcceptor::from(config);
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (acceptor, speak, count) = (acceptor.clone(), Arc::clone(&speak), Arc::clone(&count));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        speak(count.fetch_add(1, Ordering::SeqCst), stream).await;
                    }
                });
            }
        });
        Self { vendor: TestVendor { url, seen: Arc::default() }, authority, connections, calls: Arc::default() }
    }

    /// A vendor that answers each call with what `handler` makes of it.
    pub(crate) fn serving<F: Future<Output = Answer> + Send + 'static>(
        authority: Authority,
        config: Arc<ServerConfig>,
        handler: impl Fn(Call, Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::with_streams(authority, config, 200, handler)
    }

    /// The same, with so many calls at once on a connection.
    pub(crate) fn with_streams<F: Future<Output = Answer> + Send + 'static>(
        authority: Authority,
        config: Arc<ServerConfig>,
        streams: u32,
        handler: impl Fn(Call, Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self {
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (log, handler) = (Arc::clone(&calls), Arc::new(handler));
        let vendor = Self::raw(authority, config, move |number, stream| {
            let (log, handler) = (Arc::clone(&log), Arc::clone(&handler));
            let service = service_fn(move |request: Request<Incoming>| {
                let call = (number, request.version());
                log.lock().push(call);
                let answer = handler(call, request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            async move {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let io = TokioIo::new(stream);
                // The test tells by what the gateway answers.
                if is_http2 {
                    let mut http2 = http2::Builder::new(TokioExecutor::new());
                    let _ended = http2.max_concurrent_streams(streams).serve_connection(io, service).await;
                } else {
                    let _ended = http1::Builder::new().serve_connection(io, service).with_upgrades().await;
                }
            }
        });
        Self { calls, ..vendor }
    }

    /// A vendor that answers each call with its own body, as it comes.
    pub(crate) fn echo(alpn: &[&str]) -> Self {
        let authority = Authority::new();
        let config = authority.server(alpn, |_| {});
        Self::serving(authority, config, echo)
    }

    /// A gateway in front of it that trusts its authority.
    pub(crate) fn gateway(&self) -> Builder {
        TestGateway::in_front_of(&self.vendor).vendor(&self.authority.ca())
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// In which version each call came.
    pub(crate) fn versions(&self) -> Vec<Version> {
        self.calls.lock().iter().map(|(_, version)| *version).collect()
    }
}

/// The call's own body, as it comes.
pub(crate) async fn echo(_call: Call, request: Request<Incoming>) -> Answer {
    Response::new(request.into_body().boxed())
}

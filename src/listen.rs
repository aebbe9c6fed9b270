//! Sockets, TLS, and HTTP connections on them. Knows nothing of tokens.
//!
//! Every worker has its own listener on the same address (`SO_REUSEPORT`): the kernel spreads connections, and no
//! worker hands one to another. A connection is served by whatever hyper service it is given.

mod settings;
mod socket;
mod tls;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub use self::settings::Settings;
pub use self::socket::{bind, free_address};

/// How long a client may take for the head of a request, or be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may go on sending a body that nobody reads, once its call is answered.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// And how much of it.
const LINGER_BYTES: usize = 1 << 20;
/// A client whose first bytes come one by one is looked at again after this time, and then after twice as long.
const PEEK_PAUSE: Duration = Duration::from_millis(5);
/// But never longer than this: a request that came meanwhile waits for it.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// After the system had no socket to give: time for others to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What begins every HTTP/2 connection (RFC 9113 §3.4), as far as it tells it from HTTP/1.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The worker that serves it.
    pub worker: usize,
}

/// Accepts connections for ever and serves each with what `service` makes for its peer. Cancel-safe: dropping it stops
/// accepting; connections that are open go on.
pub async fn serve<S, B>(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    worker: usize,
    service: impl Fn(Peer) -> S,
) -> std::io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: std::error::Error + Send + Sync, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let service = service(Peer { address: address.ip().to_canonical(), worker });
                tokio::spawn(connection(stream, tls.clone(), service));
            }
            Err(error) => {
                // Out of descriptors, or a client that had left already: neither is a reason to stop.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<S, B>(stream: TcpStream, tls: Option<TlsAcceptor>, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: std::error::Error + Send + Sync, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client left at once");
        return;
    }
    let Some(tls) = tls else {
        let is_http2 = within(HEAD_TIMEOUT, begins_http2(&stream)).await.unwrap_or_default();
        return http(stream, is_http2, service).await;
    };
    match within(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Some(Ok(stream)) => {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            http(stream, is_http2, service).await;
        }
        Some(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        None => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, future).await.ok()
}

/// Whether the client begins HTTP/2 without asking (prior knowledge, RFC 9113 §3.3), as load balancers do.
async fn begins_http2(stream: &TcpStream) -> bool {
    let mut start = [0; HTTP2_PREFACE.len()];
    // `P` alone may still become a POST: it is decided by the first byte that differs, or when all are there.
    let mut pause = PEEK_PAUSE;
    loop {
        match stream.peek(&mut start).await {
            Ok(length) if length > 0 && start[..length] == HTTP2_PREFACE[..length] => {
                if length == start.len() {
                    return true;
                }
            }
            _ => return false,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn http<S, B>(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, is_http2: bool, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: std::error::Error + Send + Sync, Future: Send>
        + Send
        + Sync
        + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let io = TokioIo::new(io);
    let served = if is_http2 {
        http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).serve_connection(io, service).await
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        match builder.serve_connection(io, service).without_shutdown().await {
            Ok(parts) => {
                let _gave_up = within(LINGER_TIMEOUT, linger(parts.io.into_inner())).await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// Says that nothing more comes, and lets the client finish what it is sending. A call that is refused before its body
/// was read ends its connection; closed at once, with bytes unread, the kernel would answer them with a reset, and the
/// client would lose the refusal that it has not read yet (RFC 9112 §9.6).
async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let mut thrown_away = [0; 4096];
    let mut left = LINGER_BYTES;
    if io.shutdown().await.is_err() {
        return;
    }
    while let Ok(length @ 1..) = io.read(&mut thrown_away).await {
        match left.checked_sub(length) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// What a listener needs, once it is bound.
#[derive(Debug)]
pub struct Bound {
    /// One socket for each worker.
    pub sockets: Vec<std::net::TcpListener>,
    /// The address: the real one where port 0 was asked for.
    pub address: SocketAddr,
    /// TLS, if it is spoken.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of a connection on which `first` comes alone and `rest` after it was looked at.
    async fn begins(first: &[u8], rest: &[u8]) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(first).await.unwrap();
        server.readable().await.unwrap();
        let (is_http2, written) = tokio::join!(begins_http2(&server), client.write_all(rest));
        written.unwrap();
        is_http2
    }

    #[tokio::test]
    async fn http2_is_told_from_http1_however_the_first_bytes_come() {
        assert!(!begins(b"P", b"OST / HTTP/1.1\r\n").await);
        assert!(!begins(b"PR", b"OPFIND / HTTP/1.1\r\n").await);
        assert!(!begins(b"GET / HTTP/1.1\r\n", b"").await);
        assert!(begins(b"P", b"RI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await);
        assert!(begins(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"").await);
    }
}

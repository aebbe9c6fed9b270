//! Sockets, TLS, and HTTP connections on them. Knows nothing of tokens.
//!
//! Every worker has its own listener on the same address (`SO_REUSEPORT`): the kernel spreads connections, and no
//! worker hands one to another. A connection is served by whatever hyper service it is given.

mod ahead;
mod bell;
mod bounds;
mod calls;
mod certificate;
mod drain;
mod heads;
mod http1;
mod http2;
mod names;
mod private;
mod proxy;
mod seldom;
mod settings;
mod socket;
mod stream;
mod tls;
mod unsent;

use std::error::Error;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use tokio::net::{TcpListener, TcpStream};

use self::bounds::Slot;
pub(crate) use self::bounds::{Bounds, Timeouts};
pub(crate) use self::drain::{Drain, Phase};
pub(crate) use self::names::Names;
pub(crate) use self::private::PrivateSocket;
use self::seldom::Seldom;
pub(crate) use self::settings::Settings;
pub(crate) use self::socket::{bind, free_address, handed_over, shared};
use self::stream::Stream;
pub(crate) use self::tls::{Tls, certificates, private_key};
use crate::net::Trusted;

/// A client whose first bytes come one by one is looked at again after this time, and then after twice as long.
const PEEK_PAUSE: Duration = Duration::from_millis(5);
/// But never longer than this: a request that came meanwhile waits for it.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long a connection that was never used is kept when all are to be closed: its first call may be on its way.
const UNUSED: Duration = Duration::from_secs(3);
/// After the system had no socket to give: time for others to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What begins every HTTP/2 connection (RFC 9113 §3.4), as far as it tells it from HTTP/1.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address: the client's, where a balancer passes its connection on.
    pub address: IpAddr,
    /// Whether it may say of a request whose it is: not a balancer that passes on a connection of nobody it knows.
    pub may_forward: bool,
    /// The worker that serves it.
    pub worker: usize,
    /// The hosts that its connection is for, where TLS says that.
    pub names: Option<Arc<Names>>,
}

/// What answers the requests of a connection.
pub(crate) trait HttpService<B>:
    Service<Request<Incoming>, Response = Response<B>, Error: Error + Send + Sync, Future: Send> + Send + Sync + 'static
{
}

impl<B, S> HttpService<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Error + Send + Sync, Future: Send>
        + Send
        + Sync
        + 'static
{
}

/// The body of an answer.
pub(crate) trait AnswerBody: Body<Data = Bytes, Error: Error + Send + Sync> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Error + Send + Sync> + Send + Unpin + 'static> AnswerBody for B {}

/// Who passes connections on, as the present configuration has it.
pub(crate) type Balancers = Arc<ArcSwap<Trusted>>;

/// How one worker serves its connections.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// The worker's number.
    pub worker: usize,
    /// How long a client may take.
    pub timeouts: Timeouts,
    /// How much it may have.
    pub bounds: Bounds,
    /// Who passes connections on and says so first (PROXY protocol); nobody else may connect then.
    pub balancers: Option<Balancers>,
    /// The end of it all.
    pub drain: Drain,
    /// Whether others have the listening socket, too, so that its queue outlives this process.
    pub is_shared: bool,
}

/// Accepts connections until they are to be closed, and serves each with what `service` makes for its peer. Those that the
/// kernel had accepted by then are served too: closing the socket would reset them. Cancel-safe: dropping it stops
/// accepting; connections that are open go on.
pub(crate) async fn serve<S, B>(
    listener: std::net::TcpListener,
    terms: Terms,
    service: impl Fn(Peer) -> S + Clone + Send + 'static,
) -> std::io::Result<()>
where
    S: HttpService<B>,
    B: AnswerBody,
{
    let listener = TcpListener::from_std(listener)?;
    let terms = Arc::new(terms);
    let _until_the_last = terms.drain.accepting();
    let begin = |stream: TcpStream, address: SocketAddr| {
        // Without a place it is closed at once: the client, or the load balancer before it, can go elsewhere.
        let Some(slot) = terms.bounds.connections.take() else { return };
        let peer = Peer { address: address.ip().to_canonical(), may_forward: true, worker: terms.worker, names: None };
        tokio::spawn(connection(stream, slot, Arc::clone(&terms), peer, service.clone()));
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = terms.drain.reached(Phase::Closing) => break,
        };
        match accepted {
            Ok((stream, address)) => begin(stream, address),
            Err(error) => {
                // Out of descriptors, or a client that had left already: neither is a reason to stop.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    if terms.is_shared {
        // Whoever has the socket as well serves what waits in it.
        return Ok(());
    }
    let listener = listener.into_std()?;
    while let Ok((stream, address)) = listener.accept() {
        stream.set_nonblocking(true)?;
        begin(TcpStream::from_std(stream)?, address);
    }
    Ok(())
}

async fn connection<S, B>(stream: TcpStream, slot: Slot, terms: Arc<Terms>, peer: Peer, service: impl Fn(Peer) -> S)
where
    S: HttpService<B>,
    B: AnswerBody,
{
    // On the heap until it is known how to go on: each connection would have room for it to its end.
    if let Some(serving) = Box::pin(begun(stream, slot, &terms, peer, service)).await {
        serving.await;
    }
}

/// What serves a connection, in one way or the other: what the others would need is not with it.
type Served<'t> = Pin<Box<dyn Future<Output = ()> + Send + 't>>;

/// What comes before the first request; nothing if the connection is not one to serve.
async fn begun<S, B>(
    mut stream: TcpStream,
    slot: Slot,
    terms: &Terms,
    mut peer: Peer,
    service: impl Fn(Peer) -> S,
) -> Option<Served<'_>>
where
    S: HttpService<B>,
    B: AnswerBody,
{
    let Terms { tls, timeouts, bounds, drain, .. } = terms;
    if let Some(balancers) = &terms.balancers {
        match passed_on(&mut stream, &balancers.load_full(), &peer, timeouts.handshake).await? {
            Some(address) => peer.address = address,
            None => peer.may_forward = false,
        }
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client left at once");
        return None;
    }
    let stream = Stream::new(stream, timeouts.send, slot);
    let watch = stream.watch();
    let Some(tls) = tls else {
        let begins = async {
            tokio::select! {
                begins = begins_http2(stream.tcp()) => Some(begins),
                () = unused_when_closing(drain) => None,
            }
        };
        return match within(timeouts.head, begins).await.flatten() {
            Some(true) => Some(Box::pin(http2::serve(stream, service(peer), *timeouts, bounds, drain))),
            Some(false) => Some(Box::pin(http1::serve(stream, watch, service(peer), *timeouts, bounds, drain))),
            None => {
                tracing::debug!("a client sent nothing");
                None
            }
        };
    };
    match within(timeouts.handshake, tls.accept(stream)).await {
        Some(Ok(stream)) => {
            peer.names = tls.names(&stream);
            Some(if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                Box::pin(http2::serve(stream, service(peer), *timeouts, bounds, drain))
            } else {
                Box::pin(http1::serve(stream, watch, service(peer), *timeouts, bounds, drain))
            })
        }
        Some(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        None => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}

/// Whose connection a balancer passes on, if it is somebody else's; nothing if that is not for us to serve.
async fn passed_on(
    stream: &mut TcpStream,
    balancers: &Trusted,
    peer: &Peer,
    limit: Duration,
) -> Option<Option<IpAddr>> {
    static STRANGERS: Seldom = Seldom::new();
    static UNCLEAR: Seldom = Seldom::new();
    let peer = peer.address;
    if !balancers.has(peer) {
        if let Some(unsaid) = STRANGERS.is_due() {
            tracing::warn!(%peer, unsaid, "a connection was closed: it is not from a balancer in trusted_proxies");
        }
        return None;
    }
    let error = match within(limit, proxy::read(stream)).await {
        Some(Ok(source)) => return Some(source),
        Some(Err(error)) => error,
        None => std::io::Error::new(std::io::ErrorKind::TimedOut, "no head of the PROXY protocol came in time"),
    };
    if let Some(unsaid) = UNCLEAR.is_due() {
        tracing::warn!(%peer, %error, unsaid, "a connection of a balancer was closed");
    }
    None
}

/// Waits until a connection without a call is to be closed.
async fn unused_when_closing(drain: &Drain) {
    drain.reached(Phase::Closing).await;
    tokio::time::sleep(UNUSED).await;
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

/// What a listener needs, once it is bound.
#[derive(Debug)]
pub(crate) struct Bound {
    /// One socket for each worker.
    pub sockets: Vec<std::net::TcpListener>,
    /// The address: the real one where port 0 was asked for.
    pub address: SocketAddr,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// How long a client may take.
    pub timeouts: Timeouts,
    /// How much it may have.
    pub bounds: Bounds,
    /// Who passes connections on and says so first, if the PROXY protocol is spoken.
    pub balancers: Option<Balancers>,
    /// Whether others have the sockets, too.
    pub is_shared: bool,
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

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

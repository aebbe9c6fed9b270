//! A way to the vendor for a call: a connection that is there, or a new one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::body::RequestBody;
use super::counted::Counted;
use super::dial::dial;
use super::http2::{self, Seat};
use super::kept::{Home, Permit};
use super::patient::Patient;
use super::tls::Tls;
use super::tunnel::dial_through;
use super::{SendError, Upstream};
use crate::net::READ_BUFFER;

/// How long a call waits for a connection that another one is opening, before it opens its own: a connect that is slow
/// must not hold up all others.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a call goes on.
pub(super) enum Way {
    /// A connection for itself.
    Http1 {
        sender: SendRequest<RequestBody>,
        /// Whether it was used before, and may have been closed since.
        is_kept: bool,
        permit: Option<Permit>,
    },
    /// A place on a shared one.
    Http2(Seat),
}

/// What is there and free; of shared connections only one that is younger than `than`.
pub(super) fn taken(upstream: &Upstream, than: Option<Instant>, now: Instant) -> Option<Way> {
    let may_use_idle = upstream.home.permits().is_none();
    upstream.home.with(|kept| {
        if may_use_idle && let Some(sender) = kept.idle(now) {
            return Some(Way::Http1 { sender, is_kept: true, permit: None });
        }
        kept.seat(than).map(Way::Http2)
    })
}

/// Waits for a way to become free, or makes one; for each of the two there is the time of `timeouts.connect`.
///
/// # Errors
///
/// [`SendError::Busy`] if no place came in time, [`SendError::Connect`] if no connection did: nothing was sent.
pub(super) async fn obtain(upstream: &Upstream, than: Option<Instant>) -> Result<Way, SendError> {
    let until = Instant::now() + upstream.timeouts.connect;
    let changed = upstream.home.with(|kept| Arc::clone(&kept.changed));
    loop {
        // Before looking: what changes after that is not missed.
        let word = changed.word(than);
        if let Some(way) = taken(upstream, than, Instant::now()) {
            return Ok(way);
        }
        // Several calls at once need one connection, where the vendor lets them share it; until the first answer to
        // ALPN it may.
        let opening = upstream.home.with(|kept| kept.opening.filter(|since| since.elapsed() < PATIENCE));
        if let Some(since) = opening
            && Instant::now() < until
        {
            let _changed_or_not = timeout_at(until.min(since + PATIENCE), word).await;
            continue;
        }
        let permit = match permit(upstream, word, until).await? {
            Permitted::Changed => continue,
            // It waited for others' connections alone, and all of them were late.
            Permitted::Unbounded if Instant::now() >= until => return Err(too_late()),
            Permitted::Unbounded => None,
            Permitted::Bounded(permit) => {
                // It may have come while the permit was waited for.
                if let Some(way) = taken(upstream, than, Instant::now()) {
                    return Ok(way);
                }
                if let Some(sender) = upstream.home.with(|kept| kept.idle(Instant::now())) {
                    return Ok(Way::Http1 { sender, is_kept: true, permit: Some(permit) });
                }
                Some(permit)
            }
        };
        // Its own time, however long its place was waited for: that others were in the way is not the vendor's failure, and
        // must not count as one.
        let late = if permit.is_some() { Instant::now() + upstream.timeouts.connect } else { until };
        let opening = open(upstream, permit, Opening::begin(upstream));
        return timeout_at(late, opening).await.unwrap_or_else(|_elapsed| Err(too_late()));
    }
}

fn too_late() -> SendError {
    SendError::Connect("no connection in time".into())
}

/// Whether one more connection may be made.
enum Permitted {
    /// There is no bound.
    Unbounded,
    /// It may.
    Bounded(Permit),
    /// None, but there may be room on one that is there.
    Changed,
}

async fn permit(upstream: &Upstream, changed: Pin<Box<Notified<'_>>>, until: Instant) -> Result<Permitted, SendError> {
    let Some(permits) = upstream.home.permits() else { return Ok(Permitted::Unbounded) };
    tokio::select! {
        biased;
        permit = Arc::clone(permits).acquire_owned() => permit.map(Permitted::Bounded).map_err(|_closed| SendError::Busy),
        () = changed => Ok(Permitted::Changed),
        () = sleep_until(until) => Err(SendError::Busy),
    }
}

/// A connection that is being opened, which others may share as soon as the vendor has told how many. However that ends,
/// those who wait for it look again.
pub(super) struct Opening {
    home: Home,
    since: Instant,
}

impl Opening {
    fn begin(upstream: &Upstream) -> Option<Self> {
        let (home, since) = (upstream.home.clone(), Instant::now());
        let is_shareable = upstream.tls.is_some() && home.with(|kept| !kept.is_http1);
        is_shareable.then(|| {
            home.with(|kept| kept.opening = Some(since));
            Self { home, since }
        })
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.home.with(|kept| {
            if kept.opening == Some(self.since) {
                kept.opening = None;
            }
            kept.changed.tell_all();
        });
    }
}

async fn open(upstream: &Upstream, permit: Option<Permit>, opening: Option<Opening>) -> Result<Way, SendError> {
    let stream = reach(upstream).await?;
    let idle = upstream.timeouts.idle;
    let sender = match &upstream.tls {
        None => http1(Patient::new(stream, idle)).await?,
        Some(tls) => {
            let stream = secured(stream, tls, &tls.any).await?;
            // By ALPN alone: a vendor that says nothing speaks HTTP/1.1.
            let is_http1 = stream.get_ref().1.alpn_protocol() != Some(b"h2");
            upstream.home.with(|kept| kept.is_http1 = is_http1);
            if !is_http1 {
                return http2::share(stream, &upstream.home, permit, opening).await.map(Way::Http2);
            }
            http1(Patient::new(stream, idle)).await?
        }
    };
    Ok(Way::Http1 { sender, is_kept: false, permit })
}

/// A connection of its own for a call that may become something else than HTTP: it speaks HTTP/1.1, whatever else the
/// vendor offers, and is neither taken from a pool nor ever put into one. Its work is left to a task of this worker;
/// after the vendor's 101, `hyper::upgrade::on` gives the bytes. It counts for `max_connections` until it is closed.
///
/// # Errors
///
/// [`SendError::Connect`] and [`SendError::Busy`]: nothing was sent.
pub(super) async fn upgradable(upstream: &Upstream) -> Result<SendRequest<RequestBody>, SendError> {
    let permit = match upstream.home.permits() {
        None => None,
        Some(permits) => {
            if permits.available_permits() == 0 {
                upstream.home.with(|kept| kept.give_way());
            }
            let permit = timeout(upstream.timeouts.connect, Arc::clone(permits).acquire_owned()).await;
            let permit = permit.map_err(|_elapsed| SendError::Busy)?.map_err(|_closed| SendError::Busy)?;
            upstream.home.with(|kept| kept.trim(permits.available_permits()));
            Some(permit)
        }
    };
    let opening = async {
        let stream = reach(upstream).await?;
        match &upstream.tls {
            None => upgradable_http1(Counted::new(stream, permit)).await,
            Some(tls) => upgradable_http1(Counted::new(secured(stream, tls, &tls.http1).await?, permit)).await,
        }
    };
    timeout(upstream.timeouts.connect, opening).await.unwrap_or_else(|_elapsed| Err(too_late()))
}

async fn reach(upstream: &Upstream) -> Result<TcpStream, SendError> {
    match &upstream.proxy {
        None => dial(&upstream.host, upstream.port).await,
        Some(proxy) => dial_through(proxy, &upstream.host, upstream.port).await,
    }
}

async fn secured(stream: TcpStream, tls: &Tls, config: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, SendError> {
    let connector = TlsConnector::from(Arc::clone(config));
    let failed = |error: io::Error| SendError::Connect(error.into());
    connector.connect(tls.name.clone(), stream).await.map_err(failed)
}

async fn http1<S>(stream: S) -> Result<SendRequest<RequestBody>, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = greeted(stream).await?;
    tokio::spawn(async move {
        // How a connection ends is told to the call that uses it; an idle one ends unheard.
        let _ended = connection.await;
    });
    Ok(sender)
}

async fn upgradable_http1<S>(stream: S) -> Result<SendRequest<RequestBody>, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = greeted(stream).await?;
    tokio::spawn(async move {
        // As above.
        let _ended = connection.with_upgrades().await;
    });
    Ok(sender)
}

async fn greeted<S>(stream: S) -> Result<(SendRequest<RequestBody>, Connection<TokioIo<S>, RequestBody>), SendError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begun = Builder::new().max_buf_size(READ_BUFFER).handshake(TokioIo::new(stream)).await;
    begun.map_err(|error| SendError::Connect(error.into()))
}

#[cfg(test)]
mod tests;

//! A connection that speaks HTTP/2 and that calls share.
//!
//! Each call has a seat on it. What one call does is no matter of the others: whoever leaves resets its own stream, and
//! whoever reads slowly fills its own window only, because the window of the connection has room for all of them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};

use super::SendError;
use super::changed::Changed;
use super::connect::Opening;
use super::kept::{Home, Kept, Permit};

/// Calls on one connection, whatever more the vendor allows: what is lost together when a connection is.
pub(super) const MOST_STREAMS: usize = 64;
/// How many streams h2 shall think are allowed until the vendor's SETTINGS come: a number that none of them can say.
const UNTOLD: usize = usize::MAX - 1;
/// What a vendor may send of an answer that its caller does not read. At 50 ms to the vendor it lets 5 MB a second pass.
const STREAM_WINDOW: u32 = 256 << 10;
/// All callers of a connection may read slowly at once, and none of them keeps another's bytes away.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 64;
/// What is kept of an upload that the vendor does not read.
const SEND_BUFFER: usize = 256 << 10;
/// What small parts of answers that nobody reads may take besides their bytes: each costs a record of its own, and h2
/// ends a connection that has more. Enough for all windows full of words of a dozen letters or so.
const RECORDS: usize = 128 << 20;
/// The longest head of an answer, unpacked.
const LONGEST_HEAD: u32 = 64 << 10;
/// How often a connection is looked after: with calls open it is pinged, and closed if no answer came.
const ROUND: Duration = Duration::from_secs(20);
/// How long the answer to a ping may take.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// A connection, as its calls see it.
#[derive(Debug)]
pub(super) struct Shared {
    sender: SendRequest<Bytes>,
    open: AtomicUsize,
    /// How many seats were given so far.
    served: AtomicUsize,
    born: Instant,
    changed: Arc<Changed>,
}

impl Shared {
    /// How many calls it takes: what the vendor allows, up to our own bound. Nothing until the vendor has told: calls
    /// that it does not allow it would refuse.
    pub(super) fn limit(&self) -> Option<usize> {
        Some(self.sender.current_max_send_streams()).filter(|most| *most != UNTOLD).map(|most| most.min(MOST_STREAMS))
    }

    /// Whether it was made after this moment.
    pub(super) fn is_younger(&self, than: Instant) -> bool {
        self.born > than
    }

    pub(super) fn has_room(&self, limit: usize) -> bool {
        self.open.load(Ordering::Relaxed) < limit
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }
}

/// The place of one call on a connection, until its answer has ended and all of it is sent.
#[derive(Debug)]
pub(super) struct Seat(Arc<Shared>);

impl Seat {
    /// One more call on it. Whoever asks keeps the list of connections borrowed, so that no two take the last seat.
    pub(super) fn take(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.served.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }

    pub(super) fn connection(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Whether no other call was on the connection before.
    pub(super) fn is_first(&self) -> bool {
        self.0.served.load(Ordering::Relaxed) == 1
    }

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.0.sender.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.tell_of_seat();
    }
}

/// Speaks HTTP/2 on `stream`, leaves the connection's own work to a task of this worker, and takes the first seat.
///
/// `opening` holds back calls that would like to share it until they can.
pub(super) async fn share<S>(
    stream: S,
    home: &Home,
    permit: Option<Permit>,
    opening: Option<Opening>,
) -> Result<Seat, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let changed = home.with(|kept: &mut Kept| Arc::clone(&kept.changed));
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(LONGEST_HEAD)
        .data_frame_budget(RECORDS)
        .initial_max_send_streams(UNTOLD)
        .handshake(stream);
    let (sender, connection) = handshake.await.map_err(|error| SendError::Connect(error.into()))?;
    let (open, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let shared = Arc::new(Shared { sender, open, served, born: Instant::now(), changed });
    let seat = home.with(|kept| {
        kept.share(&shared);
        Seat::take(&shared)
    });
    tokio::spawn(drive(connection, Arc::downgrade(&shared), home.clone(), permit, opening));
    Ok(seat)
}

/// The connection's own work, until it ends: at an error, or when nobody has a hold of it any more.
async fn drive<S>(
    mut connection: Connection<S, Bytes>,
    shared: Weak<Shared>,
    home: Home,
    permit: Option<Permit>,
    mut opening: Option<Opening>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let pings = connection.ping_pong();
    let ended = poll_fn(|context| {
        let polled = Pin::new(&mut connection).poll(context);
        if opening.is_some() && connection.max_concurrent_send_streams() != UNTOLD {
            opening = None;
        }
        polled
    });
    tokio::select! {
        // How a connection ends is told to the calls on it.
        _ended = ended => {}
        () = watch(pings, &shared, &home) => {}
    }
    if let Some(shared) = shared.upgrade() {
        home.with(|kept| kept.forget(&shared));
    }
    drop(permit);
}

/// Comes back when the connection shall be dropped: it is dead, or was not used and does not close by itself.
async fn watch(mut pings: Option<PingPong>, shared: &Weak<Shared>, home: &Home) {
    let served = || shared.upgrade().map(|shared| shared.served.load(Ordering::Relaxed));
    loop {
        let before = served();
        sleep(ROUND).await;
        let Some(present) = shared.upgrade() else { break };
        if present.is_idle() {
            let is_left = served() == before && home.with(|kept| kept.forget_idle(&present));
            if is_left {
                break;
            }
            continue;
        }
        drop(present);
        if let Some(pings) = &mut pings
            && !timeout(LONGEST_SILENCE, pings.ping(Ping::opaque())).await.is_ok_and(|pong| pong.is_ok())
        {
            return;
        }
    }
    // With the last hold on it gone it says goodbye, if the vendor listens.
    sleep(LONGEST_SILENCE).await;
}

#[cfg(test)]
mod tests;

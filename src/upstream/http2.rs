//! A connection that speaks HTTP/2 and that calls share.
//!
//! Each call has a seat on it. What one call does is no matter of the others: whoever leaves resets its own stream, and
//! whoever reads slowly fills its own window only, because the window of the connection has room for all of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::SendError;
use super::kept::{Home, Kept, Permit};

/// Calls on one connection, whatever more the vendor allows: what is lost together when a connection is.
pub(super) const MOST_STREAMS: usize = 64;
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
/// How often a connection is looked after: it is asked for a sign of life if calls are open, closed if none came.
const ROUND: Duration = Duration::from_secs(20);
/// How long a sign of life may take.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// A connection, as its calls see it.
#[derive(Debug)]
pub(super) struct Shared {
    sender: SendRequest<Bytes>,
    open: AtomicUsize,
    /// How many seats were given so far.
    served: AtomicUsize,
    changed: Arc<Notify>,
}

impl Shared {
    /// How many calls it takes: what the vendor allows, up to our own bound.
    pub(super) fn limit(&self) -> usize {
        self.sender.current_max_send_streams().min(MOST_STREAMS)
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

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.0.sender.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

/// Speaks HTTP/2 on `stream`, leaves the connection's own work to a task of this worker, and takes the first seat.
pub(super) async fn share<S>(stream: S, home: &Home, permit: Option<Permit>) -> Result<Seat, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (streams, changed) = home.with(|kept: &mut Kept| (kept.streams, Arc::clone(&kept.changed)));
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(LONGEST_HEAD)
        .data_frame_budget(RECORDS)
        .initial_max_send_streams(streams)
        .handshake(stream);
    let (sender, connection) = handshake.await.map_err(|error| SendError::Connect(error.into()))?;
    let shared = Arc::new(Shared { sender, open: AtomicUsize::new(0), served: AtomicUsize::new(0), changed });
    let seat = home.with(|kept| {
        kept.share(&shared);
        Seat::take(&shared)
    });
    tokio::spawn(drive(connection, Arc::downgrade(&shared), home.clone(), permit));
    Ok(seat)
}

/// The connection's own work, until it ends: at an error, or when nobody has a hold of it any more.
async fn drive<S>(mut connection: Connection<S, Bytes>, shared: Weak<Shared>, home: Home, permit: Option<Permit>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let pings = connection.ping_pong();
    tokio::select! {
        // How a connection ends is told to the calls on it.
        _ended = connection => {}
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

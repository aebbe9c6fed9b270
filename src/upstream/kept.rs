//! The connections to one vendor that are there: idle ones that speak HTTP/1.1, and those that speak HTTP/2, which calls
//! share.
//!
//! Each worker thread has its own in a thread-local, so that no lock is taken; it is never borrowed across an await. Only
//! where `max_connections` bounds the whole process do the workers share them, behind a lock: a connection that one
//! worker kept idle would be missing for another.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::body::RequestBody;
use super::changed::Changed;
use super::http2::{Seat, Shared};
use crate::clock::instant;

/// Idle connections are not kept longer: servers commonly close theirs after 60 s or more.
const LONGEST_IDLE: Duration = Duration::from_secs(50);
/// Idle connections that are kept to one vendor.
const MOST_IDLE: usize = 1024;

/// The right to have one more connection.
pub(super) type Permit = OwnedSemaphorePermit;

/// Where the connections to a vendor are kept.
#[derive(Clone, Debug)]
pub(super) enum Home {
    /// By each worker, in this place.
    Worker(usize),
    /// By all of them together.
    Process(Arc<Bounded>),
}

/// Connections of the whole process, and how many more there may be.
///
/// An HTTP/1.1 connection has a permit while a call uses it, an HTTP/2 connection while it lives. Whoever has a permit
/// takes an idle connection if there is one, and makes a new one only where there is none: so there are never more
/// connections than permits.
#[derive(Debug)]
pub(super) struct Bounded {
    permits: Arc<Semaphore>,
    kept: Mutex<Kept>,
}

thread_local! {
    static KEPT: RefCell<HashMap<usize, Kept, ahash::RandomState>> = RefCell::default();
}

/// The places of the vendors that there are.
fn present() -> MutexGuard<'static, BTreeSet<usize>> {
    static PRESENT: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());
    PRESENT.lock()
}

/// A vendor's place, while it is there. Its number is not given again.
#[derive(Debug)]
pub(super) struct Slot(usize);

impl Slot {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let slot = NEXT.fetch_add(1, Ordering::Relaxed);
        present().insert(slot);
        Self(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        present().remove(&self.0);
    }
}

impl Home {
    /// For the vendor of this place, or where so many connections bound it.
    pub(super) fn new(slot: &Slot, most: Option<usize>) -> Self {
        match most {
            None => Self::Worker(slot.0),
            Some(most) => {
                Self::Process(Arc::new(Bounded { permits: Arc::new(Semaphore::new(most)), kept: Mutex::default() }))
            }
        }
    }

    /// Looks after the connections. `act` must not come back here.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Kept) -> R) -> R {
        match self {
            Self::Worker(slot) => KEPT.with_borrow_mut(|all| {
                if let Some(kept) = all.get_mut(slot) {
                    return act(kept);
                }
                // After a reload. What was kept to vendors that are gone is closed.
                let present = present().clone();
                all.retain(|slot, _| present.contains(slot));
                act(all.entry(*slot).or_default())
            }),
            // A list stays a list whatever happened to a thread that held it.
            Self::Process(bounded) => act(&mut bounded.kept.lock()),
        }
    }

    /// What gives permits, where they are needed.
    pub(super) fn permits(&self) -> Option<&Arc<Semaphore>> {
        match self {
            Self::Worker(_) => None,
            Self::Process(bounded) => Some(&bounded.permits),
        }
    }
}

/// What is there.
#[derive(Debug)]
pub(super) struct Kept {
    idle: Vec<Idle>,
    shared: Vec<Arc<Shared>>,
    /// When the last connection was begun of which it is not known yet how many may share it.
    pub(super) opening: Option<Instant>,
    /// Whether the last connection spoke HTTP/1.1, and so is the next one expected to.
    pub(super) is_http1: bool,
    /// How many calls the vendor last allowed on a connection; one until the first has told.
    streams: usize,
    /// Tells those who wait.
    pub(super) changed: Arc<Changed>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            shared: Vec::new(),
            opening: None,
            is_http1: false,
            streams: 1,
            changed: Arc::default(),
        }
    }
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

impl Kept {
    /// An idle connection: last in, first out, so that those not needed grow old and are closed.
    pub(super) fn idle(&mut self, now: Instant) -> Option<SendRequest<RequestBody>> {
        while let Some(Idle { sender, since }) = self.idle.pop() {
            if now.saturating_duration_since(since) > LONGEST_IDLE {
                // All below are older still.
                self.idle.clear();
                return None;
            }
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    /// The connection of a call that has ended.
    pub(super) fn put_back(&mut self, sender: SendRequest<RequestBody>) {
        if self.idle.len() < MOST_IDLE {
            self.idle.push(Idle { sender, since: instant() });
        }
    }

    /// A seat on a shared connection, one that is younger than `than`: on the oldest that has one, so that the others
    /// grow idle.
    pub(super) fn seat(&mut self, than: Option<Instant>) -> Option<Seat> {
        let shared = self.shared.iter().find(|shared| {
            // Until a connection has its limit, the last one that was told holds.
            self.streams = shared.limit().unwrap_or(self.streams);
            shared.has_room(self.streams) && than.is_none_or(|than| shared.is_younger(than))
        })?;
        Some(Seat::take(shared))
    }

    /// A new shared connection.
    pub(super) fn share(&mut self, shared: &Arc<Shared>) {
        self.shared.push(Arc::clone(shared));
    }

    /// No further call goes to this one; those that are on it go on.
    pub(super) fn forget(&mut self, shared: &Arc<Shared>) {
        self.shared.retain(|other| !Arc::ptr_eq(other, shared));
    }

    /// Forgets it if nobody uses it.
    pub(super) fn forget_idle(&mut self, shared: &Arc<Shared>) -> bool {
        let is_idle = shared.is_idle();
        if is_idle {
            self.forget(shared);
        }
        is_idle
    }

    /// Closes a shared connection that nobody uses, for its permit.
    pub(super) fn give_way(&mut self) {
        if let Some(place) = self.shared.iter().position(|shared| shared.is_idle()) {
            self.shared.remove(place);
        }
    }

    /// Keeps no more idle connections than there are permits: for one that does not take an idle one first.
    pub(super) fn trim(&mut self, permits: usize) {
        self.idle.truncate(permits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_keeps_nothing_to_vendors_that_are_gone() {
        for _ in 0..10 {
            let slot = Slot::new();
            Home::new(&slot, None).with(|kept| kept.is_http1 = true);
            assert!(Home::new(&slot, None).with(|kept| kept.is_http1), "it does not keep what it has");
            assert_eq!(KEPT.with_borrow(HashMap::len), 1);
        }
    }
}

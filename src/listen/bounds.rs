//! How long a client may take for each part, and how much of the process it may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::document::Table;

/// hyper's smallest buffer; no head is refused that fits into it.
const SMALLEST_HEAD: u64 = 8 << 10;
/// hyper reads a length of headers as 32 bits.
const LARGEST_HEAD: u64 = 16 << 20;

/// `handshake`, `head` and `send` of `[server.timeouts]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the head of a request, and between two requests.
    pub head: Duration,
    /// For a client to take some of what it is sent.
    pub send: Duration,
}

impl Timeouts {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let read = |key, default| table.get(key).and_then(|value| value.time()).unwrap_or(default);
        Self {
            handshake: read("handshake", Duration::from_secs(10)),
            head: read("head", Duration::from_secs(60)),
            send: read("send", Duration::from_secs(30)),
        }
    }
}

/// `connections`, `head`, `headers` and `http2_streams` of `[server.limits]`.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections of the whole process.
    pub(super) connections: Arc<Connections>,
    /// Bytes of a request's head.
    pub(super) head: u32,
    /// Headers of a request.
    pub(super) headers: usize,
    /// Requests that are open at once on one connection with HTTP/2.
    pub(super) http2_streams: u32,
}

impl Bounds {
    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.connections.open.load(Ordering::Relaxed)
    }

    /// What was configured, to be compared.
    pub fn configured(&self) -> String {
        format!("{} {} {} {}", self.connections.most, self.head, self.headers, self.http2_streams)
    }

    pub(super) fn read(table: &Table<'_>) -> Self {
        let number = |key, low, high| table.get(key).and_then(|value| value.integer(low, high));
        let most = number("connections", 1, 1 << 24).and_then(|most| usize::try_from(most).ok()).unwrap_or(32_768);
        let head = table.get("head").and_then(|value| {
            let head = value.size()?;
            if !(SMALLEST_HEAD..=LARGEST_HEAD).contains(&head) {
                value.problem("must be from \"8KiB\" to \"16MiB\"");
            }
            u32::try_from(head).ok()
        });
        Self {
            connections: Arc::new(Connections { most, ..Connections::default() }),
            head: head.unwrap_or(32 << 10),
            headers: number("headers", 1, 10_000).and_then(|most| usize::try_from(most).ok()).unwrap_or(100),
            http2_streams: number("http2_streams", 1, 10_000).and_then(|most| u32::try_from(most).ok()).unwrap_or(100),
        }
    }
}

impl Bounds {
    /// How many connections are open, and how many were refused because too many were.
    pub fn connections(&self) -> (usize, u64) {
        let Connections { open, refused, .. } = &*self.connections;
        (open.load(Ordering::Relaxed), refused.load(Ordering::Relaxed))
    }
}

/// The open connections of the process.
#[derive(Debug, Default)]
pub(super) struct Connections {
    most: usize,
    open: AtomicUsize,
    refused: AtomicU64,
    is_full: AtomicBool,
}

impl Connections {
    /// The place of one more connection, if there is one.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let slot = Slot(Arc::clone(self));
        if self.open.fetch_add(1, Ordering::Relaxed) < self.most {
            return Some(slot);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        if !self.is_full.swap(true, Ordering::Relaxed) {
            // Said once until there is room again: whoever fills the gateway must not fill its log.
            tracing::warn!(connections = self.most, "no more connections are accepted: server.limits.connections");
        }
        None
    }
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Slot(Arc<Connections>);

impl Drop for Slot {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) <= self.0.most && self.0.is_full.load(Ordering::Relaxed) {
            self.0.is_full.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_ends_makes_room_for_another() {
        let connections = Arc::new(Connections { most: 2, ..Connections::default() });
        let first = connections.take();
        let second = connections.take();
        assert!(first.is_some() && second.is_some() && connections.take().is_none() && connections.take().is_none());
        drop(first);
        assert!(connections.take().is_some());
        drop(second);
        assert_eq!(connections.open.load(Ordering::Relaxed), 0);
    }
}

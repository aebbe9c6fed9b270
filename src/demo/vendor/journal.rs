//! What a simulated vendor has seen: every request, in the order in which they arrived.
//!
//! An entry is made when the head has arrived, grows while the body comes in, and is closed by what became of the
//! answer: the whole of it was handed to the connection, or its receiver left before.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use parking_lot::{Mutex, MutexGuard};

/// How much of a body is kept. What is behind it is only counted, so that a test may upload as much as it likes.
const KEPT: usize = 1 << 20;

/// One request that a simulated vendor received. Debug output shows neither credentials nor values: see `masked.rs`.
#[derive(Clone)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The path, as it was written.
    pub path: String,
    /// The query, as it was written, without the question mark.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// What arrived of the body, at most its first mebibyte.
    pub body: Bytes,
    /// How many bytes of body arrived.
    pub received: u64,
    /// What a vendor would have trusted because the call came with the account key: names of headers and body fields.
    pub honoured: Vec<String>,
    /// Whether the whole answer was handed to the connection.
    pub finished: bool,
    /// Whether the client left before that.
    pub aborted: bool,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Vec<Seen>>);

impl Journal {
    /// A copy of all entries.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.entries().clone()
    }

    /// How many answers were not wanted to their end.
    pub(super) fn aborted(&self) -> usize {
        self.entries().iter().filter(|seen| seen.aborted).count()
    }

    /// Notes a request's head.
    pub(super) fn open(self: &Arc<Self>, head: &Parts) -> Entry {
        let mut headers = head.headers.clone();
        for (name, value) in &mut headers {
            // So that a failing test does not print a key.
            value.set_sensitive(name == AUTHORIZATION);
        }
        let mut entries = self.entries();
        entries.push(Seen {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            headers,
            body: Bytes::new(),
            received: 0,
            honoured: Vec::new(),
            finished: false,
            aborted: false,
        });
        Entry { journal: Arc::clone(self), index: entries.len() - 1 }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.0.lock()
    }
}

/// One request's place in the journal.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    journal: Arc<Journal>,
    index: usize,
}

impl Entry {
    /// Notes bytes of the request's body.
    pub(super) fn receive(&self, data: &[u8]) {
        self.change(|seen| {
            let room = KEPT.saturating_sub(seen.body.len()).min(data.len());
            if room > 0 {
                seen.body = [seen.body.as_ref(), data.get(..room).unwrap_or_default()].concat().into();
            }
            seen.received += data.len() as u64;
        });
    }

    /// Notes what the vendor trusted its caller with.
    pub(super) fn honour(&self, names: impl IntoIterator<Item = String>) {
        self.change(|seen| seen.honoured.extend(names));
    }

    /// Masks a header in debug output that carries a key, as `Authorization` is masked anyhow.
    pub(super) fn mask(&self, name: &str) {
        self.change(|seen| {
            for (_, value) in seen.headers.iter_mut().filter(|(header, _)| header.as_str().eq_ignore_ascii_case(name)) {
                value.set_sensitive(true);
            }
        });
    }

    /// What was kept of the request's body.
    pub(super) fn body(&self) -> Bytes {
        self.journal.entries().get(self.index).map(|seen| seen.body.clone()).unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.journal.entries().get_mut(self.index) {
            change(seen);
        }
    }
}

/// Sees to it that an entry is closed: dropped before [`Watch::finish`], its answer counts as aborted.
///
/// hyper drops the service's future, or the answer's body, as soon as it notices that the client has gone.
pub(super) struct Watch {
    entry: Entry,
    finished: bool,
}

impl Watch {
    /// Watches over `entry`.
    pub(super) fn over(entry: Entry) -> Self {
        Self { entry, finished: false }
    }

    fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let finished = self.finished;
        self.entry.change(|seen| (seen.finished, seen.aborted) = (finished, !finished));
    }
}

/// An answer's body under watch.
pub(super) struct Watched {
    body: UnsyncBoxBody<Bytes, Infallible>,
    watch: Watch,
}

impl Watched {
    /// `body`, whose end closes the entry that `watch` is over.
    pub(super) fn new(body: UnsyncBoxBody<Bytes, Infallible>, mut watch: Watch) -> Self {
        if body.is_end_stream() {
            watch.finish();
        }
        Self { body, watch }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // hyper does not ask again where the body says by itself that it is at its end.
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.watch.finish();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

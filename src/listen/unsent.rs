//! What of an HTTP/2 connection's answers waits for its client's windows.
//!
//! hyper is done with an answer once a window had room for one byte of its last part: a client that opens its windows no
//! further would leave all the rest here, of as many streams as it has, for as long as it likes. So each part tells what was
//! sent of it. Where more than a little waits, an answer ends only when all of it was sent, and until then
//! [`Patience`](super::calls::Patience) is what its client has, as with every other part.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame, SizeHint};

use super::calls;
use super::http2::SEND_BUFFER;
use crate::net::READ_BUFFER;

/// So much memory of all answers of a connection may wait once their calls are over: what hyper takes of one answer at once, so
/// that an answer that is alone ends with its last part.
const MOST: usize = SEND_BUFFER + READ_BUFFER;

/// The memory of what waits of all answers of one connection: of a part all, also while a byte of it is left. What a short part
/// keeps of the longer read that it is from is not known here.
pub(super) type Unsent = Arc<AtomicUsize>;

/// What waits of one answer.
#[derive(Debug)]
struct Waiting {
    bytes: AtomicUsize,
    of_all: Unsent,
    /// Who sends the answer.
    sender: AtomicWaker,
}

impl Waiting {
    fn less(&self, bytes: usize) {
        if self.bytes.fetch_sub(bytes, Ordering::Relaxed) == bytes {
            self.sender.wake();
        }
    }

    /// Whether the answer may end.
    fn is_little(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) == 0 || self.of_all.load(Ordering::Relaxed) <= MOST
    }
}

/// The body of an answer that ends when it was sent.
#[derive(Debug)]
pub(super) struct Sent<B> {
    body: B,
    waiting: Arc<Waiting>,
    /// Whether there is no more to come of the body itself.
    is_whole: bool,
}

impl<B> Sent<B> {
    pub(super) fn new(body: B, unsent: &Unsent) -> Self {
        let (bytes, sender) = (AtomicUsize::new(0), AtomicWaker::new());
        Self { body, waiting: Arc::new(Waiting { bytes, of_all: Arc::clone(unsent), sender }), is_whole: false }
    }
}

impl<B: Body + Unpin> Body for Sent<B> {
    type Data = Part<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if !self.is_whole {
            if let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) {
                return Poll::Ready(Some(frame.map(|frame| frame.map_data(|data| Part::new(data, &self.waiting)))));
            }
            self.is_whole = true;
            calls::offered();
        }
        self.waiting.sender.register(context.waker());
        if self.waiting.is_little() { Poll::Ready(None) } else { Poll::Pending }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.waiting.is_little()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A part of an answer, which tells what was sent of it.
#[derive(Debug)]
pub(super) struct Part<D: Buf> {
    data: D,
    /// How long it was.
    length: usize,
    waiting: Arc<Waiting>,
}

impl<D: Buf> Part<D> {
    fn new(data: D, waiting: &Arc<Waiting>) -> Self {
        let length = data.remaining();
        waiting.bytes.fetch_add(length, Ordering::Relaxed);
        waiting.of_all.fetch_add(length, Ordering::Relaxed);
        Self { data, length, waiting: Arc::clone(waiting) }
    }
}

impl<D: Buf> Buf for Part<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, sent: usize) {
        self.data.advance(sent);
        self.waiting.less(sent);
    }
}

impl<D: Buf> Drop for Part<D> {
    fn drop(&mut self) {
        self.waiting.of_all.fetch_sub(self.length, Ordering::Relaxed);
        self.waiting.less(self.data.remaining());
    }
}

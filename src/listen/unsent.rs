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

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame, SizeHint};

use super::calls;
use crate::net::READ_BUFFER;

/// So much memory of all answers of a connection may wait once their calls are over: more than a part, so that an answer that has
/// one and is alone ends with it.
const MOST: usize = READ_BUFFER + (32 << 10);

/// A part that is no longer is put into memory of its own: it may be a piece of a read of up to [`READ_BUFFER`].
const SHORT: usize = 8 << 10;

/// The memory of what waits of all answers of one connection: of a part all, also while a byte of it is left.
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

impl<B: Body<Data = Bytes> + Unpin> Body for Sent<B> {
    type Data = Part;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if !self.is_whole {
            if let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) {
                let is_last = self.body.is_end_stream();
                let part = |data| Part::new(data, is_last, &self.waiting);
                return Poll::Ready(Some(frame.map(|frame| frame.map_data(part))));
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
pub(super) struct Part {
    data: Bytes,
    /// How long it was.
    length: usize,
    waiting: Arc<Waiting>,
}

impl Part {
    /// The last part of an answer may wait for longer than its call, and then keeps nothing else of it.
    fn new(data: Bytes, is_last: bool, waiting: &Arc<Waiting>) -> Self {
        let length = data.len();
        waiting.bytes.fetch_add(length, Ordering::Relaxed);
        waiting.of_all.fetch_add(length, Ordering::Relaxed);
        let data = if is_last || length <= SHORT { Bytes::copy_from_slice(&data) } else { data };
        Self { data, length, waiting: Arc::clone(waiting) }
    }
}

impl Buf for Part {
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

impl Drop for Part {
    fn drop(&mut self) {
        self.waiting.of_all.fetch_sub(self.length, Ordering::Relaxed);
        self.waiting.less(self.data.remaining());
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;

    #[tokio::test]
    async fn a_part_that_may_be_left_behind_keeps_no_more_than_itself() {
        let read = Bytes::from(vec![b'x'; 1 << 20]);
        let last = Sent::new(Full::new(read.slice(..READ_BUFFER)), &Unsent::default()).frame().await;
        assert!(last.is_some() && read.is_unique(), "the last part of an answer");
        let parts = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Frame::data(read.slice(..SHORT)))]);
        let short = Sent::new(StreamBody::new(parts), &Unsent::default()).frame().await;
        assert!(short.is_some() && read.is_unique(), "a short part that nobody knows to be the last");
    }

    #[tokio::test]
    async fn what_waits_is_counted_until_it_is_gone() {
        let (of_all, data) = (Unsent::default(), Bytes::from(vec![b'x'; MOST + 1]));
        let mut answer = Sent::new(Full::new(data), &of_all);
        let mut part = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        part.advance(MOST);
        assert!(!answer.is_end_stream() && of_all.load(Ordering::Relaxed) == MOST + 1, "a byte keeps all of it");
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut answer).poll_frame(&mut context).is_pending());
        part.advance(1);
        assert!(Pin::new(&mut answer).poll_frame(&mut context).is_ready(), "all was sent");
        drop(part);
        assert_eq!(of_all.load(Ordering::Relaxed), 0);
    }
}

//! The calls of one connection, and whether their answers are being read.
//!
//! An answer's body is polled only when the client has taken enough of what came before. A client that takes nothing
//! keeps the body, and the vendor's call behind it, for as long as nobody looks: with HTTP/1 behind a full socket, with
//! HTTP/2 also behind a window that stays closed while the socket is fine. So each body notes for the future that polls
//! it whether something was offered that is not yet asked past, and [`Patience`] ends that future.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::ahead::Ahead;
use super::drain::{Drain, Phase};
use crate::alarm::Alarm;
use crate::clock::standing;

/// What the body that was polled last has said. A worker polls one future at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Offer {
    /// There is no body, or it waits for its vendor.
    #[default]
    None,
    /// A part was handed over, and the body was not polled since.
    Unread,
    /// The same, handed over just now.
    Fresh,
}

thread_local! {
    static OFFER: Cell<Offer> = const { Cell::new(Offer::None) };
}

/// Says that an answer has no more parts, and its client has the last one before it.
pub(super) fn offered() {
    OFFER.set(Offer::Fresh);
}

/// The calls of one connection. All of them are begun and ended on its worker's thread, so that a look and a store count them:
/// nobody comes in between.
#[derive(Debug, Default)]
pub(super) struct Calls {
    begun: AtomicUsize,
    ended: AtomicUsize,
    drain: Drain,
    ahead: Option<Arc<Ahead>>,
}

impl Calls {
    /// Of a connection that ends as `drain` says, and whose answers are no further `ahead` of its socket than they may be.
    pub(super) fn new(drain: &Drain, ahead: &Arc<Ahead>) -> Self {
        Self { drain: drain.clone(), ahead: Some(Arc::clone(ahead)), ..Self::default() }
    }

    /// One more, open until what comes back is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Call {
        count(&self.begun);
        if let Some(ahead) = &self.ahead {
            ahead.clear();
        }
        Call(Arc::clone(self))
    }

    /// Whether any is open.
    pub(super) fn are_open(&self) -> bool {
        self.ended.load(Ordering::Relaxed) != self.begun()
    }

    /// How many there were.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }
}

fn count(calls: &AtomicUsize) {
    calls.store(calls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// One open call.
#[derive(Debug)]
pub(super) struct Call(Arc<Calls>);

impl Call {
    /// Whether it is the connection's last: the next is to go elsewhere.
    pub(super) fn is_last(&self) -> bool {
        self.0.drain.phase() > Phase::Open
    }

    /// Whether more of its answer has to wait for the socket.
    fn is_held(&self) -> bool {
        self.0.ahead.as_ref().is_some_and(|ahead| ahead.holds())
    }

    fn gave(&self, bytes: usize) {
        if let Some(ahead) = &self.0.ahead {
            ahead.gave(bytes);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        count(&self.0.ended);
    }
}

/// The body of an answer, with its call.
#[derive(Debug)]
pub(super) struct Answer<B> {
    /// Nothing where the request was refused before anybody was asked.
    body: Option<B>,
    call: Option<Call>,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, call: impl Into<Option<Call>>) -> Self {
        Self { body: Some(body), call: call.into() }
    }

    pub(super) fn empty(call: Call) -> Self {
        Self { body: None, call: Some(call) }
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        OFFER.set(Offer::None);
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Self { body: Some(body), call } = &mut *self else { return Poll::Ready(None) };
        if call.as_ref().is_some_and(Call::is_held) {
            // What it gave before is not read: that is as it was.
            return Poll::Pending;
        }
        let polled = Pin::new(body).poll_frame(context);
        OFFER.set(if matches!(polled, Poll::Ready(Some(Ok(_)))) { Offer::Fresh } else { Offer::None });
        if let (Poll::Ready(Some(Ok(frame))), Some(call)) = (&polled, call) {
            call.gave(frame.data_ref().map_or(0, Buf::remaining));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// The client did not take what it was offered.
#[derive(Debug, thiserror::Error)]
#[error("the client does not read its answer")]
pub(super) struct Unread;

/// Ends a future whose answer the client does not read. It costs nothing while the client keeps up.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    offer: Offer,
    deadline: Instant,
    alarm: Alarm,
}

impl Patience {
    /// Patience for this long with each part of an answer.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, offer: Offer::None, deadline: Instant::now(), alarm: Alarm::default() }
    }

    /// Polls the future on which answers are sent. The clocks stand meanwhile.
    pub(super) fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        inner: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Unread>> {
        let outer = OFFER.replace(self.offer);
        let polled = standing(|| inner(context));
        self.offer = OFFER.replace(outer);
        match (polled, self.offer) {
            (Poll::Ready(output), _) => Poll::Ready(Ok(output)),
            (Poll::Pending, Offer::None) => Poll::Pending,
            (Poll::Pending, Offer::Fresh) => {
                self.offer = Offer::Unread;
                self.deadline = Instant::now() + self.limit;
                self.poll_deadline(context)
            }
            (Poll::Pending, Offer::Unread) => self.poll_deadline(context),
        }
    }

    fn poll_deadline<T>(&mut self, context: &mut Context<'_>) -> Poll<Result<T, Unread>> {
        self.alarm.poll(context, self.deadline).map(|()| Err(Unread))
    }

    /// Runs a future to its end, or until its answer is not read any more: then it is dropped.
    pub(super) async fn with(mut self, future: impl Future<Output = ()>) {
        let mut future = pin!(future);
        let ended = poll_fn(|context| self.poll(context, |context| future.as_mut().poll(context)));
        if let Err(error) = ended.await {
            tracing::debug!(%error, "a call was given up");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use tokio::io::AsyncWriteExt;

    use super::super::ahead::{self, Written};
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Sends one part, and then a client reads on after `wait` each time.
    async fn reads_on_after(wait: Duration, times: usize) -> Result<(), Unread> {
        let mut patience = Patience::new(LIMIT);
        let calls = Arc::new(Calls::default());
        let parts = (0..times).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"part"))));
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(parts));
        let mut answer = Answer::new(body, calls.begin());
        let mut sending = pin!(async move {
            while answer.frame().await.is_some() {
                tokio::time::sleep(wait).await;
            }
        });
        poll_fn(|context| patience.poll(context, |context| sending.as_mut().poll(context))).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_on_is_given_up() {
        assert!(reads_on_after(LIMIT + Duration::from_secs(1), 1).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_is_not() {
        assert!(reads_on_after(LIMIT - Duration::from_secs(1), 20).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_vendor_is_not_the_clients_fault() {
        let mut patience = Patience::new(LIMIT);
        let calls = Arc::new(Calls::default());
        let parts = futures_util::stream::once(async {
            tokio::time::sleep(LIMIT * 10).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"part")))
        });
        let mut answer = Answer::new(http_body_util::StreamBody::new(Box::pin(parts)), calls.begin());
        let mut sending = pin!(async move { while answer.frame().await.is_some() {} });
        let sent = poll_fn(|context| patience.poll(context, |context| sending.as_mut().poll(context))).await;
        assert!(sent.is_ok());
    }

    fn counted() -> (Arc<Calls>, Arc<Ahead>) {
        let ahead = Arc::new(Ahead::default());
        (Arc::new(Calls::new(&Drain::default(), &ahead)), ahead)
    }

    /// An answer without an end.
    fn endless(calls: &Arc<Calls>) -> Answer<impl Body<Data = Bytes, Error = Infallible> + Unpin> {
        let parts = std::iter::repeat_with(|| Ok(Frame::data(Bytes::from(vec![0; ahead::MOST / 2]))));
        Answer::new(http_body_util::StreamBody::new(futures_util::stream::iter(parts)), calls.begin())
    }

    fn parts(answer: &mut (impl Body + Unpin), context: &mut Context<'_>) -> usize {
        std::iter::from_fn(|| Pin::new(&mut *answer).poll_frame(context).is_ready().then_some(())).count()
    }

    #[tokio::test]
    async fn a_body_that_is_far_ahead_waits_for_the_socket() {
        let (calls, ahead) = counted();
        let (mut answer, mut socket) = (endless(&calls), Written::new(tokio::io::sink(), &ahead));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert_eq!(parts(&mut answer, &mut context), 2);
        assert!(!ahead.may_go_on(), "nothing was written");
        socket.write_all(&[0; 1]).await.unwrap();
        assert!(ahead.may_go_on() && !ahead.may_go_on(), "it is told once");
        assert_eq!(parts(&mut answer, &mut context), 1);
        socket.write_all(&[0; 10 * ahead::MOST]).await.unwrap();
        assert!(ahead.may_go_on());
        assert_eq!(parts(&mut answer, &mut context), 2, "heads make no room");
        socket.flush().await.unwrap();
        assert_eq!(parts(&mut answer, &mut context), 2, "what was never written does not count when all was");
        drop(answer);
        assert_eq!(parts(&mut endless(&calls), &mut context), 2, "what was never written does not count for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_though_its_body_waits() {
        let (calls, _) = counted();
        let (mut patience, mut answer) = (Patience::new(LIMIT), endless(&calls));
        tokio::time::sleep(LIMIT * 2).await;
        let begun = Instant::now();
        let reading = poll_fn(|context| {
            patience.poll(context, |context| {
                parts(&mut answer, context);
                Poll::<()>::Pending
            })
        });
        assert!(reading.await.is_err() && begun.elapsed() >= LIMIT);
    }

    #[test]
    fn a_call_is_open_until_its_answer_is_dropped() {
        let calls = Arc::new(Calls::default());
        let answer = Answer::new(Full::new(Bytes::new()), calls.begin());
        assert!(calls.are_open());
        drop(answer);
        assert!(!calls.are_open() && calls.begun() == 1);
    }
}

//! A caller's own body on its way to the vendor, as it comes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::arriving::Arriving;
use super::body::BodyError;
use super::kept::Permit;

/// What is kept of an upload that a vendor may not have begun with: most are shorter.
const MOST_TAKEN: u64 = 64 << 10;

/// What a caller's body keeps for as long as it is sent, which may be for longer than its answer lasts.
pub(crate) trait Hold: Send {
    /// Whether its caller's right to the call was revoked.
    fn is_revoked(&self) -> bool;

    /// Whether more of it may be sent: not once that right has ended, for whatever reason; pending while nobody knows. Whoever
    /// is told that it may is woken when that changes.
    fn poll_right(&mut self, context: &mut Context<'_>) -> Poll<bool>;

    /// Nobody waits for that any more, for now.
    fn rest(&mut self);
}

/// A caller's body, with the bound on its length.
pub(crate) struct Streamed {
    body: Arriving,
    sent: u64,
    limit: Option<u64>,
    count: Option<Arc<AtomicU64>>,
    /// With until when the first part may be sent without asking.
    hold: Option<(Instant, Box<dyn Hold>)>,
    /// Whether the first part was not there at once.
    has_waited: bool,
    /// What was taken of it so far, while it is little and may be needed again.
    taken: Option<Vec<Bytes>>,
    /// How many of these parts have been given.
    given: usize,
    upload: Sending,
}

impl Streamed {
    pub(super) fn new(body: Arriving, limit: Option<u64>, count: Option<Arc<AtomicU64>>) -> Self {
        let upload = Sending::default();
        Self { body, sent: 0, limit, count, hold: None, has_waited: false, taken: None, given: 0, upload }
    }

    pub(super) fn hold(&mut self, until: Instant, hold: Box<dyn Hold>) {
        self.hold = Some((until, hold));
    }

    pub(super) fn shared_upload(&self) -> Arc<Upload> {
        Arc::clone(&self.upload.0)
    }

    /// From now on, what is taken of it is kept, while it is little.
    pub(super) fn keep(&mut self) {
        if self.sent == 0 {
            self.taken = Some(Vec::new());
        }
    }

    /// All of it anew, if nothing of it is gone.
    pub(super) fn rewound(mut self: Box<Self>) -> Option<Box<Self>> {
        self.given = 0;
        (self.taken.is_some() || self.sent == 0).then_some(self)
    }

    /// All of it has been sent, though it may still be asked for again.
    pub(super) fn finish(&mut self) {
        if let Some((_, hold)) = &mut self.hold {
            hold.rest();
        }
        self.upload.0.finish();
    }

    fn given_again(&mut self) -> Option<Bytes> {
        let part = self.taken.as_ref()?.get(self.given)?.clone();
        self.given += 1;
        Some(part)
    }

    fn remember(&mut self, data: &Bytes) {
        match &mut self.taken {
            Some(taken) if self.sent <= MOST_TAKEN => {
                taken.push(data.clone());
                self.given = taken.len();
            }
            _ => self.taken = None,
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let again: usize = self.taken.iter().flatten().skip(self.given).map(Bytes::len).sum();
        match (again, self.body.size_hint().exact()) {
            (0, _) => self.body.size_hint(),
            (again, Some(rest)) => SizeHint::with_exact(rest + u64::try_from(again).unwrap_or_default()),
            (_, None) => SizeHint::default(),
        }
    }

    /// Whether more of it may be sent. The first part goes unasked while its token is good: most bodies are one part, and
    /// nothing has passed yet that would have to be cut. Who waits for the answer watches over the right until then.
    pub(super) fn poll_right(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some((until, hold)) = &mut self.hold else { return Poll::Ready(Ok(())) };
        let is_asked = self.sent > 0 || Instant::now() > *until || self.has_waited && hold.is_revoked();
        if !is_asked || ready!(hold.poll_right(context)) {
            return Poll::Ready(Ok(()));
        }
        self.upload.0.fail(BodyError::Expired);
        Poll::Ready(Err(BodyError::Expired))
    }

    /// What others see of its way.
    pub(super) fn upload(&self) -> &Upload {
        &self.upload.0
    }

    /// Whether all of it has been taken.
    pub(super) fn is_at_its_end(&self) -> bool {
        self.body.is_at_its_end() && self.taken.as_ref().is_none_or(|taken| taken.len() == self.given)
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        ready!(self.poll_right(context))?;
        if let Some(part) = self.given_again() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match self.body.poll(context) {
            Poll::Ready(Some(Ok(data))) => {
                self.sent = self.sent.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                if let Some(count) = &self.count {
                    count.store(self.sent, Ordering::Relaxed);
                }
                if self.taken.is_some() {
                    self.remember(&data);
                }
                match self.limit {
                    Some(limit) if self.sent > limit => Poll::Ready(Some(Err(BodyError::TooLong(limit)))),
                    _ => Poll::Ready(Some(Ok(Frame::data(data)))),
                }
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                self.has_waited = true;
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Streamed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Streamed").field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// Whether a body that streams is still being sent.
#[derive(Debug, Default)]
pub(super) struct Upload {
    has_ended: AtomicBool,
    end: Notify,
    /// That of a connection whose answer has ended already.
    permit: Mutex<Option<Permit>>,
    /// Why it was given up, where nobody else tells: the streams of HTTP/2 do not, and HTTP/1 later.
    failure: Mutex<Option<BodyError>>,
}

impl Upload {
    /// Whether all of it was sent, or it was given up.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Waits for that, and says when.
    pub(super) async fn ended(&self) -> Instant {
        self.end.notified().await;
        Instant::now()
    }

    /// Nothing more is to be sent.
    fn finish(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.end.notify_one();
        drop(self.permit.lock().take());
    }

    /// Has its connection count as open until it ends.
    pub(super) fn keep(&self, permit: Option<Permit>) {
        *self.permit.lock() = permit;
        if self.has_ended() {
            // Meanwhile.
            self.finish();
        }
    }

    /// It was given up for this.
    pub(super) fn fail(&self, error: BodyError) {
        *self.failure.lock() = Some(error);
    }

    /// Whether all of it was sent.
    pub(super) fn is_whole(&self) -> bool {
        self.has_ended() && self.failure.lock().is_none()
    }

    /// Why it was given up.
    pub(super) fn failure(&self) -> Option<BodyError> {
        self.failure.lock().take()
    }
}

/// The sending side of an [`Upload`]: hyper drops the body once it has no more use for it.
#[derive(Debug, Default)]
struct Sending(Arc<Upload>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.finish();
    }
}

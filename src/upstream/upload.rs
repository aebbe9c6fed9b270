//! A caller's own body on its way to the vendor, as it comes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

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

/// A caller's body, with the bound on its length.
pub struct Streamed {
    body: Arriving,
    sent: u64,
    limit: Option<u64>,
    count: Option<Arc<AtomicU64>>,
    until: Option<Instant>,
    /// What was taken of it so far, while it is little and may be needed again.
    taken: Option<Vec<Bytes>>,
    /// How many of these parts have been given.
    given: usize,
    upload: Sending,
    /// What counts the call as open: dropped with the body, which may be sent for longer than its answer lasts.
    held: Vec<Box<dyn Any + Send>>,
}

impl Streamed {
    pub(super) fn new(body: Arriving, limit: Option<u64>, count: Option<Arc<AtomicU64>>) -> Self {
        let (upload, held) = (Sending::default(), Vec::new());
        Self { body, sent: 0, limit, count, until: None, taken: None, given: 0, upload, held }
    }

    pub(super) fn hold(&mut self, guard: Box<dyn Any + Send>) {
        self.held.push(guard);
    }

    pub(super) fn end_at(&mut self, deadline: Instant) {
        self.until = Some(deadline);
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
    pub(super) fn finish(&self) {
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

    /// When nothing more of it may be sent.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
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
                    _ if self.until.is_some_and(|until| Instant::now() > until) => {
                        Poll::Ready(Some(Err(BodyError::Expired)))
                    }
                    _ => Poll::Ready(Some(Ok(Frame::data(data)))),
                }
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
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
    /// Why it was given up, where nobody else tells: the streams of HTTP/2 do not.
    failure: Mutex<Option<BodyError>>,
}

impl Upload {
    /// Whether all of it was sent, or it was given up.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Waits for that.
    pub(super) async fn ended(&self) {
        self.end.notified().await;
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

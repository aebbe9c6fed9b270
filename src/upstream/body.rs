//! The body of a call to a vendor.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::Notify;

/// The body of a call to a vendor: written by us, or the caller's own as it comes.
#[derive(Debug)]
pub enum RequestBody {
    /// Written by us.
    Whole(Full<Bytes>),
    /// The caller's, as it comes.
    Streamed(Streamed),
}

/// A caller's body, with the bound on its length.
#[derive(Debug)]
pub struct Streamed {
    body: Incoming,
    /// The length that the caller declared.
    declared: Option<u64>,
    /// The part that completes it, until the caller has ended the body.
    last: Option<Bytes>,
    sent: u64,
    limit: Option<u64>,
    count: Option<Arc<AtomicU64>>,
    upload: Sending,
}

/// Whether a body that streams is still being sent.
#[derive(Debug, Default)]
pub(super) struct Upload {
    has_ended: AtomicBool,
    end: Notify,
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
}

/// The sending side of an [`Upload`]: hyper drops the body once it has no more use for it.
#[derive(Debug, Default)]
struct Sending(Arc<Upload>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Release);
        self.0.end.notify_one();
    }
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self::Whole(Full::default())
    }

    /// This body.
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }

    /// The caller's body as it comes, up to `limit` bytes, and what counts it.
    pub fn streamed(body: Incoming, limit: Option<u64>, count: Option<Arc<AtomicU64>>) -> Self {
        let declared = body.size_hint().exact();
        Self::Streamed(Streamed { body, declared, last: None, sent: 0, limit, count, upload: Sending::default() })
    }

    /// The upload of a body that streams; one of our own is as good as sent.
    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        match self {
            Self::Whole(_) => None,
            Self::Streamed(streamed) => Some(Arc::clone(&streamed.upload.0)),
        }
    }
}

impl Streamed {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else { break };
            // Trailers do not pass.
            let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { break };
            self.sent = self.sent.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
            if let Some(count) = &self.count {
                count.store(self.sent, Ordering::Relaxed);
            }
            match self.limit {
                Some(limit) if self.sent > limit => return Poll::Ready(Some(Err(BodyError::TooLong(limit)))),
                _ if data.is_empty() => {}
                // With it the vendor would have the whole call, while in HTTP/2 more may come than was declared: then
                // the request is malformed and must not be forwarded (RFC 9113 §8.1.1).
                _ if self.declared == Some(self.sent) && !self.body.is_end_stream() => self.last = Some(data),
                _ => return Poll::Ready(Some(Ok(Frame::data(data)))),
            }
        }
        Poll::Ready(self.last.take().map(Frame::data).map(Ok))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Streamed(body) => body.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Streamed(streamed) => streamed.last.is_none() && streamed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Streamed(Streamed { last: Some(last), .. }) => {
                SizeHint::with_exact(u64::try_from(last.len()).unwrap_or(u64::MAX))
            }
            Self::Streamed(streamed) => streamed.body.size_hint(),
        }
    }
}

/// Why a caller's body could not be sent to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than this many bytes.
    #[error("longer than {0} bytes")]
    TooLong(u64),
    /// The caller broke off.
    #[error("broken off")]
    Broken(#[source] hyper::Error),
}

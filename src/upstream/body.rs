//! The body of a call to a vendor.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

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
        Self::Streamed(Streamed { body, sent: 0, limit, count, upload: Sending::default() })
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
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                // Trailers do not pass.
                let Some(data) = frame.data_ref() else { return Poll::Ready(None) };
                self.sent = self.sent.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                if let Some(count) = &self.count {
                    count.store(self.sent, Ordering::Relaxed);
                }
                match self.limit {
                    Some(limit) if self.sent > limit => Poll::Ready(Some(Err(BodyError::TooLong(limit)))),
                    _ => Poll::Ready(Some(Ok(frame))),
                }
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(BodyError::Broken(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
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
            Self::Streamed(streamed) => streamed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
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

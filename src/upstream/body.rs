//! The body of a call to a vendor.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::arriving::Arriving;
pub(crate) use super::upload::Hold;
use super::upload::{Streamed, Upload};
use crate::net::ClientBody;

/// The longest body that is looked for as its call comes: what came with a head is hardly more.
const SHORT: u64 = 8 << 10;

/// The body of a call to a vendor: all there, or the caller's own as it comes.
pub(crate) enum RequestBody {
    /// Written by us, or the caller's where it was there already.
    Whole(Full<Bytes>),
    /// The caller's, as it comes.
    Streamed(Box<Streamed>),
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The vendor's key is in it where the profile says so.
        formatter.write_str(match self {
            Self::Whole(_) => "Whole(…)",
            Self::Streamed(_) => "Streamed(…)",
        })
    }
}

impl RequestBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self::Whole(Full::default())
    }

    /// This body.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }

    /// The caller's body as it comes, up to `limit` bytes, and what counts it; `patience` is for each part. A short one that is
    /// all there, as most are that come with their heads, is as good as sent, like one that is written by us. To look for it
    /// tells a client that waits for `100 Continue` to go on.
    pub(crate) fn of_caller(
        mut body: ClientBody,
        patience: Duration,
        limit: Option<u64>,
        count: Option<Arc<AtomicU64>>,
    ) -> Self {
        let declared = body.size_hint().exact();
        // Of a longer one not all is there, and its caller sends no more before there is a place for it at the vendor.
        let is_short = declared.is_some_and(|length| length <= SHORT);
        let first = if is_short { body.frame().now_or_never() } else { None };
        let is_whole = |data: &Bytes| body.is_end_stream() && u64::try_from(data.len()).ok() == declared;
        match first {
            Some(Some(Ok(part))) if part.data_ref().is_some_and(is_whole) => {
                Self::whole(part.into_data().unwrap_or_default())
            }
            first => {
                let arriving = Arriving::new(body, declared, first, patience);
                Self::Streamed(Box::new(Streamed::new(arriving, limit, count)))
            }
        }
    }

    /// Has a body that streams keep `hold` until it is not sent any more, and ask it whether it may still be: for all parts
    /// but one that comes before `until`. A body that is all there is as good as sent.
    pub(crate) fn hold(&mut self, until: Instant, hold: impl Hold + 'static) {
        if let Self::Streamed(streamed) = self {
            streamed.hold(until, Box::new(hold));
        }
    }

    /// Whether it is the caller's own, as it comes.
    pub(crate) fn is_streamed(&self) -> bool {
        matches!(self, Self::Streamed(_))
    }

    /// The upload of a body that streams; one that is all there is as good as sent.
    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        match self {
            Self::Whole(_) => None,
            Self::Streamed(streamed) => Some(streamed.shared_upload()),
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
            Self::Streamed(streamed) => streamed.is_at_its_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Streamed(streamed) => streamed.size_hint(),
        }
    }
}

/// Why a caller's body could not be sent to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is longer than this many bytes.
    #[error("longer than {0} bytes")]
    TooLong(u64),
    /// The caller broke off.
    #[error("broken off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// The caller sent nothing for this long.
    #[error("nothing came for {0:?}")]
    Slow(Duration),
    /// The right to the call ended first.
    #[error("not there when the right to the call ended")]
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_with_the_key_in_it_is_not_in_debug_output() {
        let body = RequestBody::whole(Bytes::from_static(b"{\"api_key\":\"sk-live-0123456789abcdef\"}"));
        assert_eq!(format!("{body:?}"), "Whole(…)");
    }
}

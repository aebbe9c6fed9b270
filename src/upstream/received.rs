//! The answer to a call on a shared connection.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderValue;
use hyper::body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::answer::AnswerError;
use super::http2::Seat;
use super::upload::Streamed;

/// An answer on a stream of its own.
#[derive(Debug)]
pub(crate) struct Http2Body {
    body: RecvStream,
    /// How much of it is still to come, where the vendor said so. h2 sees to it that this is true.
    left: Option<u64>,
    /// Nothing once it has ended.
    call: Option<Call>,
}

impl Http2Body {
    pub(super) fn new(response: RecvStream, call: Call) -> Self {
        Self { left: None, body: response, call: Some(call) }
    }

    /// With the length that the head of its answer gave.
    pub(super) fn with_length(mut self, length: Option<&HeaderValue>) -> Self {
        self.left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        if self.body.is_end_stream() {
            self.end();
        }
        self
    }

    /// The answer has ended; an upload may go on.
    fn end(&mut self) {
        self.left = Some(0);
        if let Some(mut call) = self.call.take() {
            call.upload = None;
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if self.call.is_none() {
            return Poll::Ready(None);
        }
        match ready!(self.body.poll_data(context)) {
            Some(Ok(data)) => {
                // Only what the caller has taken makes room for more.
                let length = data.len();
                if let Err(error) = self.body.flow_control().release_capacity(length) {
                    return Poll::Ready(Some(Err(AnswerError::Http2(error))));
                }
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
                }
                if self.body.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            // Also a reset without an error cuts it: after the end of an answer a vendor may ask so for an end of the
            // upload (RFC 9113 §8.1), and then h2 tells of that end, and not of the reset.
            Some(Err(error)) => Poll::Ready(Some(Err(AnswerError::Http2(error)))),
            None => match ready!(self.body.poll_trailers(context)) {
                // Trailers do not pass.
                Ok(_trailers) => {
                    self.end();
                    Poll::Ready(None)
                }
                Err(error) => Poll::Ready(Some(Err(AnswerError::Http2(error)))),
            },
        }
    }

    pub(super) fn is_at_its_end(&self) -> bool {
        self.call.is_none()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// What is to be dropped with a call.
#[derive(Debug)]
pub(super) struct Call {
    #[expect(dead_code, reason = "is held")]
    seat: Arc<Seat>,
    upload: Option<JoinHandle<Option<Box<Streamed>>>>,
}

impl Call {
    /// A call on this seat, and what sends its body, if a caller has to.
    pub(super) fn new(seat: Arc<Seat>, upload: Option<JoinHandle<Option<Box<Streamed>>>>) -> Self {
        Self { seat, upload }
    }

    /// The caller's body as it was before it was sent, if nothing of it is gone.
    pub(super) async fn untouched_body(&mut self) -> Option<Box<Streamed>> {
        // The task ends with its stream.
        self.upload.take()?.await.ok()?.and_then(Streamed::rewound)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.abort();
        }
    }
}

//! A caller's own body as it arrives: in time, and as long as it was declared.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::body::BodyError;
use crate::alarm::Alarm;
use crate::net::{ClientBody, ClientBodyError};

/// What a body gives when it is asked for its next part.
pub(super) type Next = Option<Result<Frame<Bytes>, ClientBodyError>>;

/// A body that is read from its caller.
pub(super) struct Arriving {
    body: ClientBody,
    /// What it gave when it was asked for the first time, until that is taken.
    first: Option<Next>,
    /// The length that the caller declared.
    declared: Option<u64>,
    arrived: u64,
    /// The part that completes it, until the caller has ended the body.
    last: Option<Bytes>,
    /// How long the caller may take for the next part.
    patience: Duration,
    /// When it has taken too long, while it is waited for.
    deadline: Option<Instant>,
    alarm: Alarm,
}

impl Arriving {
    /// A body for which this length was `declared`, and which has given its `first` part, if it was asked for that.
    pub(super) fn new(body: ClientBody, declared: Option<u64>, first: Option<Next>, patience: Duration) -> Self {
        Self { body, first, declared, arrived: 0, last: None, patience, deadline: None, alarm: Alarm::default() }
    }

    /// The next part that may be sent on.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let frame = match self.first.take() {
                Some(first) => first,
                None => match Pin::new(&mut self.body).poll_frame(context) {
                    Poll::Ready(frame) => frame,
                    Poll::Pending => return self.poll_patience(context),
                },
            };
            self.deadline = None;
            // Trailers do not pass.
            let Some(Ok(data)) =
                frame.transpose().map_err(|error| BodyError::Broken(error.into()))?.map(Frame::into_data)
            else {
                break;
            };
            self.arrived = self.arrived.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
            match self.declared {
                _ if data.is_empty() => {}
                // With it the vendor would have the whole call, while in HTTP/2 more may come than was declared: then
                // the request is malformed and must not be forwarded (RFC 9113 §8.1.1).
                Some(declared) if declared == self.arrived && !self.body.is_end_stream() => self.last = Some(data),
                _ => return Poll::Ready(Some(Ok(data))),
            }
        }
        Poll::Ready(self.last.take().map(Ok))
    }

    /// A caller that sends nothing, and not one that we do not read from.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.patience);
        ready!(self.alarm.poll(context, deadline));
        Poll::Ready(Some(Err(BodyError::Slow(self.patience))))
    }

    /// Whether all of it has been given.
    pub(super) fn is_at_its_end(&self) -> bool {
        self.first.is_none() && self.last.is_none() && self.body.is_end_stream()
    }

    /// What is still to come.
    pub(super) fn size_hint(&self) -> SizeHint {
        match (&self.last, self.declared) {
            (Some(last), _) => SizeHint::with_exact(u64::try_from(last.len()).unwrap_or(u64::MAX)),
            (None, Some(declared)) => SizeHint::with_exact(declared.saturating_sub(self.arrived)),
            (None, None) => self.body.size_hint(),
        }
    }
}

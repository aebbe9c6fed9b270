//! The body of a vendor's answer; it holds its connection until it has been read to the end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;

use super::body::RequestBody;
use super::kept::{Home, Permit};
use super::received::Http2Body;
use super::upload::Upload;

/// The body of a vendor's answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// It has a connection for itself.
    Http1(Http1Body),
    /// It shares one.
    Http2(Http2Body),
}

/// Why an answer did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// The connection ended, or what came on it was not HTTP/1.1.
    #[error("the connection to the vendor broke off")]
    Http1(#[source] hyper::Error),
    /// The vendor reset the stream, the connection ended, or what came on it was not HTTP/2.
    #[error("the vendor's stream broke off")]
    Http2(#[source] h2::Error),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match self.get_mut() {
            Self::Http1(body) => body.poll(context),
            Self::Http2(body) => body.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.body.is_end_stream(),
            Self::Http2(body) => body.is_at_its_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// A body on a connection of its own.
#[derive(Debug)]
pub(crate) struct Http1Body {
    body: Incoming,
    connection: Connection,
}

/// The connection of an answer. It is closed with its sender.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: Option<SendRequest<RequestBody>>,
    pub(super) home: Home,
    pub(super) upload: Option<Arc<Upload>>,
    pub(super) permit: Option<Permit>,
}

impl Connection {
    /// The answer has ended: the connection is free, unless the call is still being sent on it.
    ///
    /// A vendor may answer before it has the whole body. The next call would wait for the rest of this one's, which its
    /// caller can hold back for as long as it likes.
    fn release(&mut self) {
        let unsent = self.upload.as_ref().filter(|upload| !upload.has_ended());
        match (self.sender.take(), unsent) {
            (Some(sender), None) => self.home.with(|kept| kept.put_back(sender)),
            // It is in use until its upload ends.
            (Some(_), Some(upload)) => upload.keep(self.permit.take()),
            (None, _) => {}
        }
        // Only now: whoever waits for the permit finds the connection.
        self.permit = None;
    }
}

impl Http1Body {
    pub(super) fn new(body: Incoming, mut connection: Connection) -> Self {
        if body.is_end_stream() {
            connection.release();
        }
        Self { body, connection }
    }

    /// The same on a connection that no other call is to have.
    pub(super) fn alone(body: Incoming, home: &Home) -> Self {
        Self { body, connection: Connection { sender: None, home: home.clone(), upload: None, permit: None } }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.connection.release(),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.connection.release(),
            Poll::Ready(Some(Err(_))) => self.connection.sender = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled.map_err(AnswerError::Http1)
    }
}

//! The body of a client's request, which is never shorter than the client meant it to be.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// The body of a client's request. hyper takes a stream of HTTP/2 that was reset with NO_ERROR for one that has ended: to a
/// client that is how a server says that it wants no more (RFC 9113 §8.1). From a client, or the proxy before it, it is a
/// body that broke off, and must not be carried out as if it were whole.
#[derive(Debug)]
pub(crate) struct ClientBody {
    body: Incoming,
    is_http2: bool,
}

/// Why a client's body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientBodyError {
    /// The connection ended, or what came on it was not HTTP.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
    /// It was given up as if nothing were wrong.
    #[error("the stream was reset with NO_ERROR before the body had ended")]
    Reset,
}

impl ClientBody {
    /// The request with this as its body.
    pub(crate) fn of(request: Request<Incoming>) -> Request<Self> {
        let is_http2 = request.version() == Version::HTTP_2;
        request.map(|body| Self { body, is_http2 })
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        // A chunked body of HTTP/1.1 never knows that it is at its end; one that broke off is an error there.
        Poll::Ready(match frame {
            None if self.is_http2 && !self.body.is_end_stream() => Some(Err(ClientBodyError::Reset)),
            frame => frame.map(|frame| frame.map_err(ClientBodyError::Broken)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

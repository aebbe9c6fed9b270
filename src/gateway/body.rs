//! The body of every answer, with the record of its request: the record is written when the body ends.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::net::READ_BUFFER;
use crate::proxy::{AnswerStream, Socket};
use crate::telemetry::Record;
use crate::telemetry::metrics::Open;

/// What an answer is made of.
pub(super) enum Payload {
    /// Known as a whole.
    Whole(Bytes),
    /// Of the gateway's own endpoints.
    Own(axum::body::Body),
    /// A vendor's, as it comes.
    Stream(Box<AnswerStream>),
    /// Nothing: a WebSocket begins behind the head.
    Socket(Box<Socket>),
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The answer to a session call is a token.
        formatter.write_str(match self {
            Self::Whole(_) => "Whole(…)",
            Self::Own(_) => "Own(…)",
            Self::Stream(_) => "Stream(…)",
            Self::Socket(_) => "Socket(…)",
        })
    }
}

/// No more at once than of what comes from a vendor: the time-out for a client that does not read is for each part.
fn next_part(whole: &mut Bytes) -> Option<Bytes> {
    (!whole.is_empty()).then(|| whole.split_to(whole.len().min(READ_BUFFER)))
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Body {
    payload: Payload,
    /// Written when it is dropped. A WebSocket has taken its record along.
    record: Option<Box<Record>>,
    /// Whether it ended with an error, which the caller sees as an answer that is not whole.
    is_cut: bool,
}

impl Body {
    /// The body of an answer. A WebSocket begins its work here: what agreed to it is all done.
    pub(super) fn new(payload: Payload, mut record: Box<Record>) -> Self {
        match payload {
            Payload::Socket(socket) => {
                record.goes_on_as(Open::Socket);
                socket.start(record);
                Self { payload: Payload::Whole(Bytes::new()), record: None, is_cut: false }
            }
            payload => {
                if matches!(&payload, Payload::Stream(stream) if stream.has_events()) {
                    record.goes_on_as(Open::Stream);
                }
                Self { payload, record: Some(record), is_cut: false }
            }
        }
    }
}

/// Why a body was cut: HTTP/1 leaves its last chunk out, HTTP/2 resets the stream.
#[derive(Debug)]
pub(crate) struct BodyCut(Box<dyn Error + Send + Sync>);

impl fmt::Display for BodyCut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the body of the answer was cut")
    }
}

impl Error for BodyCut {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        let body = self.get_mut();
        let polled = match &mut body.payload {
            Payload::Whole(whole) => Poll::Ready(next_part(whole).map(|part| Ok(Frame::data(part)))),
            Payload::Own(own) => Pin::new(own).poll_frame(context).map_err(|error| BodyCut(error.into())),
            Payload::Stream(stream) => Pin::new(&mut **stream).poll_frame(context).map_err(|cut| BodyCut(cut.into())),
            Payload::Socket(_) => Poll::Ready(None),
        };
        if let Some(record) = &mut body.record {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(None) => record.is_complete = !body.is_cut,
                Poll::Ready(Some(Err(_))) => body.is_cut = true,
                Poll::Pending => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.payload {
            Payload::Whole(whole) => whole.is_empty(),
            Payload::Own(own) => own.is_end_stream(),
            Payload::Stream(stream) => stream.is_end_stream(),
            Payload::Socket(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.payload {
            Payload::Whole(whole) => SizeHint::with_exact(whole.len() as u64),
            Payload::Own(own) => own.size_hint(),
            Payload::Stream(stream) => stream.size_hint(),
            Payload::Socket(_) => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let is_end = self.is_end_stream() && !self.is_cut;
        let Some(record) = &mut self.record else { return };
        // hyper does not ask again once the length that was promised is sent.
        if is_end {
            record.is_complete = true;
        }
        if let Payload::Stream(stream) = &self.payload
            && let Some(cut) = stream.cut()
        {
            record.code = Some(cut.code());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_a_token_in_it_is_not_in_debug_output() {
        let payload = Payload::Whole(Bytes::from_static(b"{\"token\":\"eyJhbGciOiJFZERTQSIs\"}"));
        assert_eq!(format!("{payload:?}"), "Whole(…)");
    }
}

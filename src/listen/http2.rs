//! One HTTP/2 connection.
//!
//! What a peer can make us keep is bounded: by the number of streams, the two windows, the length of a head (also in
//! CONTINUATION frames) and its fields, and what may wait to be sent. The `h2` crate counts resets and frames without
//! data or with little, and ends a connection that plays with them. What asks for an answer (SETTINGS, PING) is not read
//! on before that is written.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::ahead;
use super::bounds::{Bounds, Timeouts};
use super::calls::{Answer, Calls, Patience};
use super::drain::{Drain, Phase};
use super::unsent::{Sent, Unsent};
use super::{AnswerBody, HttpService};

/// Bytes of bodies that a client may send ahead of what is read: of all its streams together.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// And of one of them.
const STREAM_WINDOW: u32 = 256 << 10;
/// Streams that a client may reset before they were looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that we had to reset because of what the client did.
const OWN_RESETS: usize = 256;
/// A silent connection is pinged, and closed if no answer comes.
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may take to go when it is told to.
const GOODBYE: Duration = Duration::from_secs(5);

/// Runs each stream for as long as its client reads.
#[derive(Clone, Copy, Debug)]
struct Streams(Duration);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(Patience::new(self.0).with(stream));
    }
}

/// Serves the requests of a connection until it ends, or has had none for as long as a request may take.
pub(super) async fn serve<S, B>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: S,
    timeouts: Timeouts,
    bounds: &Bounds,
    drain: &Drain,
) where
    S: HttpService<B>,
    B: AnswerBody,
{
    let calls = Arc::new(Calls::default());
    let (counted, unsent) = (Arc::clone(&calls), Unsent::default());
    let most = bounds.headers;
    let service = service_fn(move |request: Request<Incoming>| {
        let call = counted.begin();
        let unsent = Arc::clone(&unsent);
        let answer = (fields(request.headers()) <= most).then(|| service.call(request));
        async move {
            let response = match answer {
                Some(answer) => answer.await?.map(|body| Answer::new(body, call)),
                None => too_many_fields(Answer::empty(call)),
            };
            Ok::<_, S::Error>(response.map(|answer| Sent::new(answer, &unsent)))
        }
    });
    let mut builder = Builder::new(Streams(timeouts.send));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.http2_streams)
        .max_header_list_size(bounds.head)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_send_buf_size(ahead::MOST)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));

    let mut idle = pin!(sleep(timeouts.head));
    let (mut seen, mut is_told) = (0, false);
    let (mut ear, mut is_last) = (drain.ear(), false);
    let served = poll_fn(|context| {
        if ear.hear(context) == Phase::Closing && !is_last {
            // GOAWAY: what is open goes on to its end, and nothing new begins.
            is_last = true;
            connection.as_mut().graceful_shutdown();
        }
        loop {
            if let Poll::Ready(served) = connection.as_mut().poll(context) {
                return Poll::Ready(served);
            }
            if idle.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if is_told {
                return Poll::Ready(Ok(()));
            }
            let next = if calls.are_open() || calls.begun() != seen {
                seen = calls.begun();
                timeouts.head
            } else {
                connection.as_mut().graceful_shutdown();
                is_told = true;
                GOODBYE
            };
            idle.as_mut().reset(Instant::now() + next);
        }
    });
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// How many header fields a request has. A browser sends each of its cookies in a field of its own, which HTTP/1 has in
/// one (RFC 9113 §8.2.3): they count as one.
fn fields(headers: &HeaderMap) -> usize {
    let cookies = headers.get_all(header::COOKIE).iter().count();
    headers.len() - cookies.saturating_sub(1)
}

/// As bare as what hyper answers to the same with HTTP/1, where it counts them itself.
fn too_many_fields<B>(body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

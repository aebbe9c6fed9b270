//! One HTTP/1.1 connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Response, header};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Sleep, sleep};

use super::ahead::{Ahead, Written};
use super::bell::Bell;
use super::bounds::{Bounds, Timeouts};
use super::calls::{Answer, Call, Calls, Patience};
use super::drain::{Drain, Phase};
use super::heads::Heads;
use super::stream::Watch;
use super::{AnswerBody, HttpService, UNUSED, within};
use crate::net::READ_BUFFER;

/// How many headers hyper has room for without asking for memory at each request.
const USUAL_HEADERS: usize = 100;
/// How long a client may go on sending a body that nobody reads, once its call is answered.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// And how much of it.
const LINGER_BYTES: usize = 16 << 20;

/// Why a connection was ended from here.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client left while its call was open")]
    Left,
    #[error("the client does not read its answer")]
    Unread,
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Serves the requests of a connection until it ends or is upgraded.
pub(super) async fn serve<S, B>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    watch: Watch,
    service: S,
    timeouts: Timeouts,
    bounds: &Bounds,
    drain: &Drain,
) where
    S: HttpService<B>,
    B: AnswerBody,
{
    let ahead = Arc::new(Ahead::default());
    let calls = Arc::new(Calls::new(drain, &ahead));
    let (io, counted) = (Written::new(io, &ahead), Arc::clone(&calls));
    let service = service_fn(move |request| Serving { call: Some(counted.begin()), answer: service.call(request) });
    let mut builder = Builder::new();
    builder.timer(Heads::default()).header_read_timeout(timeouts.head);
    builder.max_buf_size(READ_BUFFER.max(bounds.head as usize)).max_header_size(bounds.head as usize);
    if bounds.headers != USUAL_HEADERS {
        builder.max_headers(bounds.headers);
    }
    let mut connection = builder.serve_connection(TokioIo::new(io), service).with_upgrades();

    let mut patience = Patience::new(timeouts.send);
    let mut left = pin!(Bell::new(watch.left()));
    let (mut ear, mut is_last) = (drain.ear(), false);
    let mut unused: Option<Pin<Box<Sleep>>> = None;
    let ended = poll_fn(|context| {
        if !is_last && ear.hear(context) == Phase::Closing {
            is_last = true;
            if calls.begun() > 0 {
                Pin::new(&mut connection).graceful_shutdown();
            } else {
                // hyper would close it at once, and with it a call that is on its way.
                unused = Some(Box::pin(sleep(UNUSED)));
            }
        }
        match patience.poll(context, |context| Pin::new(&mut connection).poll(context)) {
            Poll::Ready(Ok(served)) => return Poll::Ready(served.map_err(Ended::Http)),
            Poll::Ready(Err(_unread)) => return Poll::Ready(Err(Ended::Unread)),
            Poll::Pending => {}
        }
        if ahead.may_go_on() {
            context.waker().wake_by_ref();
        }
        if unused.as_mut().is_some_and(|unused| unused.as_mut().poll(context).is_ready()) && calls.begun() == 0 {
            return Poll::Ready(Ok(()));
        }
        // Between calls hyper reads, and sees it by itself.
        if calls.are_open() && left.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(Ended::Left));
        }
        Poll::Pending
    });
    match ended.await {
        Ok(()) => {}
        Err(Ended::Http(error)) => tracing::debug!(%error, "a connection ended with an error"),
        Err(error) => {
            tracing::debug!(%error, "a connection was ended");
            return;
        }
    }
    if let Some(parts) = connection.into_parts() {
        // On the heap, while it is needed.
        let _gave_up = within(LINGER_TIMEOUT, Box::pin(linger(parts.io.into_inner()))).await;
    }
}

pin_project! {
    /// A call that is being answered.
    struct Serving<F> {
        #[pin]
        answer: F,
        call: Option<Call>,
    }
}

impl<F: Future<Output = Result<Response<B>, E>>, B, E> Future for Serving<F> {
    type Output = Result<Response<Answer<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.answer.poll(context))?;
        if this.call.as_ref().is_some_and(Call::is_last) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|body| Answer::new(body, this.call.take()))))
    }
}

/// Says that nothing more comes, and lets the client finish what it is sending. A call that is refused before its body
/// was read ends its connection; closed at once, with bytes unread, the kernel would answer them with a reset, and the
/// client would lose the refusal that it has not read yet (RFC 9112 §9.6).
async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let mut thrown_away = [0; 4096];
    let mut left = LINGER_BYTES;
    if io.shutdown().await.is_err() {
        return;
    }
    while let Ok(length @ 1..) = io.read(&mut thrown_away).await {
        match left.checked_sub(length) {
            Some(less) => left = less,
            None => return,
        }
    }
}

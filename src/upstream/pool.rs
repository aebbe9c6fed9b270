//! The connections of one worker, and a call on one of them.
//!
//! Each worker thread has its own pool in a thread-local, so that no lock is taken; it is never borrowed across an
//! await. Idle connections are used last in, first out, so that those not needed grow old and are closed. A connection
//! comes back when the body of its answer has been read to the end, and only then; when the body is dropped earlier
//! (the client left), it is closed, which ends the vendor's call.

use std::cell::RefCell;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::body::{BodyError, RequestBody, Upload};
use super::connect::{connect, upgradable};
use super::{SendError, Upstream};

/// Idle connections are not kept longer: servers commonly close theirs after 60 s or more.
const LONGEST_IDLE: Duration = Duration::from_secs(50);
/// How long a kept connection may take to be ready; the next one is as good.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// Idle connections a worker keeps to one vendor.
const MOST_IDLE: usize = 1024;

struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

thread_local! {
    static IDLE: RefCell<Vec<Vec<Idle>>> = const { RefCell::new(Vec::new()) };
}

fn take(slot: usize) -> Option<SendRequest<RequestBody>> {
    IDLE.with_borrow_mut(|pool| {
        let idle = pool.get_mut(slot)?;
        while let Some(Idle { sender, since }) = idle.pop() {
            if since.elapsed() > LONGEST_IDLE {
                // All below are older still.
                idle.clear();
                return None;
            }
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    })
}

fn put_back(slot: usize, sender: SendRequest<RequestBody>) {
    IDLE.with_borrow_mut(|pool| {
        if pool.len() <= slot {
            pool.resize_with(slot + 1, Vec::new);
        }
        if let Some(idle) = pool.get_mut(slot)
            && idle.len() < MOST_IDLE
        {
            idle.push(Idle { sender, since: Instant::now() });
        }
    });
}

/// Sends a call and waits for the head of its answer, until `deadline` at most.
///
/// It is sent once. Only where a kept connection turns out to have been closed, and nothing was written to it, the
/// call goes to the next one. Dropping the future ends the call: the connection is closed.
///
/// # Errors
///
/// See [`SendError`]; all but [`SendError::Connect`] mean that the vendor may have received the call.
pub async fn send(
    upstream: &Upstream,
    request: Request<RequestBody>,
    deadline: Instant,
) -> Result<Response<AnswerBody>, SendError> {
    let upload = request.body().upload();
    let late = async {
        // The time for the answer begins when the vendor has the call: an upload may take as long as the token lives.
        if let Some(upload) = &upload
            && timeout_at(deadline, upload.ended()).await.is_err()
        {
            return;
        }
        sleep_until(deadline.min(Instant::now() + upstream.timeouts.header)).await;
    };
    tokio::select! {
        biased;
        result = exchange(upstream, request, upload.as_ref()) => result,
        () = late => Err(SendError::Timeout),
    }
}

/// The same on a connection of its own, which may become something else than HTTP.
///
/// # Errors
///
/// See [`send`].
pub async fn send_alone(
    upstream: &Upstream,
    request: Request<RequestBody>,
    deadline: Instant,
) -> Result<Response<AnswerBody>, SendError> {
    let exchange = async {
        let mut sender = upgradable(upstream).await?;
        let answer = sender.try_send_request(request).await;
        let response = answer.map_err(|error| sent_and_lost(error.into_error()))?;
        Ok(response.map(|body| AnswerBody { body, connection: Connection { sender: None, upload: None } }))
    };
    let late = deadline.min(Instant::now() + upstream.timeouts.connect + upstream.timeouts.header);
    timeout_at(late, exchange).await.unwrap_or(Err(SendError::Timeout))
}

async fn exchange(
    upstream: &Upstream,
    mut request: Request<RequestBody>,
    upload: Option<&Arc<Upload>>,
) -> Result<Response<AnswerBody>, SendError> {
    loop {
        let (mut sender, is_kept) = match take(upstream.slot) {
            Some(sender) => (sender, true),
            None => (connect(upstream).await?, false),
        };
        if is_kept && !is_ready_soon(&mut sender).await {
            continue;
        }
        if !is_kept && sender.ready().await.is_err() {
            return Err(SendError::Connect("the vendor closed the new connection".into()));
        }
        match sender.try_send_request(request).await {
            Ok(response) => {
                let sender = Some((upstream.slot, sender));
                let connection = Connection { sender, upload: upload.map(Arc::clone) };
                return Ok(response.map(|body| AnswerBody::new(body, connection)));
            }
            Err(mut error) => match error.take_message() {
                Some(unsent) if is_kept => request = unsent,
                Some(_) => return Err(SendError::Connect(error.into_error().into())),
                None => return Err(sent_and_lost(error.into_error())),
            },
        }
    }
}

/// Whether a kept connection can take a call. One that cannot soon is stuck in what was sent on it before: a vendor may
/// answer a long body without reading it.
async fn is_ready_soon(sender: &mut SendRequest<RequestBody>) -> bool {
    sender.is_ready() || timeout(LONGEST_WAIT, sender.ready()).await.is_ok_and(|ready| ready.is_ok())
}

fn sent_and_lost(error: hyper::Error) -> SendError {
    // The body's own error comes back inside hyper's.
    let limit = error.source().and_then(|source| source.downcast_ref::<BodyError>()).and_then(|error| match error {
        BodyError::TooLong(limit) => Some(*limit),
        BodyError::Broken(_) => None,
    });
    match limit {
        Some(limit) => SendError::Caller(BodyError::TooLong(limit)),
        None if error.is_user() => SendError::Caller(BodyError::Broken(error)),
        None => SendError::Lost(error),
    }
}

/// The body of a vendor's answer; it holds its connection until it has been read to the end.
#[derive(Debug)]
pub struct AnswerBody {
    body: Incoming,
    connection: Connection,
}

/// The connection of an answer. It is closed with its sender.
#[derive(Debug)]
struct Connection {
    sender: Option<(usize, SendRequest<RequestBody>)>,
    upload: Option<Arc<Upload>>,
}

impl Connection {
    /// The answer has ended: the connection is free, unless the call is still being sent on it.
    ///
    /// A vendor may answer before it has the whole body. The next call would wait for the rest of this one's, which its
    /// caller can hold back for as long as it likes.
    fn release(&mut self) {
        let is_sent = self.upload.as_ref().is_none_or(|upload| upload.has_ended());
        if let Some((slot, sender)) = self.sender.take()
            && is_sent
        {
            put_back(slot, sender);
        }
    }
}

impl AnswerBody {
    fn new(body: Incoming, mut connection: Connection) -> Self {
        if body.is_end_stream() {
            connection.release();
        }
        Self { body, connection }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.connection.release(),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.connection.release(),
            Poll::Ready(Some(Err(_))) => self.connection.sender = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

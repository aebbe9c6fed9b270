//! A call to a vendor, on a connection that is there or on a new one.
//!
//! An HTTP/1.1 connection comes back when the body of its answer has been read to the end, and only then; when the body
//! is dropped earlier (the client left), it is closed, which ends the vendor's call. On an HTTP/2 connection the call's
//! stream is reset instead, and the other calls go on.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

pub(crate) use super::answer::AnswerBody;
use super::answer::{Connection, Http1Body};
use super::body::{BodyError, RequestBody};
use super::breaker::Admitted;
use super::connect::{Way, obtain, taken, upgradable};
use super::received::Http2Body;
use super::stream::{self, Unanswered};
use super::upload::Upload;
use super::{SendError, Upstream};
use crate::alarm::Lent;
use crate::aside::aside;
use crate::clock::instant;

/// For so long a call is not watched for its caller's right to it: most are answered by then, and pay nothing for that.
const UNWATCHED: Duration = Duration::from_millis(200);

/// How long a kept connection may take to be ready; the next one is as good.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Why a call is given up that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GivenUp {
    /// The vendor had its time.
    Late,
    /// The right to the call has ended.
    Ended,
}

/// Sends a call and waits for the head of its answer, until it is `given_up`, which is not before `until` but for a
/// revocation.
///
/// It is sent once. Only where a kept connection turns out to have been closed, and nothing was written to it, the
/// call goes to the next one; and where a vendor says over HTTP/2 that it has not begun with a call, it goes once to
/// another one. Dropping the future ends the call: its connection is closed, or its stream reset.
///
/// `who` makes the call: of the failures of one alone, one counts.
///
/// # Errors
///
/// See [`SendError`]; all but [`SendError::Connect`], [`SendError::Busy`] and [`SendError::Open`] mean that the vendor may
/// have received the call.
pub(crate) async fn send<E: Future<Output = GivenUp> + Send>(
    upstream: &Upstream,
    who: u128,
    request: Box<Request<RequestBody>>,
    until: Instant,
    given_up: impl Fn() -> E + Sync,
) -> Result<Response<AnswerBody>, SendError> {
    let admitted = upstream.breaker.admit().map_err(SendError::Open)?;
    let upload = request.body().upload();
    let handed = Handed::new(instant());
    let watched = || async {
        let late = async {
            // The time for the answer begins when the vendor has the call: an upload may take as long as the right to it.
            match &upload {
                Some(upload) => sleep_until(upload.ended().await + upstream.timeouts.header).await,
                None => handed.for_long(upstream.timeouts.header).await,
            }
            GivenUp::Late
        };
        let why = tokio::select! {
            late = late => late,
            why = given_up() => why,
        };
        match why {
            GivenUp::Late => SendError::Timeout,
            // An upload that was cut is no call: the vendor sees that its end is missing.
            GivenUp::Ended => SendError::Ended {
                is_whole: upload.as_ref().map_or_else(|| handed.at().is_some(), |upload| upload.is_whole()),
            },
        }
    };
    let unwatched = until.min(handed.begun + UNWATCHED.min(upstream.timeouts.header));
    let waited = async {
        // The only timer that most calls ever have, and they have no room for more.
        let mut alarm = Lent::default();
        poll_fn(|context| alarm.poll(context, unwatched)).await;
        drop(alarm);
        aside(watched).await
    };
    let outcome = tokio::select! {
        biased;
        result = exchange(upstream, request, upload.as_ref(), &handed) => result,
        error = waited => Err(error),
    };
    note(upstream, admitted, &outcome, who);
    outcome
}

fn note<T>(upstream: &Upstream, admitted: Admitted<'_>, outcome: &Result<T, SendError>, who: u128) {
    if admitted.note(outcome, who) {
        tracing::error!(vendor = upstream.host, "the vendor does not answer; its calls are refused for a while");
    }
}

/// The same on a connection of its own, which may become something else than HTTP.
///
/// # Errors
///
/// See [`send`].
pub(crate) async fn send_alone(
    upstream: &Upstream,
    who: u128,
    request: Box<Request<RequestBody>>,
    deadline: Instant,
) -> Result<Response<AnswerBody>, SendError> {
    let admitted = upstream.breaker.admit().map_err(SendError::Open)?;
    let exchange = async {
        let mut sender = upgradable(upstream).await?;
        let answer = timeout(upstream.timeouts.header, sender.try_send_request(*request)).await;
        let answer = answer.map_err(|_elapsed| SendError::Timeout)?;
        let response = answer.map_err(|error| sent_and_lost(error.into_error()))?;
        Ok(response.map(|body| AnswerBody::Http1(Http1Body::alone(body, &upstream.home))))
    };
    let outcome = timeout_at(deadline, exchange).await.unwrap_or(Err(SendError::Timeout));
    note(upstream, admitted, &outcome, who);
    outcome
}

async fn exchange(
    upstream: &Upstream,
    mut request: Box<Request<RequestBody>>,
    upload: Option<&Arc<Upload>>,
    handed: &Handed,
) -> Result<Response<AnswerBody>, SendError> {
    let (mut refused, mut now) = (None, Some(handed.begun));
    loop {
        let mut at = now.take().unwrap_or_else(Instant::now);
        let way = match taken(upstream, refused, at) {
            Some(way) => way,
            None => {
                let way = aside(|| obtain(upstream, refused)).await?;
                at = Instant::now();
                way
            }
        };
        let (mut sender, is_kept, permit) = match way {
            Way::Http1 { sender, is_kept, permit } => (sender, is_kept, permit),
            Way::Http2(seat) => {
                let (shared, is_new) = (Arc::clone(seat.connection()), seat.is_first());
                handed.over(at);
                match aside(|| stream::send(seat, upstream, request, upload)).await {
                    Ok(response) => return Ok(with_length(response)),
                    Err(Unanswered::Failed(error)) => return Err(error),
                    Err(Unanswered::Unsent(error, unsent)) => {
                        upstream.home.with(|kept| kept.forget(&shared));
                        if is_new {
                            return Err(SendError::Connect(error.into()));
                        }
                        request = unsent;
                    }
                    Err(Unanswered::Unprocessed(error, kept)) => {
                        upstream.home.with(|kept| kept.forget(&shared));
                        request = match kept {
                            Some(kept) if refused.is_none() => kept,
                            _ => return Err(SendError::Connect(error.into())),
                        };
                        // A server that is about to stop says so on all its connections: only a new one is another.
                        refused = Some(Instant::now());
                    }
                }
                handed.back();
                continue;
            }
        };
        if is_kept && !sender.is_ready() {
            if !is_ready_soon(&mut sender).await {
                continue;
            }
            at = Instant::now();
        }
        if !is_kept && sender.ready().await.is_err() {
            return Err(SendError::Connect("the vendor closed the new connection".into()));
        }
        handed.over(at);
        match sender.try_send_request(*request).await {
            Ok(response) => {
                let (sender, home) = (Some(sender), upstream.home.clone());
                let connection = Connection { sender, home, upload: upload.map(Arc::clone), permit };
                return Ok(response.map(|body| AnswerBody::Http1(Http1Body::new(body, connection))));
            }
            Err(mut error) => match error.take_message() {
                Some(unsent) if is_kept => {
                    handed.back();
                    *request = unsent;
                }
                Some(_) => return Err(SendError::Connect(error.into_error().into())),
                None => return Err(sent_and_lost(error.into_error())),
            },
        }
    }
}

/// When a call was handed to a connection: before that, nothing of it can have been sent. What is known of a call whose body
/// is all there; of an upload more is.
struct Handed {
    begun: Instant,
    /// How many microseconds later.
    after: AtomicU64,
}

impl Handed {
    const NOT: u64 = u64::MAX;

    fn new(begun: Instant) -> Self {
        Self { begun, after: AtomicU64::new(Self::NOT) }
    }

    /// It is, now.
    fn over(&self, now: Instant) {
        let after = now.saturating_duration_since(self.begun).as_micros();
        self.after.store(u64::try_from(after).unwrap_or(Self::NOT), Ordering::Relaxed);
    }

    /// The connection has not sent it.
    fn back(&self) {
        self.after.store(Self::NOT, Ordering::Relaxed);
    }

    fn at(&self) -> Option<Instant> {
        let after = self.after.load(Ordering::Relaxed);
        (after != Self::NOT).then(|| self.begun + Duration::from_micros(after))
    }

    /// Waits until it was for this long. What a connection takes to come is bounded where it is made.
    async fn for_long(&self, time: Duration) {
        loop {
            let since = self.at();
            sleep_until(since.unwrap_or_else(Instant::now) + time).await;
            if since.is_some() && since == self.at() {
                return;
            }
        }
    }
}

fn with_length(response: Response<Http2Body>) -> Response<AnswerBody> {
    let (head, body) = response.into_parts();
    let body = body.with_length(head.headers.get(http::header::CONTENT_LENGTH));
    Response::from_parts(head, AnswerBody::Http2(body))
}

/// Whether a kept connection can take a call before long. One that cannot soon is stuck in what was sent on it before: a vendor may
/// answer a long body without reading it.
async fn is_ready_soon(sender: &mut SendRequest<RequestBody>) -> bool {
    timeout(LONGEST_WAIT, sender.ready()).await.is_ok_and(|ready| ready.is_ok())
}

fn sent_and_lost(error: hyper::Error) -> SendError {
    // The body's own error comes back inside hyper's.
    match error.source().and_then(|source| source.downcast_ref::<BodyError>()) {
        Some(BodyError::TooLong(limit)) => SendError::Caller(BodyError::TooLong(*limit)),
        Some(BodyError::Expired) => SendError::Caller(BodyError::Expired),
        Some(BodyError::Slow(patience)) => SendError::Caller(BodyError::Slow(*patience)),
        Some(BodyError::Broken(_)) => SendError::Caller(BodyError::Broken(error.into())),
        None if error.is_user() => SendError::Caller(BodyError::Broken(error.into())),
        None => SendError::Lost(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn the_time_for_an_answer_begins_when_its_call_is_handed_over_for_good() {
        let begun = Instant::now();
        let handed = Handed::new(begun);
        let calling = async {
            tokio::time::sleep(HEADER * 4).await;
            handed.over(Instant::now());
            tokio::time::sleep(HEADER / 2).await;
            // Its connection had been closed, and another is long in coming.
            handed.back();
            assert_eq!(handed.at(), None);
            tokio::time::sleep(HEADER * 4).await;
            handed.over(Instant::now());
            assert_eq!(handed.at(), Some(begun + HEADER * 17 / 2));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = handed.for_long(HEADER) => assert_eq!(begun.elapsed().as_millis(), (HEADER * 19 / 2).as_millis()),
            () = calling => {}
        }
    }
}

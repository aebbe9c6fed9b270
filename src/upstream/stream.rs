//! One call on a shared connection: a stream of its own, in both directions at once.
//!
//! h2 resets a stream when the last hold on it is gone before its end; so all that has one (the answer, the task that
//! sends a caller's body) goes when the call is dropped.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::ready;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Body;

use super::body::{BodyError, RequestBody};
use super::http2::Seat;
use super::received::{Call, Http2Body};
use super::upload::{Streamed, Upload};
use super::{SendError, Upstream};

/// Why a call on a shared connection has no answer.
pub(super) enum Unanswered {
    /// The connection takes no more calls; this is the call.
    Unsent(h2::Error, Box<Request<RequestBody>>),
    /// The vendor has not begun with it; and the call, where nothing of it is gone.
    Unprocessed(h2::Error, Option<Box<Request<RequestBody>>>),
    /// It may have.
    Failed(SendError),
}

/// Sends a call and waits for the head of its answer. Dropping the future resets the call's stream, and no other.
pub(super) async fn send(
    seat: Seat,
    upstream: &Upstream,
    request: Box<Request<RequestBody>>,
    upload: Option<&Arc<Upload>>,
) -> Result<Response<Http2Body>, Unanswered> {
    let mut sender = match seat.sender().ready().await {
        Ok(sender) => sender,
        Err(error) => return Err(Unanswered::Unsent(error, request)),
    };
    let head = head(upstream, &request).map_err(|error| Unanswered::Failed(SendError::Connect(error.into())))?;
    let is_bodiless = request.body().is_end_stream();
    let (answer, stream) = match sender.send_request(head, is_bodiless) {
        Ok(sent) => sent,
        Err(error) => return Err(Unanswered::Unsent(error, request)),
    };
    // The stream is open for as long as either side of it is.
    let seat = Arc::new(seat);
    let (head, body) = request.into_parts();
    let (whole, sending) = match body {
        RequestBody::Whole(body) => {
            send_whole(stream, &body);
            (Some(body), None)
        }
        RequestBody::Streamed(body) => (None, Some(tokio::spawn(pass_on(body, stream, Arc::clone(&seat))))),
    };
    let mut call = Call::new(seat, sending);
    let error = match answer.await {
        Ok(response) => return Ok(response.map(|body| Http2Body::new(body, call))),
        Err(error) => error,
    };
    if let Some(failure) = upload.and_then(|upload| upload.failure()) {
        return Err(Unanswered::Failed(SendError::Caller(failure)));
    }
    if !is_unprocessed(&error) {
        return Err(Unanswered::Failed(SendError::Lost(error.into())));
    }
    let body = match whole {
        Some(body) => Some(RequestBody::Whole(body)),
        None => call.untouched_body().await.map(RequestBody::Streamed),
    };
    Err(Unanswered::Unprocessed(error, body.map(|body| Box::new(Request::from_parts(head, body)))))
}

/// Whether the vendor says that it has not begun with the call (RFC 9113 §8.7). h2 tells of a GOAWAY only those streams
/// that are beyond its last one.
fn is_unprocessed(error: &h2::Error) -> bool {
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (is_refused || error.is_go_away())
}

/// The call as HTTP/2 has it: the authority in the target, and no header that is about a connection (RFC 9113 §8.2.2).
fn head(upstream: &Upstream, request: &Request<RequestBody>) -> Result<Request<()>, http::Error> {
    let mut uri = Uri::builder().scheme("https").authority(upstream.authority.as_bytes());
    if let Some(path) = request.uri().path_and_query() {
        uri = uri.path_and_query(path.clone());
    }
    let mut head = Request::new(());
    *head.uri_mut() = uri.build()?;
    head.method_mut().clone_from(request.method());
    head.headers_mut().clone_from(request.headers());
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE] {
        head.headers_mut().remove(name);
    }
    // Where a body is expected, its absence is said, too (RFC 9110 §8.6).
    let is_expected = !matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE);
    if let Some(length) = request.body().size_hint().exact().filter(|length| *length > 0 || is_expected) {
        head.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(head)
}

/// It is in memory as it is; the vendor's window decides when it leaves.
fn send_whole(mut stream: SendStream<Bytes>, body: &Full<Bytes>) {
    if let Some(bytes) = body.clone().into_inner().filter(|bytes| !bytes.is_empty()) {
        // That the stream has ended is told with its answer.
        let _ended = stream.send_data(bytes, true);
    }
}

/// Sends a caller's body as it comes, no faster than the vendor takes it, and gives it back: it may be needed again.
async fn pass_on(mut body: Box<Streamed>, mut stream: SendStream<Bytes>, seat: Arc<Seat>) -> Option<Box<Streamed>> {
    body.keep();
    let passed = send_parts(&mut body, &mut stream).await;
    drop(seat);
    match passed {
        Ok(passed) => {
            // What the vendor wanted no more of may be sent again; if it is not, it ends when the body is dropped.
            if passed == Passed::Whole {
                body.finish();
            }
            Some(body)
        }
        Err(error) => {
            // A body that broke off must not look complete.
            body.upload().fail(error);
            stream.send_reset(Reason::CANCEL);
            None
        }
    }
}

/// How much of a body was sent.
#[derive(PartialEq, Eq)]
enum Passed {
    /// All of it.
    Whole,
    /// What came before the stream ended.
    Part,
}

async fn send_parts(body: &mut Streamed, stream: &mut SendStream<Bytes>) -> Result<Passed, BodyError> {
    loop {
        let part = tokio::select! {
            biased;
            // The vendor wants no more of it.
            _reset = poll_fn(|context| stream.poll_reset(context)) => return Ok(Passed::Part),
            part = poll_fn(|context| body.poll(context)) => part,
        };
        let Some(frame) = part.transpose()? else {
            // As above, if it fails.
            let _ended = stream.send_data(Bytes::new(), true);
            return Ok(Passed::Whole);
        };
        let Ok(data) = frame.into_data() else { continue };
        let is_last = body.is_at_its_end();
        if !write(body, stream, data, is_last).await? {
            return Ok(Passed::Part);
        }
        if is_last {
            return Ok(Passed::Whole);
        }
    }
}

/// Sends this part of a body within the vendor's window; whether the stream has not ended.
async fn write(
    body: &mut Streamed,
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
) -> Result<bool, BodyError> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let capacity = match stream.capacity() {
            // A vendor that takes nothing keeps nobody's call alive.
            0 => {
                poll_fn(|context| {
                    ready!(body.poll_right(context))?;
                    stream.poll_capacity(context).map(Ok)
                })
                .await?
            }
            capacity => Some(Ok(capacity)),
        };
        let Some(Ok(capacity)) = capacity else { return Ok(false) };
        let part = data.split_to(capacity.min(data.len()));
        let is_last = is_last && data.is_empty();
        if stream.send_data(part, is_last).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

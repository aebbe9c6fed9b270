//! A granted call to the vendor and its answer: what goes out, what comes back, how it streams.
//!
//! [`Proxy::forward`] takes a [`CallGrant`], which only `access` makes. Nothing is buffered but what a profile writes
//! into: the first byte of an answer leaves when it arrives, a client that goes away ends the vendor's call, a slow one
//! slows the vendor.

mod answer;
mod farewell;
mod intake;
pub(crate) mod internal;
mod json;
mod outgoing;
mod query;
mod scrub;
mod socket;
mod stream;
mod values;

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use tokio::time::Instant;

pub use self::intake::Intake;
pub use self::outgoing::Incoming;
use self::scrub::Needles;
pub use self::socket::{Admit, Handshake, Socket, SocketTimeouts, asks_for_upgrade};
pub use self::stream::{AnswerStream, Cut};
use crate::access::{CallGrant, CallTarget};
use crate::bot::{Directory, Vendor};
use crate::clock::Clock;
use crate::fault::{Code, Fault};
use crate::id::Entropy;
use crate::limit::OpenCall;
use crate::secret::Secret;
use crate::token::LEEWAY;
use crate::upstream::{BodyError, SendError, pool};

/// When a call may come again that found all connections in use: by then it waited for some seconds already.
const BUSY: Duration = Duration::from_secs(1);

/// Whether one of `secrets` is in `text`, in any of the forms in which it would be masked in an answer.
pub fn is_told<'s>(secrets: impl IntoIterator<Item = &'s Secret>, text: &str) -> bool {
    scrub::is_in(&Needles::of(secrets), text.as_bytes())
}

/// Sends granted calls to vendors.
#[derive(Debug)]
pub struct Proxy {
    /// By vendor: its keys, as they are searched for in its answers.
    keys: Vec<Arc<Needles>>,
    intake: Intake,
    sockets: SocketTimeouts,
    clock: Clock,
    entropy: Entropy,
}

/// What comes of the request for a WebSocket.
#[derive(Debug)]
pub enum Upgrade {
    /// It is open.
    Done(Response<Box<Socket>>),
    /// The vendor answered otherwise.
    Refused(Response<Box<AnswerStream>>),
}

impl Proxy {
    /// A proxy for the vendors of `directory`.
    pub fn new(directory: &Directory, intake: Intake, sockets: SocketTimeouts, clock: Clock, entropy: Entropy) -> Self {
        let keys = directory.vendors().map(|(vendor, _)| keys_of(vendor)).collect();
        Self { keys, intake, sockets, clock, entropy }
    }

    /// Makes the call. `open` counts it as open until its answer has ended.
    ///
    /// # Errors
    ///
    /// Why the caller gets no answer of the vendor's.
    pub async fn forward(
        &self,
        grant: CallGrant,
        target: &CallTarget<'_>,
        incoming: Incoming,
        open: Option<OpenCall>,
    ) -> Result<Response<AnswerStream>, Fault> {
        let vendor = target.vendor;
        let is_safe = incoming.method.is_safe();
        let deadline = self.deadline(&grant);
        // A body that is held back must not carry its call past the end of the token.
        let request = tokio::time::timeout_at(deadline, outgoing::request(&grant, target, incoming, &self.intake));
        let mut request = request.await.map_err(|_elapsed| expired())??;
        let open = match open {
            // An upload may go on behind its answer: the call is open until both have ended.
            Some(open) if request.body().is_streamed() => {
                let [answer, upload] = open.shared();
                let _whole = request.body_mut().hold(upload);
                Some(answer)
            }
            other => other,
        };
        let sent = pool::send(&vendor.upstream, request, deadline).await;
        let response = sent.map_err(|error| unanswered(error, is_safe))?;
        let keys = self.keys.get(vendor.index).map_or_else(|| keys_of(vendor), Arc::clone);
        answer::passed_on(response, grant, keys, self.clock.now(), open)
    }

    /// Makes a call that asks for a WebSocket. `admit` is asked for each message of the client.
    ///
    /// # Errors
    ///
    /// Why the caller gets no answer of the vendor's.
    pub async fn upgrade(
        &self,
        grant: CallGrant,
        target: &CallTarget<'_>,
        incoming: Incoming,
        handshake: Handshake,
        admit: Admit,
        open: Option<OpenCall>,
    ) -> Result<Upgrade, Fault> {
        let vendor = target.vendor;
        let mut request = outgoing::request(&grant, target, incoming, &self.intake).await?;
        let accept = handshake.ask(request.headers_mut(), self.entropy.bytes())?;
        let sent = pool::send_alone(&vendor.upstream, request, self.deadline(&grant)).await;
        let mut response = sent.map_err(|error| unanswered(error, true))?;
        let now = self.clock.now();
        let keys = self.keys.get(vendor.index).map_or_else(|| keys_of(vendor), Arc::clone);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return answer::passed_on(response, grant, keys, now, open)
                .map(|answer| Upgrade::Refused(answer.map(Box::new)));
        }
        let headers = handshake.answer(response.headers(), &accept)?;
        let lost =
            |error: hyper::Error| Fault::new(Code::VendorFailed, "the vendor did not open a WebSocket").because(error);
        let bytes = hyper::upgrade::on(&mut response).await.map_err(lost)?;
        let needles = answer::needles(keys, &grant);
        let ends_in = grant.verified().session.expires.since(now);
        let socket = Socket::new(handshake, bytes, needles, ends_in, self.sockets, admit, grant, open);
        Ok(Upgrade::Done(socket::switching(headers, socket).map(Box::new)))
    }

    /// When the token of a call is good no more.
    fn deadline(&self, grant: &CallGrant) -> Instant {
        Instant::now() + grant.verified().session.expires.plus(LEEWAY).since(self.clock.now())
    }
}

fn keys_of(vendor: &Vendor) -> Arc<Needles> {
    Arc::new(Needles::of(vendor.keys.secrets()))
}

fn expired() -> Fault {
    Fault::new(Code::TokenExpired, "the token expired before the body of the request had come")
}

/// Where bytes had reached the vendor and its answer is lost, nobody may repeat the call blindly: it could be carried
/// out twice. What only reads may be repeated.
fn unanswered(error: SendError, is_safe: bool) -> Fault {
    let maybe_sent = |detail| Fault::new(Code::MaybeSent, detail);
    let fault = match &error {
        SendError::Connect(_) => {
            Fault::new(Code::VendorUnreachable, "the vendor cannot be reached; nothing was sent to it")
        }
        SendError::Busy => {
            Fault::new(Code::VendorBusy, "all connections to the vendor are in use; nothing was sent").retry_after(BUSY)
        }
        SendError::Timeout if is_safe => Fault::new(Code::VendorTimeout, "the vendor did not answer in time"),
        SendError::Lost(_) if is_safe => Fault::new(Code::VendorFailed, "the vendor broke off before its answer"),
        SendError::Timeout => maybe_sent("the vendor did not answer in time; it may still carry the call out"),
        SendError::Lost(_) => maybe_sent("the vendor broke off before its answer; it may have carried the call out"),
        SendError::Caller(BodyError::TooLong(limit)) => {
            return Fault::new(Code::BodyTooLarge, format!("the body is longer than {limit} bytes"));
        }
        SendError::Caller(BodyError::Slow(patience)) => intake::too_slow(*patience),
        SendError::Caller(BodyError::Expired) => expired(),
        SendError::Caller(BodyError::Broken(_)) => Fault::new(Code::BadRequest, "the body of the request broke off"),
    };
    fault.because(error)
}

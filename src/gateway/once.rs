//! Conversation calls that are made once: `Idempotency-Key` on what changes something and is answered as a whole.
//!
//! Such a call is read whole before it is sent, as what was asked for must be known first, and goes on when its caller
//! leaves; so does one that tells the vendor who the visitor is, as that is put on record. An answer in JSON is kept. Of
//! any other, and of a stream, only that the call was made: it passes as it comes, and to ask again is 409 `maybe_sent`.
//! A call that never reached the vendor, or that the vendor was too busy for, may be made again.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;

use super::Gateway;
use crate::access::{CallGrant, CallTarget, Caller};
use crate::api::Told;
use crate::aside::aside;
use crate::bot::Vendor;
use crate::fault::{Code, Fault};
use crate::id::hex;
use crate::limit::{Key, Kind, OpenCall};
use crate::proxy::{Answered, EXPIRES_IN, Incoming, is_json};
use crate::secret::sha256;
use crate::session::once::{Kept, KeptAnswer, REPLAYED, Repeatable};

/// The longest answer that is kept.
const LONGEST: usize = 1 << 20;

/// A granted call, by itself: it may outlive the request that asked for it.
pub(super) struct Call {
    grant: CallGrant,
    vendor: Arc<Vendor>,
    /// The route, in the vendor's profile.
    number: usize,
    /// What stands in the path.
    values: Vec<String>,
    incoming: Box<Incoming>,
    open: Option<OpenCall>,
    /// What is put on record once the vendor has taken it.
    told: Option<Told>,
}

/// Marks an answer that is too much for its session's share of the store.
#[derive(Clone, Copy, Debug)]
struct Unkept;

/// Whether a call of this method changes something, so that it matters whether it is made twice.
pub(super) fn matters(method: &Method) -> bool {
    !method.is_safe()
}

impl Gateway {
    /// Makes the call of `caller`, or answers what it was answered before.
    pub(super) async fn made_once(
        self: &Arc<Self>,
        key: &str,
        caller: &Caller,
        call: Call,
    ) -> Result<Response<Answered>, Fault> {
        let Call { grant, vendor, number, values, incoming, open, told } = call;
        // The values of the path are not needed to read the body.
        let target = CallTarget::of(&vendor, number, &[])?;
        let incoming = self.proxy.held(&grant, &target, incoming).await?;
        let [open, untaken] = open.map_or([None, None], |open| open.shared().map(Some));
        let call = Call { grant, vendor, number, values, incoming, open, told };
        let digest = hex(&sha256(call.incoming.body.read()));
        let Parts { method, uri, .. } = &call.incoming.head;
        let bot = call.grant.bot().name.as_str();
        let client = call.grant.owner().map(|client| client.name.as_str()).unwrap_or_default();
        let who = whoever(&call.grant, caller);
        let whose = ["call", client, &who, bot, key];
        let once =
            self.api.repeats.once(&whose, &[method.as_str(), uri.path(), uri.query().unwrap_or_default(), &digest]);
        let (gateway, watch) = (Arc::clone(self), call.grant.watch());
        let (share, expires) = (Key::new(Kind::KeptAnswer, 0, call.grant.caller()), call.grant.expires());
        let made = async move {
            let answer = gateway.forward(call).await?;
            whole(answer).await.map(|answer| gateway.within(share, answer))
        };
        let mut answer = self.api.repeats.make(once, made).await?;
        // The store may have been slow: what is answered again is for whoever may ask now.
        if answer.headers().contains_key(&REPLAYED)
            && let Some(over) = watch.over()
        {
            return Err(over.into());
        }
        if let Some(expires) = expires {
            answer.headers_mut().insert(EXPIRES_IN, expires.since(self.clock.now()).as_secs().into());
        }
        Ok(answer.map(|answered| match (answered, untaken) {
            (Answered::Whole(bytes), Some(open)) => Answered::Whole(open.until_taken(bytes)),
            (answered, _) => answered,
        }))
    }

    /// The answer, marked where what is kept of `share` already leaves it no room.
    fn within(&self, share: Key, mut answer: Response<Answered>) -> Response<Answered> {
        if let Answered::Whole(bytes) = answer.body()
            && !self.limiter.may_keep(share, bytes.len(), self.clock.now())
        {
            answer.extensions_mut().insert(Unkept);
        }
        answer
    }

    /// Makes a call that is put on record, to its end.
    pub(super) async fn made_to_its_end(self: &Arc<Self>, call: Call) -> Result<Response<Answered>, Fault> {
        let gateway = Arc::clone(self);
        // A task of its own: a caller that leaves meanwhile does not leave what it told without its record.
        let task = self.api.tasks.spawn(aside(|| async move { gateway.forward(call).await }));
        task.await.unwrap_or_else(|_panicked| Err(Fault::new(Code::Internal, "the call could not be made")))
    }

    async fn forward(&self, call: Call) -> Result<Response<Answered>, Fault> {
        let values: Vec<&str> = call.values.iter().map(String::as_str).collect();
        let (vendor, number) = (Arc::clone(&call.vendor), call.number);
        let target = CallTarget::of(&vendor, number, &values)?;
        let answer = self.proxy.forward(call.grant, &target, call.incoming, call.open).await?;
        if let Some(told) = call.told {
            // The vendor has taken it: to tell it again would be a second time.
            let unwritten = |fault: Fault| {
                Fault::new(Code::MaybeSent, "what was told to the vendor could not be put on record")
                    .because(format!("{fault:?}"))
            };
            self.api.told_by_route(told, answer.status()).await.map_err(unwritten)?;
        }
        Ok(answer)
    }
}

impl Call {
    pub(super) fn new(
        grant: CallGrant,
        target: &CallTarget<'_>,
        incoming: Box<Incoming>,
        open: Option<OpenCall>,
        told: Option<Told>,
    ) -> Self {
        let values = target.values.iter().map(|value| (*value).to_owned()).collect();
        Self { grant, vendor: Arc::clone(target.vendor), number: target.number, values, incoming, open, told }
    }
}

/// Whose key it is, of a client's or a session's: everybody can be a client whose secret is in a page.
fn whoever(grant: &CallGrant, caller: &Caller) -> String {
    match (grant.session(), grant.owner()) {
        (Some(verified), _) => verified.session.id.clone(),
        (None, Some(client)) if client.is_browser => {
            let page = caller.origin.as_ref().map(|origin| origin.as_str()).unwrap_or_default();
            format!("{page} {}", caller.address)
        }
        (None, _) => String::new(),
    }
}

/// An answer as a whole, if it is one that can be kept.
async fn whole(answer: Response<Answered>) -> Result<Response<Answered>, Fault> {
    if !is_json(answer.headers()) && answer.status() != StatusCode::NO_CONTENT {
        return Ok(answer);
    }
    let (head, answered) = answer.into_parts();
    let Answered::Stream(mut stream) = answered else { return Ok(Response::from_parts(head, answered)) };
    let mut read = BytesMut::new();
    while let Some(frame) = stream.frame().await {
        let lost = |cut| Fault::new(Code::MaybeSent, "the vendor's answer could not be read").because(cut);
        // A stream of ours has no trailers.
        read.extend_from_slice(&frame.map_err(lost)?.into_data().unwrap_or_default());
        if read.len() > LONGEST {
            stream.put_back(read.freeze());
            return Ok(Response::from_parts(head, Answered::Stream(stream)));
        }
    }
    Ok(Response::from_parts(head, Answered::Whole(read.freeze())))
}

impl Repeatable for Response<Answered> {
    fn kept(&self) -> Option<Kept> {
        if matches!(self.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return None;
        }
        let Answered::Whole(bytes) = self.body() else { return Some(Kept::Made) };
        if self.extensions().get::<Unkept>().is_some() {
            return Some(Kept::Made);
        }
        let mut whole = Response::new(Bytes::clone(bytes));
        (*whole.status_mut(), *whole.headers_mut()) = (self.status(), self.headers().clone());
        // What is true of the token now would not be when it is answered again.
        whole.headers_mut().remove(EXPIRES_IN);
        Some(KeptAnswer::of(&whole, None).map_or(Kept::Made, Kept::Answer))
    }

    /// Where the vendor may have carried it out, it is not made again.
    fn kept_of(fault: &Fault) -> Option<Kept> {
        let is_lost =
            matches!(fault.code(), Code::MaybeSent | Code::VendorTimeout | Code::VendorFailed | Code::Internal);
        is_lost.then_some(Kept::Made)
    }

    fn again(kept: KeptAnswer) -> Option<Self> {
        Some(kept.into_response()?.map(Answered::Whole))
    }
}

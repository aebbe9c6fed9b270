//! Conversation calls that are made once: `Idempotency-Key` on what changes something and is answered as a whole.
//!
//! Such a call is read whole before it is sent, as what was asked for must be known first, and goes on when its caller
//! leaves. An answer in JSON is kept. Of any other, and of a stream, only that the call was made: it passes as it comes,
//! and to ask again is 409 `maybe_sent`. A call that never reached the vendor, or that the vendor was too busy for, may
//! be made again.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;

use super::Gateway;
use crate::access::{CallGrant, CallTarget};
use crate::bot::Vendor;
use crate::fault::{Code, Fault};
use crate::id::hex;
use crate::limit::OpenCall;
use crate::proxy::{Answered, EXPIRES_IN, Incoming, is_json};
use crate::secret::sha256;
use crate::session::once::{Kept, KeptAnswer, Repeatable};

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
    incoming: Incoming,
    open: Option<OpenCall>,
}

/// Whether a call of this method changes something, so that it matters whether it is made twice.
pub(super) fn matters(method: &Method) -> bool {
    !method.is_safe()
}

impl Gateway {
    /// Makes the call, or answers what it was answered before; `path` is the request's.
    pub(super) async fn made_once(
        self: &Arc<Self>,
        key: &str,
        path: &str,
        call: Call,
    ) -> Result<Response<Answered>, Fault> {
        let Call { grant, vendor, number, values, incoming, open } = call;
        // Nobody asks this one for what is in the path.
        let target = CallTarget { route: route(&vendor, number)?, vendor: &vendor, number, values: &[] };
        let incoming = self.proxy.held(&grant, &target, incoming).await?;
        let call = Call { grant, vendor, number, values, incoming, open };
        let digest = hex(&sha256(call.incoming.body.read()));
        let query = call.incoming.query.as_deref().unwrap_or_default();
        let bot = call.grant.bot().name.as_str();
        let client = call.grant.owner().map(|client| client.name.as_str()).unwrap_or_default();
        let session = call.grant.session().map(|verified| verified.session.id.as_str()).unwrap_or_default();
        let whose = ["call", client, session, bot, key];
        let once = self.api.repeats.once(&whose, &[call.incoming.method.as_str(), path, query, &digest]);
        let gateway = Arc::clone(self);
        self.api.repeats.make(once, async move { gateway.forward(call).await }).await
    }

    async fn forward(&self, call: Call) -> Result<Response<Answered>, Fault> {
        let values: Vec<&str> = call.values.iter().map(String::as_str).collect();
        let (vendor, number) = (Arc::clone(&call.vendor), call.number);
        let target = CallTarget { route: route(&vendor, number)?, vendor: &vendor, number, values: &values };
        let answer = self.proxy.forward(call.grant, &target, call.incoming, call.open).await?;
        if is_json(answer.headers()) || answer.status() == StatusCode::NO_CONTENT {
            whole(answer).await
        } else {
            Ok(answer)
        }
    }
}

impl Call {
    pub(super) fn new(grant: CallGrant, target: &CallTarget<'_>, incoming: Incoming, open: Option<OpenCall>) -> Self {
        let values = target.values.iter().map(|value| (*value).to_owned()).collect();
        Self { grant, vendor: Arc::clone(target.vendor), number: target.number, values, incoming, open }
    }
}

fn route(vendor: &Vendor, number: usize) -> Result<&crate::vendor::Route, Fault> {
    vendor.profile.routes.get(number).ok_or_else(|| Fault::new(Code::NotFound, "there is no such call"))
}

/// An answer as a whole, if it is no longer than can be kept.
async fn whole(answer: Response<Answered>) -> Result<Response<Answered>, Fault> {
    let (mut head, answered) = answer.into_parts();
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
    // What was true of the token then would not be when it is answered again.
    head.headers.remove(EXPIRES_IN);
    Ok(Response::from_parts(head, Answered::Whole(read.freeze())))
}

impl Repeatable for Response<Answered> {
    fn kept(&self) -> Option<Kept> {
        if matches!(self.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return None;
        }
        let Answered::Whole(bytes) = self.body() else { return Some(Kept::Made) };
        let mut whole = Response::new(Bytes::clone(bytes));
        (*whole.status_mut(), *whole.headers_mut()) = (self.status(), self.headers().clone());
        Some(KeptAnswer::of(&whole, None).map_or(Kept::Made, Kept::Answer))
    }

    /// Where the vendor may have carried it out, it is not made again.
    fn kept_of(fault: &Fault) -> Option<Kept> {
        let is_lost = matches!(
            fault.code(),
            Code::MaybeSent
                | Code::VendorTimeout
                | Code::VendorFailed
                | Code::TokenExpired
                | Code::TokenRevoked
                | Code::TokenReplaced
                | Code::StoreUnavailable
                | Code::Internal
        );
        is_lost.then_some(Kept::Made)
    }

    fn again(kept: KeptAnswer) -> Option<Self> {
        Some(kept.into_response()?.map(Answered::Whole))
    }
}

//! Calls that the gateway makes by itself: made from the profile, sent once, their answers read whole.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::values::OwnValues;
use crate::bot::Bot;
use crate::clock::Timestamp;
use crate::fault::{Code, Fault, Said};
use crate::net::percent_encode;
use crate::proxy::{hits, masked, vendor_call};
use crate::secret::Secret;
use crate::telemetry::traces::Span;
use crate::text::shown;
use crate::upstream::keys::{Refusal, retry_after};
use crate::upstream::pool::{self, AnswerBody, GivenUp};
use crate::upstream::{RequestBody, SendError};
use crate::vendor::{Proven, Set, Target, Values};

/// No caller waits longer for another token, or for a visitor to become known, whatever the vendor's time-outs.
pub(super) const LONGEST_CALL: Duration = Duration::from_secs(60);
/// The longest answer that is read.
const LONGEST_ANSWER: usize = 64 << 10;

/// A call to be made for a bot.
pub(super) struct OwnCall<'c> {
    pub(super) bot: &'c Bot,
    pub(super) target: &'c Target,
    pub(super) set: &'c Set,
    /// What it is made for, as a caller reads it: "open a session".
    pub(super) purpose: &'static str,
    pub(super) now: Timestamp,
    /// Whom it counts if it fails.
    pub(super) who: u128,
    /// What it is a part of.
    pub(super) span: &'c Span,
}

/// Why there is no answer that could be used.
pub(super) enum CallError {
    /// The vendor refused the key, or says that it is used up.
    AboutKey { refusal: Refusal, fault: Fault },
    /// The vendor may have carried it out, and nobody knows.
    Lost(Fault),
    /// Anything else.
    Other(Fault),
}

impl CallError {
    /// What the caller is told.
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::AboutKey { fault, .. } | Self::Lost(fault) | Self::Other(fault) => fault,
        }
    }
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        Self::Other(fault)
    }
}

/// An answer that says that all went well.
pub(super) struct Reply {
    body: Bytes,
    json: Option<Value>,
}

impl Reply {
    /// The whole of it.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The whole of it as JSON.
    pub(super) fn json(&self) -> Result<&Value, Fault> {
        self.json.as_ref().ok_or_else(|| super::answer::unusable("it is not JSON"))
    }
}

impl OwnCall<'_> {
    /// Makes it.
    pub(super) async fn make(&self, values: &OwnValues<'_>, deadline: Instant) -> Result<Reply, CallError> {
        let mut request = self.request(values)?;
        let vendor = &self.bot.vendor;
        let mut part = vendor_call(self.span, vendor, &mut request);
        let sent = pool::send(&vendor.upstream, self.who, request, deadline, || async move {
            sleep_until(deadline).await;
            GivenUp::Late
        })
        .await;
        let response = sent.map_err(|error| {
            let is_lost = matches!(error, SendError::Timeout | SendError::Lost(_) | SendError::Ended { .. });
            let fault = self.unanswered(error);
            part.failed(fault.code());
            if is_lost { CallError::Lost(fault) } else { CallError::Other(fault) }
        })?;
        part.answered(response.status());
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.whole(response, deadline).await;
        let json = body.as_ref().ok().and_then(|body| serde_json::from_slice::<Value>(body).ok());
        let failed = self.failed(status, json.as_ref());
        match (failed, body) {
            (None, Ok(body)) => Ok(Reply { body, json }),
            (None, Err(fault)) => Err(CallError::Lost(fault)),
            (Some(status), _) => Err(self.refused(status, &headers, json.as_ref(), values.vendor_token)),
        }
    }

    /// The status of a failure: of the answer, or what the vendor says in an answer that looks like a success.
    fn failed(&self, status: StatusCode, json: Option<&Value>) -> Option<StatusCode> {
        if !status.is_success() {
            return Some(status);
        }
        let failure = self.bot.profile.failure();
        let when = failure.when.as_deref()?;
        let json = json?;
        if json.pointer(when) == Some(&Value::Bool(true)) {
            return None;
        }
        let code = failure.code.as_deref().and_then(|code| json.pointer(code)).and_then(Value::as_u64);
        let status = code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
        Some(status.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::BAD_GATEWAY))
    }

    /// What comes of a failure: an answer about the key is the gateway's own trouble, all others have the vendor's words.
    fn refused(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        json: Option<&Value>,
        vendor_token: Option<&Secret>,
    ) -> CallError {
        let vendor = &self.bot.vendor;
        let cause = format!("{} answered {status} to the call that was to {}", vendor.name, self.purpose);
        let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let fault = if is_refusal {
            Fault::new(Code::VendorRefusedKey, "the vendor refused the gateway's key")
        } else {
            let fault = Fault::new(Code::VendorFailed, format!("the vendor could not {}", self.purpose));
            match json.and_then(|json| self.said(json, vendor_token)) {
                Some(said) => fault.said(said),
                None => fault,
            }
        };
        let fault = fault.because(cause);
        if vendor.profile.key_answers.has(status.as_u16()) {
            let retry_after = retry_after(headers, self.now);
            CallError::AboutKey { refusal: Refusal { status, retry_after, who: self.who }, fault }
        } else if status.is_server_error() {
            // Whatever stands before the vendor may have said it.
            CallError::Lost(fault)
        } else {
            CallError::Other(fault)
        }
    }

    /// The vendor's code and words, where the profile says, without secrets.
    fn said(&self, json: &Value, vendor_token: Option<&Secret>) -> Option<Said> {
        let vendor = &self.bot.vendor;
        let secrets = || vendor.keys.secrets().chain(vendor_token);
        let is_clean = |text: &str| {
            let told = hits(secrets(), text.as_bytes());
            vendor.note_masked(told, "failure");
            told == 0
        };
        let at = |pointer: &Option<String>| pointer.as_deref().and_then(|pointer| json.pointer(pointer));
        let clean = |text: &str| {
            let masked = if is_clean(text) { text.into() } else { masked(secrets(), text.as_bytes()) };
            shown(&String::from_utf8_lossy(&masked)).into_owned()
        };
        let failure = self.bot.profile.failure();
        let code = at(&failure.code).and_then(|code| match code {
            Value::String(text) => Some(Value::from(clean(text))),
            Value::Number(number) => Some(code.clone()).filter(|_| is_clean(&number.to_string())),
            _ => None,
        });
        let message = at(&failure.message).and_then(Value::as_str).filter(|text| !text.is_empty()).map(clean);
        (code.is_some() || message.is_some()).then_some(Said { code, message })
    }

    async fn whole(&self, response: Response<AnswerBody>, deadline: Instant) -> Result<Bytes, Fault> {
        let codings = response.headers().get_all(header::CONTENT_ENCODING);
        if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(super::answer::unusable("it is encoded, although identity was asked for"));
        }
        let late = deadline.min(Instant::now() + self.bot.vendor.upstream.timeouts().idle);
        match timeout_at(late, Limited::new(response.into_body(), LONGEST_ANSWER).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(super::answer::unusable("it broke off or is too long").because(error)),
            Err(_elapsed) => Err(Fault::new(Code::VendorTimeout, "the vendor did not finish its answer in time")),
        }
    }

    fn unanswered(&self, error: SendError) -> Fault {
        match &error {
            SendError::Connect(_) => Fault::new(Code::VendorUnreachable, "the vendor cannot be reached"),
            SendError::Busy => Fault::new(Code::VendorBusy, "all connections to the vendor are in use"),
            SendError::Open(wait) => {
                Fault::new(Code::VendorUnavailable, "the vendor does not answer just now").retry_after(*wait)
            }
            SendError::Timeout => Fault::new(Code::VendorTimeout, "the vendor did not answer in time"),
            // What was done in vain is nobody's loss: to ask again is right.
            SendError::Lost(_) | SendError::Ended { .. } | SendError::Caller(_) => {
                Fault::new(Code::VendorFailed, format!("the vendor broke off when it was to {}", self.purpose))
            }
        }
        .because(error)
    }

    fn request(&self, values: &OwnValues<'_>) -> Result<Box<Request<RequestBody>>, Fault> {
        let wrong =
            |what: &'static str| Fault::new(Code::Internal, "the vendor's call could not be made").because(what);
        let proven = Proven { values, is_claimed: values.is_claimed() };
        let vendor = &self.bot.vendor;
        let path = self.target.path(&proven).ok_or_else(|| wrong("a part of its path has no value"))?;
        let uri = format!("{}{path}{}", vendor.upstream.prefix(), query(self.set, &proven));
        let mut request = Request::builder()
            .method(self.target.method.clone())
            .uri(uri)
            .header(header::HOST, vendor.upstream.authority())
            .header(header::ACCEPT, "application/json, text/plain;q=0.9, */*;q=0.1")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::USER_AGENT, concat!("keystile/", env!("CARGO_PKG_VERSION")));
        for (name, template) in &self.set.header {
            if let Some(text) = template.fill(&proven) {
                let value = HeaderValue::try_from(text);
                let mut value = value.map_err(|error| wrong("a header of it is not one").because(error))?;
                value.set_sensitive(true);
                request = request.header(name, value);
            }
        }
        let body = if self.set.body.is_empty() {
            RequestBody::empty()
        } else {
            let members: serde_json::Map<String, Value> =
                self.set.body.iter().filter_map(|(name, shape)| Some((name.clone(), shape.fill(values)?))).collect();
            request = request.header(header::CONTENT_TYPE, "application/json");
            RequestBody::whole(Bytes::from(Value::Object(members).to_string()))
        };
        request.body(body).map(Box::new).map_err(|error| wrong("it is not a request").because(error))
    }
}

/// The query with its `?`; nothing, if there are no parameters.
fn query(set: &Set, values: &impl Values) -> String {
    let mut query = String::new();
    for (name, template) in &set.query {
        if let Some(text) = template.fill(values) {
            query.push(if query.is_empty() { '?' } else { '&' });
            percent_encode(name, &mut query);
            query.push('=');
            percent_encode(&text, &mut query);
        }
    }
    query
}

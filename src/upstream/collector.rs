//! The collector of traces as a place: where it is, and what carries spans there (OTLP over HTTP, protobuf).
//!
//! One thread does it, on a connection of its own that goes where a vendor's may go and nowhere else. What the collector
//! does not take at once is lost: it is asked again with the next spans, not with the same ones.

mod carrier;
mod settings;

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::SendRequest;
use tokio::time::timeout;

pub(crate) use self::carrier::{Carrier, Carrying, open};
pub(crate) use self::settings::Settings;
use super::connect::upgradable;
use super::{RequestBody, SendError, Upstream};

/// For all of an exchange; then its spans are lost, and the next ones get their chance.
const LONGEST: Duration = Duration::from_secs(10);
/// What is read of an answer that says nothing we need: else its connection would be of no more use.
const LONGEST_ANSWER: usize = 64 << 10;

/// Where spans go, and what is said with them.
#[derive(Debug)]
pub(crate) struct Collector {
    upstream: Upstream,
    /// The operator's, and secrets: marked so.
    headers: HeaderMap,
}

/// Why spans did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectorError {
    /// There is no connection.
    #[error("the collector cannot be reached")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// It broke off.
    #[error("the collector broke off")]
    Lost(#[from] hyper::Error),
    /// It refused them.
    #[error("the collector answered {0}")]
    Refused(StatusCode),
    /// It took too long.
    #[error("the collector did not answer in time")]
    Slow,
}

/// What lies below it speaks of a vendor.
fn unreached(error: SendError) -> CollectorError {
    CollectorError::Connect(match error {
        SendError::Connect(why) => why,
        other => other.into(),
    })
}

impl Collector {
    /// Sends a message, on the connection in `kept` if that is still good.
    async fn send(&self, message: Bytes, kept: &mut Option<SendRequest<RequestBody>>) -> Result<(), CollectorError> {
        let sender = kept.take();
        let (sender, status) =
            timeout(LONGEST, self.exchange(message, sender)).await.map_err(|_late| CollectorError::Slow)??;
        *kept = Some(sender);
        if status.is_success() { Ok(()) } else { Err(CollectorError::Refused(status)) }
    }

    async fn exchange(
        &self,
        message: Bytes,
        mut kept: Option<SendRequest<RequestBody>>,
    ) -> Result<(SendRequest<RequestBody>, StatusCode), CollectorError> {
        let is_good = match &mut kept {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        let mut sender = match kept.filter(|_| is_good) {
            Some(sender) => sender,
            None => upgradable(&self.upstream).await.map_err(unreached)?,
        };
        let response = sender.send_request(self.request(message)).await?;
        let status = response.status();
        // A longer one is cut, and its connection with it.
        let _whole = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        Ok((sender, status))
    }

    fn request(&self, message: Bytes) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::whole(message));
        *request.method_mut() = Method::POST;
        if let Ok(target) = format!("{}/v1/traces", self.upstream.prefix()).parse() {
            *request.uri_mut() = target;
        }
        let agent = HeaderValue::from_static(concat!("keystile/", env!("CARGO_PKG_VERSION")));
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert(header::HOST, self.upstream.authority().clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(header::USER_AGENT, agent);
        request
    }
}

//! WebSocket (RFC 6455) over HTTP/1.1: a granted call that becomes a stream of messages both ways.
//!
//! The same checks as any call come before. Both handshakes are our own: the client's is answered only when the vendor
//! has answered ours with a 101 that is one, so that nothing a client sends behind its request goes anywhere before
//! (CVE-2026-2833). Extensions are not negotiated: a compressed message could not be scanned.

mod frame;
mod pump;
mod relay;
mod side;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use self::pump::{Pump, Terms};
pub(super) use self::relay::{Down, Up};
use super::scrub::Needles;
use crate::access::{BEARER_PROTOCOL, CallGrant, offered};
use crate::fault::{Code, Fault};
use crate::limit::OpenCall;
use crate::telemetry::{Received, Record};
use crate::token::LEEWAY;

/// What stands behind the key before it is hashed (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How long a WebSocket may be silent.
#[derive(Clone, Copy, Debug)]
pub struct SocketTimeouts {
    /// A side that is silent for so long is pinged, and given up after as long again.
    pub ping: Duration,
    /// Without a message in either direction for so long it ends.
    pub idle: Duration,
}

/// Whether a message of the client may pass now, or how long it has to wait.
pub(crate) type Admit = Box<dyn FnMut() -> Result<(), Duration> + Send>;

/// A client's request for a WebSocket.
#[derive(Debug)]
pub(crate) struct Handshake {
    accept: HeaderValue,
    /// The protocols that it offers, ours taken out.
    protocols: Vec<String>,
    /// Whether the token came as a protocol.
    has_bearer: bool,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// The request for a WebSocket in `head`, if it is one.
    ///
    /// # Errors
    ///
    /// One that asks in another way than RFC 6455 §4.2.1 says.
    pub(crate) fn of(head: &mut Parts) -> Result<Option<Self>, Fault> {
        if !has_word(&head.headers, UPGRADE, "websocket") {
            return Ok(None);
        }
        let wrong = |detail| Err(Fault::new(Code::BadRequest, detail));
        let headers = &head.headers;
        if head.version != Version::HTTP_11 || head.method != Method::GET || !has_word(headers, CONNECTION, "upgrade") {
            return wrong(
                "a WebSocket is asked for with GET, HTTP/1.1, `Connection: Upgrade` and `Upgrade: websocket`",
            );
        }
        // A body would end where one parser says and another does not, and what stands behind it is frames.
        let has_body = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
        if has_body || headers.contains_key(TRANSFER_ENCODING) {
            return wrong("the request for a WebSocket has no body");
        }
        if single(headers, SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Fault::new(Code::UpgradeRequired, "the version of WebSocket spoken here is 13"));
        }
        let key = single(headers, SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        if !STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
            return wrong("Sec-WebSocket-Key must be 16 bytes in base64, once");
        }
        let (tokens, protocols) = offered(headers)?;
        let (has_bearer, protocols) = (!tokens.is_empty(), protocols.into_iter().map(str::to_owned).collect());
        let accept = accept_of(key)?;
        let Some(upgrade) = head.extensions.remove::<OnUpgrade>() else {
            return wrong("this connection cannot become a WebSocket");
        };
        Ok(Some(Self { accept, protocols, has_bearer, upgrade }))
    }

    /// Writes ours into the vendor's call; returns the key that the vendor has to answer.
    pub(super) fn ask(&self, headers: &mut HeaderMap, random: [u8; 16]) -> Result<HeaderValue, Fault> {
        let key = STANDARD.encode(random);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, value(&key)?);
        if !self.protocols.is_empty() {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, value(&self.protocols.join(", "))?);
        }
        accept_of(key.as_bytes())
    }

    /// What the client is answered, once the vendor has answered `theirs`; `accept` is what it had to say.
    pub(super) fn answer(&self, theirs: &HeaderMap, accept: &HeaderValue) -> Result<HeaderMap, Fault> {
        let failed = |cause: &'static str| {
            Err(Fault::new(Code::VendorFailed, "the vendor did not open a WebSocket").because(cause))
        };
        if !has_word(theirs, UPGRADE, "websocket") || !has_word(theirs, CONNECTION, "upgrade") {
            return failed("its 101 is for something else than a WebSocket");
        }
        if single(theirs, SEC_WEBSOCKET_ACCEPT) != Some(accept) {
            return failed("its Sec-WebSocket-Accept is not that of our key");
        }
        if theirs.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            return failed("it uses an extension that nobody offered");
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        match single(theirs, SEC_WEBSOCKET_PROTOCOL) {
            // One that was offered: so it is a word of the client's own, and no place for anything else.
            Some(protocol) if self.protocols.iter().any(|offered| protocol == offered.as_str()) => {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
            }
            None if !theirs.contains_key(SEC_WEBSOCKET_PROTOCOL) => {
                if self.has_bearer {
                    // Browsers end a connection on which none of the offered protocols was taken.
                    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER_PROTOCOL));
                }
            }
            _ => return failed("it chose a protocol that the client did not offer"),
        }
        Ok(headers)
    }
}

/// A WebSocket that both sides have agreed to, before the client knows.
pub(crate) struct Socket {
    client: OnUpgrade,
    vendor: Upgraded,
    needles: Arc<Needles>,
    ends: Instant,
    timeouts: SocketTimeouts,
    admit: Admit,
    grant: CallGrant,
    open: Option<OpenCall>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Socket").field("bot", &self.grant.bot().name).finish_non_exhaustive()
    }
}

impl Socket {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of the agreement, and there is one place that makes it"
    )]
    pub(super) fn new(
        handshake: Handshake,
        vendor: Upgraded,
        needles: Arc<Needles>,
        ends: Instant,
        timeouts: SocketTimeouts,
        admit: Admit,
        grant: CallGrant,
        open: Option<OpenCall>,
    ) -> Self {
        Self { client: handshake.upgrade, vendor, needles, ends, timeouts, admit, grant, open }
    }

    /// Leaves it to a task of this worker, which writes the record when it ends.
    pub(crate) fn start(self, mut record: Box<Record>) {
        tokio::spawn(async move {
            let counter = Arc::<AtomicU64>::default();
            record.received = Received::Counted(Arc::clone(&counter));
            // The head of the answer leaves now.
            record.sent(0);
            self.run(counter, &mut record).await;
        });
    }

    async fn run(self, received: Arc<AtomicU64>, record: &mut Record) {
        let Self { client, vendor, needles, ends, timeouts, admit, grant, open } = self;
        let Ok(client) = client.await else {
            // It left before it had the 101; the vendor's side is closed with it.
            return;
        };
        let limit = grant.bot().limits.message;
        let directions = (Down::new(needles, limit), Up::new(limit));
        let terms = Terms { ends, latest: ends + LEEWAY, ping: timeouts.ping, idle: timeouts.idle };
        let sides = (TokioIo::new(client), TokioIo::new(vendor));
        let report = Pump::new(sides, directions, terms, received, admit, Some(&grant)).run().await;
        drop(open);
        grant.bot().vendor.note_masked(report.hits, "messages");
        record.bytes_out = report.sent;
        record.code = report.end.code();
        record.is_complete = report.end.is_complete();
    }
}

/// The head of the answer to a client whose WebSocket is open.
pub(super) fn switching(headers: HeaderMap, socket: Socket) -> Response<Socket> {
    let mut response = Response::new(socket);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
}

/// Whether a request asks for another protocol on its connection, whatever it is.
pub(crate) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}

fn accept_of(key: &[u8]) -> Result<HeaderValue, Fault> {
    value(&STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat())))
}

fn value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text)
        .map_err(|error| Fault::new(Code::Internal, "the WebSocket could not be opened").because(error))
}

/// The value of a header that must be there once.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The words of a header that is a list.
fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    words(headers, name).any(|found| found.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_answered_as_in_the_rfc() {
        assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}

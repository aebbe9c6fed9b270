//! The WebSocket on which a client gets activities as they come. What the client sends on it has no meaning.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::fault::Fault;
use crate::demo::vendor::Answer;

/// How often a silent stream says that it is alive, with an empty message.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The answer to a handshake (RFC 6455 §4.2).
pub(super) fn accept(headers: &HeaderMap) -> Result<Answer, Fault> {
    let says = |name: &HeaderName, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    if !says(&CONNECTION, "upgrade") || !says(&UPGRADE, "websocket") || !says(&SEC_WEBSOCKET_VERSION, "13") {
        return Err(Fault::no_websocket());
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(Fault::no_websocket)?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let accept = accept.map_err(|_unwritable| Fault::no_websocket())?;
    let mut answer = Response::new(Empty::new().boxed_unsync());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(answer)
}

/// Tells the activities from number `from` on, until the client leaves or the vendor ends.
pub(super) async fn speak(
    upgrade: OnUpgrade,
    mut from: usize,
    since: impl Fn(usize) -> (usize, Value),
    mut grown: watch::Receiver<usize>,
    mut ended: watch::Receiver<()>,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    loop {
        // Seen before they are read: what comes in between is told with the next round, and never missed.
        grown.mark_unchanged();
        let (next, set) = since(from);
        if next > from && socket.send(Message::text(set.to_string())).await.is_err() {
            return;
        }
        from = next.max(from);
        tokio::select! {
            _ = ended.changed() => return,
            changed = grown.changed() => if changed.is_err() { return },
            frame = socket.next() => if !matches!(frame, Some(Ok(_))) { return },
            () = tokio::time::sleep(KEEP_ALIVE) => if socket.send(Message::text("")).await.is_err() { return },
        }
    }
}

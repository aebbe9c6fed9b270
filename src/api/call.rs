//! A call of one of the gateway's own endpoints: who makes it, what it is about, and how it is answered.
//!
//! Each endpoint beside this file reads as what it does; what all of them begin and end with stands here.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::members::members;
use super::{Api, Refused, Scene};
use crate::access::{Aim, Caller, Credential, Principal};
use crate::bot::{Bot, Client};
use crate::fault::{Code, Fault};
use crate::session::Opened;

/// A call whose body was not read yet.
pub(super) struct Call {
    pub(super) api: Arc<Api>,
    pub(super) caller: Arc<Caller>,
    pub(super) scene: Arc<Scene>,
    pub(super) head: Parts,
}

impl FromRequestParts<Arc<Api>> for Call {
    type Rejection = Refused;

    async fn from_request_parts(head: &mut Parts, api: &Arc<Api>) -> Result<Self, Refused> {
        let caller = head.extensions.get::<Arc<Caller>>().map(Arc::clone);
        let scene = head.extensions.get::<Arc<Scene>>().map(Arc::clone);
        match (caller, scene) {
            (Some(caller), Some(scene)) => Ok(Self { api: Arc::clone(api), caller, scene, head: head.clone() }),
            // `gateway` puts both on every call.
            _ => Err(Fault::new(Code::Internal, "the call came without its caller").into()),
        }
    }
}

impl Call {
    /// What it shows of who makes it, not yet proven.
    pub(super) fn credential(&self) -> Result<Credential<'_>, Fault> {
        Credential::presented(&self.head.headers, None, None, false)
    }

    /// Who makes it.
    pub(super) fn principal(&self) -> Result<Principal, Fault> {
        self.api.access.identify(self.credential()?, &self.caller)
    }

    /// The client that makes it, where only a client may.
    pub(super) fn client(&self, aim: Aim) -> Result<Arc<Client>, Fault> {
        self.api.access.client_of(self.principal()?, aim)
    }

    /// Notes what it turned out to be about, for CORS and the record. Only the first bot counts, and there is one.
    pub(super) fn note_subject(&self, bot: &Arc<Bot>, session: Option<&str>) {
        let _first = self.scene.bot.set(Arc::clone(bot));
        if let Some(session) = session {
            let _first = self.scene.session.set(session.to_owned());
        }
    }

    /// The members of its body, a JSON object or nothing.
    pub(super) async fn members(&self, body: Body, longest: u64) -> Result<Map<String, Value>, Fault> {
        members(&self.api.intake.json(&self.head.headers, body, longest).await?)
    }
}

impl Api {
    /// What the native calls answer when there is a new token; `messages` are those that the session was opened with.
    pub(super) fn minted(&self, opened: &Opened, messages: &[Value]) -> Value {
        let session = &opened.session;
        let life = session.expires.seconds().saturating_sub(session.issued.seconds());
        json!({
            "sessionId": session.id,
            "conversationId": session.conversation,
            "token": opened.token.expose(),
            "tokenType": "Bearer",
            "expiresAt": session.expires.millis(),
            "expiresIn": life,
            "renewAfter": renew_after(life, self.opener.entropy.bytes()),
            "messages": messages,
        })
    }
}

/// Where in its life a token is best renewed: 70 to 85 %, at random, so that tokens minted at once are not renewed at
/// once. Seconds from now.
fn renew_after(lifetime: u64, random: [u8; 2]) -> u64 {
    let spread = u64::from(u16::from_be_bytes(random)) * 15 / 65_536;
    lifetime * (70 + spread) / 100
}

/// An answer in JSON that nobody keeps.
pub fn answered(status: StatusCode, answer: &Value) -> Response {
    written(status, answer).map(Body::from)
}

/// The same in one piece, for answers that the gateway itself keeps.
pub(super) fn written(status: StatusCode, answer: &Value) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(answer.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_at_70_to_85_percent_of_its_life() {
        assert_eq!(renew_after(3600, [0, 0]), 2520);
        assert!((2520..=3060).contains(&renew_after(3600, [255, 255])));
    }
}

//! An account of an OpenAI-compatible vendor: chat completions and responses, at once or as server-sent events, such as
//! OpenAI's own clients read them.
//!
//! The account key may continue every response that was ever opened with it, whoever it was opened for: what a caller
//! gets at in that way is on record, see [`Seen::honoured`]. Limits of length and sampling are checked and then have
//! no effect; the answers are short.

mod chat;
mod checking;
mod fault;
mod input;
mod response;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value};
use tokio::net::TcpListener;

use self::fault::Fault;
use super::journal::{Entry, Journal, Seen};
use super::listen::{self, Call};
use super::pacing::{self, Event, tokens};
use super::{Answer, bearer};
use crate::clock::{Clock, Timestamp};
use crate::id::{Entropy, hex};
use crate::secret::{Secret, same};

/// What the simulated vendor is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account key.
    pub key: Secret,
    /// The models that the account may use.
    pub models: Vec<String>,
    /// How long it thinks about each token of an answer.
    pub pace: Duration,
}

/// The headers by which an account key acts for a part of the account.
const ACTS_FOR: [&str; 2] = ["openai-organization", "openai-project"];

/// The simulated vendor.
pub struct OpenAi {
    settings: Settings,
    clock: Clock,
    entropy: Entropy,
    journal: Arc<Journal>,
    stored: Mutex<Stored>,
}

/// What responses left behind, for all callers of the account.
#[derive(Default)]
struct Stored {
    /// What the user said, by the id of the response.
    heard: HashMap<String, String>,
    /// What was answered, by the id of the message.
    items: HashMap<String, String>,
}

/// What a caller said, and what is thought about it.
struct Reply {
    heard: String,
    text: String,
    tokens: Vec<String>,
    created: Timestamp,
}

impl OpenAi {
    /// A vendor that has answered nothing yet.
    pub fn new(settings: Settings, clock: Clock, entropy: Entropy) -> Arc<Self> {
        Arc::new(Self { settings, clock, entropy, journal: Arc::default(), stored: Mutex::default() })
    }

    /// Serves until the future is dropped, which also ends its connections.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let journal = Arc::clone(&self.journal);
        listen::serve(listener, journal, move |call| Arc::clone(&self).answer(call)).await;
    }

    /// Every request that came in, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.journal.seen()
    }

    /// How many answers were left by their receiver before their end.
    pub fn aborted(&self) -> usize {
        self.journal.aborted()
    }

    async fn answer(self: Arc<Self>, call: Call) -> Answer {
        let request = HeaderValue::from_str(&self.new_id("req_"));
        let mut answer = self.route(call).await.unwrap_or_else(Fault::into_answer);
        answer.headers_mut().insert("openai-version", HeaderValue::from_static("2020-10-01"));
        answer.headers_mut().extend(request.ok().map(|id| (http::HeaderName::from_static("x-request-id"), id)));
        answer
    }

    async fn route(self: Arc<Self>, mut call: Call) -> Result<Answer, Fault> {
        let (method, path) = (call.head.method.clone(), call.head.uri.path().to_owned());
        if !["/v1/chat/completions", "/v1/responses"].contains(&path.as_str()) {
            return Err(Fault::no_such_url(&method, &path));
        }
        self.admit(&call.head.headers)?;
        if method != Method::POST {
            return Err(Fault::method_not_supported(&method, &path));
        }
        let headers = &call.head.headers;
        let named = ACTS_FOR.into_iter().filter(|name| headers.contains_key(*name));
        call.entry.honour(named.map(str::to_owned));
        let body = call.body().await.ok_or_else(Fault::unreadable)?;
        let body = checking::object(&call.head.headers, &body)?;
        match path.as_str() {
            "/v1/responses" => self.respond(&body, &call.entry).await,
            _ => self.complete(&body).await,
        }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let key = bearer(headers).ok_or_else(Fault::no_key)?;
        same(key.as_bytes(), self.settings.key.expose().as_bytes()).then_some(()).ok_or_else(Fault::wrong_key)
    }

    /// The model that a body names, if the account may use it.
    fn model(&self, body: &Map<String, Value>) -> Result<String, Fault> {
        let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
        let known = self.settings.models.iter().find(|known| *known == model);
        known.cloned().ok_or_else(|| Fault::no_such_model(model))
    }

    async fn complete(self: Arc<Self>, body: &Map<String, Value>) -> Result<Answer, Fault> {
        let heard = chat::read(body)?;
        let shape = chat::Shape::new(self.new_id("chatcmpl-"), self.model(body)?, body);
        let reply = self.reply(heard, None);
        if checking::flag(body, "stream") {
            return Ok(events(shape.events(&reply, self.settings.pace), Box::new(|| {})));
        }
        tokio::time::sleep(self.settings.pace * reply.length()).await;
        Ok(ok(&shape.whole(&reply)))
    }

    async fn respond(self: Arc<Self>, body: &Map<String, Value>, entry: &Entry) -> Result<Answer, Fault> {
        let asked = input::read(body)?;
        let model = self.model(body)?;
        let earlier = self.recall(body, &asked, entry)?;
        let shape = response::Shape::new(self.new_id("resp_"), self.new_id("msg_"), model, body);
        let reply = self.reply(asked.text, earlier);
        let stores = body.get("store").and_then(Value::as_bool).unwrap_or(true);
        let (vendor, response, item) = (Arc::clone(&self), shape.id.clone(), shape.message.clone());
        let (heard, said) = (reply.heard.clone(), reply.text.clone());
        let keep: pacing::Keep = Box::new(move || {
            if stores {
                let mut stored = vendor.stored();
                stored.heard.insert(response, heard);
                stored.items.insert(item, said);
            }
        });
        if checking::flag(body, "stream") {
            return Ok(events(shape.events(&reply, self.settings.pace), keep));
        }
        tokio::time::sleep(self.settings.pace * reply.length()).await;
        keep();
        Ok(ok(&shape.whole(&reply, "completed")))
    }

    /// What was said before in what a body names, anywhere in the account.
    fn recall(&self, body: &Map<String, Value>, asked: &input::Input, entry: &Entry) -> Result<Option<String>, Fault> {
        let stored = self.stored();
        let mut earlier = None;
        for item in &asked.references {
            earlier = Some(stored.items.get(item).cloned().ok_or_else(|| Fault::no_such_item(item))?);
            entry.honour(["item_reference".to_owned()]);
        }
        if let Some(id) = body.get("previous_response_id").and_then(Value::as_str) {
            earlier = Some(stored.heard.get(id).cloned().ok_or_else(|| Fault::no_such_response(id))?);
            entry.honour(["previous_response_id".to_owned()]);
        }
        Ok(earlier)
    }

    fn reply(&self, heard: String, earlier: Option<String>) -> Reply {
        let text = match earlier {
            Some(earlier) => format!("I heard: {heard} (and before: {earlier})"),
            None => format!("I heard: {heard}"),
        };
        let tokens = tokens(&text);
        Reply { heard, text, tokens, created: self.clock.now() }
    }

    fn new_id(&self, prefix: &str) -> String {
        format!("{prefix}{}", hex(&self.entropy.bytes::<16>()))
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock()
    }
}

impl Reply {
    /// How many tokens it has.
    fn length(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }
}

fn events(events: Vec<Event>, keep: pacing::Keep) -> Answer {
    pacing::stream("text/event-stream; charset=utf-8", events, keep)
}

fn ok(value: &Value) -> Answer {
    super::json(StatusCode::OK, value)
}

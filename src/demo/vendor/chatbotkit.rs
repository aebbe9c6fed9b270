//! ChatBotKit's bot sessions, as far as a gateway uses them, under `/v1/` as on the vendor's own API host.
//!
//! It speaks HTTP/1.1, keeps everything in memory, and knows two credentials: the account key, which may do everything,
//! and a session token, which is good for the calls of exactly one conversation. All its bots are private. A call with
//! the account key is trusted as the real vendor trusts it: see [`Seen::honoured`].

mod conversation;
mod fault;
mod format;
mod opening;
mod reading;
mod telling;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use hyper::body::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use self::conversation::{Caller, Conversations, Kind, Message};
use self::fault::Fault;
use self::format::Format;
use self::reading::{honour, object, text};
use self::telling::Reply;
use super::journal::{Journal, Seen};
use super::listen::{self, Call};
use super::{Answer, bearer};
use crate::clock::Clock;
use crate::id::{Entropy, hex};
use crate::secret::{Secret, same};

/// What the simulated vendor is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account key.
    pub key: Secret,
    /// The ids of the account's bots.
    pub bots: Vec<String>,
    /// How long it thinks about each token of an answer.
    pub pace: Duration,
}

/// Where the vendor's own paths begin.
const ROOT: &str = "/v1/";

/// The simulated vendor.
pub struct ChatBotKit {
    settings: Settings,
    clock: Clock,
    entropy: Entropy,
    journal: Arc<Journal>,
    conversations: Mutex<Conversations>,
}

impl ChatBotKit {
    /// A vendor without any conversation yet.
    pub fn new(settings: Settings, clock: Clock, entropy: Entropy) -> Arc<Self> {
        Arc::new(Self { settings, clock, entropy, journal: Arc::default(), conversations: Mutex::default() })
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
        self.route(call).await.unwrap_or_else(Fault::into_answer)
    }

    async fn route(self: Arc<Self>, call: Call) -> Result<Answer, Fault> {
        let path = call.head.uri.path().to_owned();
        let rest = path.strip_prefix(ROOT).ok_or_else(Fault::not_found)?;
        let segments: Vec<&str> = rest.split('/').collect();
        match (&call.head.method, segments.as_slice()) {
            (&Method::POST, ["bot", bot, "session", "create"]) => self.create(bot, call).await,
            (&Method::GET, ["conversation", id, "message", "list"]) => self.list(id, &call),
            (&Method::POST, ["conversation", id, action @ ..]) => self.converse(id, action, call).await,
            _ => Err(Fault::not_found()),
        }
    }

    async fn create(&self, bot: &str, mut call: Call) -> Result<Answer, Fault> {
        let key = bearer(&call.head.headers).ok_or_else(Fault::not_authenticated)?;
        if !self.is_account_key(key) {
            return Err(Fault::not_authenticated());
        }
        if !self.settings.bots.iter().any(|known| known == bot) {
            return Err(Fault::not_found());
        }
        honour(&call, &Map::new());
        let body = call.body().await.ok_or_else(Fault::incomplete)?;
        let opening = opening::read(&object(&call.head.headers, &body)?)?;
        let now = self.clock.now();
        let session = self.conversations().open(&self.entropy, now, opening);
        Ok(ok(&json!({
            "id": bot,
            "conversationId": session.id,
            "token": session.token.expose(),
            "expiresAt": session.expires.millis(),
            "messages": session.messages.iter().map(Message::as_opened).collect::<Vec<_>>(),
        })))
    }

    /// A new token of a conversation, for the account. The one before it stays good.
    fn renew(&self, id: &str, caller: &Caller, body: &Map<String, Value>) -> Result<Answer, Fault> {
        if matches!(caller, Caller::Session) {
            return Err(Fault::not_authorized());
        }
        let duration = opening::duration(body.get("durationInSeconds"))?;
        let (token, expires) = self.conversations().renew(&self.entropy, id, self.clock.now().plus(duration));
        Ok(ok(&json!({ "id": id, "token": token.expose(), "expiresAt": expires.millis() })))
    }

    fn list(&self, id: &str, call: &Call) -> Result<Answer, Fault> {
        match self.caller(&call.head.headers, id)? {
            Caller::Account => {}
            Caller::Session => return Err(Fault::not_authorized()),
        }
        honour(call, &Map::new());
        let items = self.conversations().messages(id).to_vec();
        Ok(ok(&json!({ "items": items })))
    }

    async fn converse(self: Arc<Self>, id: &str, action: &[&str], mut call: Call) -> Result<Answer, Fault> {
        let caller = self.caller(&call.head.headers, id)?;
        let body = call.body().await.ok_or_else(Fault::incomplete)?;
        if matches!(caller, Caller::Account) {
            honour(&call, &serde_json::from_slice(&body).unwrap_or_default());
        }
        let headers = &call.head.headers;
        match action {
            ["complete"] => self.complete(id, headers, &body).await,
            ["send"] => self.send(id, &object(headers, &body)?),
            ["receive"] => object(headers, &body).map(|_| self.receive(id)),
            ["contact", "upsert"] => opening::check_contact(&object(headers, &body)?).map(|()| self.fresh("contact")),
            ["attachment", "upload"] => Ok(self.fresh("file")),
            ["session", "create"] => self.renew(id, &caller, &object(headers, &body)?),
            ["message", message, "upvote" | "downvote" | "synthesize"] => self.touch(id, message, headers, &body),
            _ => Err(Fault::not_found()),
        }
    }

    async fn complete(self: Arc<Self>, id: &str, headers: &HeaderMap, body: &Bytes) -> Result<Answer, Fault> {
        let text = text(&object(headers, body)?)?;
        let sent = self.say(id, Kind::User, &text);
        let reply = Reply::to(&text, self.new_id("msg"));
        match Format::asked_for(headers) {
            Format::Json => {
                tokio::time::sleep(self.settings.pace * reply.length()).await;
                self.remember(id, &reply);
                Ok(ok(&reply.result()))
            }
            streamed => {
                let (vendor, id, said) = (Arc::clone(&self), id.to_owned(), reply.clone());
                let keep = Box::new(move || vendor.remember(&id, &said));
                Ok(reply.tell(&sent, streamed, self.settings.pace, self.clock.clone(), keep))
            }
        }
    }

    fn send(&self, id: &str, body: &Map<String, Value>) -> Result<Answer, Fault> {
        let sent = self.say(id, Kind::User, &text(body)?);
        Ok(ok(&json!({ "id": sent })))
    }

    fn receive(&self, id: &str) -> Answer {
        let heard = self.conversations().last_heard(id).unwrap_or_default();
        let reply = Reply::to(&heard, self.new_id("msg"));
        self.remember(id, &reply);
        ok(&reply.result())
    }

    /// A call about a message that the conversation must hold.
    fn touch(&self, id: &str, message: &str, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Fault> {
        if !body.is_empty() {
            object(headers, body)?;
        }
        let known = self.conversations().messages(id).iter().any(|known| known.is(message));
        known.then(|| ok(&json!({ "id": message }))).ok_or_else(Fault::not_found)
    }

    /// Who is calling for conversation `id`, if it may.
    fn caller(&self, headers: &HeaderMap, id: &str) -> Result<Caller, Fault> {
        let credential = bearer(headers).ok_or_else(Fault::not_authenticated)?;
        let conversations = self.conversations();
        if self.is_account_key(credential) {
            return conversations.contains(id).then_some(Caller::Account).ok_or_else(Fault::not_found);
        }
        match conversations.opened_with(credential, self.clock.now()) {
            Some(own) if own == id => Ok(Caller::Session),
            Some(_) => Err(Fault::not_authorized()),
            None => Err(Fault::not_authenticated()),
        }
    }

    fn say(&self, id: &str, kind: Kind, text: &str) -> String {
        let message = self.new_id("msg");
        self.conversations().add(id, message.clone(), kind, text, self.clock.now());
        message
    }

    fn remember(&self, id: &str, reply: &Reply) {
        self.conversations().add(id, reply.id().to_owned(), Kind::Bot, reply.text(), self.clock.now());
    }

    /// An answer with the id of something that was just made.
    fn fresh(&self, what: &str) -> Answer {
        ok(&json!({ "id": self.new_id(what) }))
    }

    fn new_id(&self, what: &str) -> String {
        new_id(&self.entropy, what)
    }

    fn is_account_key(&self, credential: &str) -> bool {
        same(credential.as_bytes(), self.settings.key.expose().as_bytes())
    }

    fn conversations(&self) -> MutexGuard<'_, Conversations> {
        self.conversations.lock()
    }
}

/// An id of the vendor's: what it is of, and 96 random bits.
fn new_id(entropy: &Entropy, what: &str) -> String {
    format!("{what}_{}", hex(&entropy.bytes::<12>()))
}

fn ok(value: &Value) -> Answer {
    super::json(StatusCode::OK, value)
}

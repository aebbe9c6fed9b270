//! Azure Bot Service's Direct Line 3.0: tokens, conversations, activities, and the WebSocket on which they come.
//!
//! The secret may do everything, in every conversation and in everybody's name. A token is good for exactly one
//! conversation, for half an hour, and for its user, if it was made for one: then whatever an activity says about whom
//! it is from does not count. What is believed of a call is on record, see [`Seen::honoured`]. The bot repeats what it
//! hears; of an upload it looks at nothing but the type.
//!
//! The statuses and the error codes are the documented ones; not all of the messages were seen.

mod conversation;
mod fault;
mod reading;
mod stream;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use hyper::upgrade::OnUpgrade;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::conversation::{Conversations, User};
use self::fault::Fault;
use self::token::{Caller, Grant, Tokens, Use};
use super::journal::{Journal, Seen};
use super::listen::{self, Call};
use super::{Answer, bearer, query};
use crate::clock::Clock;
use crate::id::{Entropy, hex};
use crate::secret::{Secret, same};

/// What the simulated vendor is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The secret of the bot's site.
    pub key: Secret,
    /// How long the bot thinks about an answer.
    pub pace: Duration,
}

/// Where the vendor's own paths begin.
const ROOT: &str = "/v3/directline/";

/// How long a token is good.
const LIFETIME: Duration = Duration::from_secs(1800);

/// How long a WebSocket's address is good.
const TO_CONNECT: Duration = Duration::from_secs(60);

/// The simulated vendor.
pub struct DirectLine {
    settings: Settings,
    clock: Clock,
    entropy: Entropy,
    journal: Arc<Journal>,
    conversations: Mutex<Conversations>,
    tokens: Mutex<Tokens>,
}

impl DirectLine {
    /// A vendor without any conversation yet.
    pub fn new(settings: Settings, clock: Clock, entropy: Entropy) -> Arc<Self> {
        let (journal, conversations, tokens) = Default::default();
        Arc::new(Self { settings, clock, entropy, journal, conversations, tokens })
    }

    /// Serves until the future is dropped, which also ends its connections and WebSockets.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let journal = Arc::clone(&self.journal);
        // A WebSocket has left its connection behind; it learns of the end because this sender is gone.
        let (_running, ended) = watch::channel(());
        listen::serve(listener, journal, move |call| Arc::clone(&self).answer(call, ended.clone())).await;
    }

    /// Every request that came in, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.journal.seen()
    }

    /// How many answers were left by their receiver before their end. A WebSocket's answer ends with its handshake.
    pub fn aborted(&self) -> usize {
        self.journal.aborted()
    }

    async fn answer(self: Arc<Self>, call: Call, ended: watch::Receiver<()>) -> Answer {
        self.route(call, ended).await.unwrap_or_else(Fault::into_answer)
    }

    async fn route(self: Arc<Self>, call: Call, ended: watch::Receiver<()>) -> Result<Answer, Fault> {
        let path = call.head.uri.path().to_owned();
        let segments: Vec<&str> = path.strip_prefix(ROOT).ok_or_else(Fault::not_found)?.split('/').collect();
        let method = call.head.method.clone();
        match (segments.as_slice(), method) {
            (["tokens", "generate"], Method::POST) => self.generate(call).await,
            (["tokens", "refresh"], Method::POST) => self.refresh(&call),
            (["conversations"], Method::POST) => self.start(call).await,
            (["conversations", id], Method::GET) => self.reconnect(id, &call),
            (["conversations", id, "activities"], Method::POST) => self.say(id, call).await,
            (["conversations", id, "activities"], Method::GET) => self.list(id, &call),
            (["conversations", id, "upload"], Method::POST) => self.upload(id, call).await,
            (["conversations", id, "stream"], Method::GET) => self.stream(id, call, ended),
            (["tokens", "generate" | "refresh"] | ["conversations"] | ["conversations", _], _)
            | (["conversations", _, "activities" | "upload" | "stream"], _) => Err(Fault::method_not_allowed()),
            _ => Err(Fault::not_found()),
        }
    }

    /// A token for a conversation that is not started yet.
    async fn generate(&self, mut call: Call) -> Result<Answer, Fault> {
        let Caller::Secret = self.caller(&call)? else { return Err(Fault::wrong_credential()) };
        let parameters = body(&mut call).await?;
        let user = reading::user(&call.head.headers, &parameters, true, &call.entry)?;
        let id = self.new_conversation();
        Ok(super::json(StatusCode::OK, &self.admission(&id, user)))
    }

    /// A new token for an old one that is still good.
    fn refresh(&self, call: &Call) -> Result<Answer, Fault> {
        let Caller::Token(grant) = self.caller(call)? else { return Err(Fault::wrong_credential()) };
        Ok(super::json(StatusCode::OK, &self.admission(&grant.conversation, grant.user)))
    }

    /// Starts a new conversation, or the one that a token was generated for.
    async fn start(&self, mut call: Call) -> Result<Answer, Fault> {
        let caller = self.caller(&call)?;
        let parameters = body(&mut call).await?;
        let (id, user) = match caller {
            Caller::Secret => {
                let user = reading::user(&call.head.headers, &parameters, false, &call.entry)?;
                (self.new_conversation(), user)
            }
            Caller::Token(grant) => (grant.conversation, grant.user),
        };
        let is_new = self.conversations().start(&id).ok_or_else(Fault::no_conversation)?;
        let from = if is_new { Some(0) } else { None };
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok(super::json(status, &self.entrance(&id, user, from, &call)))
    }

    fn reconnect(&self, id: &str, call: &Call) -> Result<Answer, Fault> {
        let caller = self.caller_in(id, call)?;
        let from = self.watermark(id, call)?;
        Ok(super::json(StatusCode::OK, &self.entrance(id, caller.user(), from, call)))
    }

    /// Takes an activity, and answers when the bot has had its turn.
    async fn say(&self, id: &str, mut call: Call) -> Result<Answer, Fault> {
        let caller = self.caller_in(id, &call)?;
        let body = body(&mut call).await?;
        let activity = reading::activity(&call.head.headers, &body, caller.user(), &call.entry)?;
        Ok(self.take(id, activity).await)
    }

    async fn upload(&self, id: &str, mut call: Call) -> Result<Answer, Fault> {
        let caller = self.caller_in(id, &call)?;
        let named = query::parameter(call.head.uri.query(), "userId").map_err(Fault::bad_argument)?;
        let body = body(&mut call).await?;
        let activity = reading::upload(&call.head.headers, &body, caller.user(), named, &call.entry)?;
        Ok(self.take(id, activity).await)
    }

    async fn take(&self, id: &str, activity: Map<String, Value>) -> Answer {
        let reply = conversation::reply(&activity);
        let taken = self.conversations().add(id, activity, self.clock.now());
        if let Some(mut reply) = reply {
            tokio::time::sleep(self.settings.pace).await;
            reply.insert("replyToId".to_owned(), json!(taken));
            self.conversations().add(id, reply, self.clock.now());
        }
        super::json(StatusCode::OK, &json!({ "id": taken }))
    }

    fn list(&self, id: &str, call: &Call) -> Result<Answer, Fault> {
        self.caller_in(id, call)?;
        let from = self.watermark(id, call)?.unwrap_or_default();
        Ok(super::json(StatusCode::OK, &self.conversations().since(id, from).1))
    }

    fn stream(self: Arc<Self>, id: &str, mut call: Call, ended: watch::Receiver<()>) -> Result<Answer, Fault> {
        let token = query::parameter(call.head.uri.query(), "t").map_err(Fault::bad_argument)?;
        let token = token.ok_or_else(Fault::no_credential)?;
        let (grant, usage) = self.tokens().find(&token, self.clock.now())?;
        // The vendor documents only its own addresses. That a token of the conversation is good here, too, was not seen.
        let from = match usage {
            Use::Stream(from) => from,
            Use::Calls => self.watermark(id, &call)?.unwrap_or_default(),
        };
        if grant.conversation != id {
            return Err(Fault::wrong_credential());
        }
        let answer = stream::accept(&call.head.headers)?;
        let upgrade = call.head.extensions.remove::<OnUpgrade>().ok_or_else(Fault::no_websocket)?;
        let grown = self.conversations().grown(id).ok_or_else(Fault::no_conversation)?;
        let (vendor, id) = (Arc::clone(&self), id.to_owned());
        let since = move |from| vendor.conversations().since(&id, from);
        tokio::spawn(stream::speak(upgrade, from, since, grown, ended));
        Ok(answer)
    }

    /// Who is calling.
    fn caller(&self, call: &Call) -> Result<Caller, Fault> {
        let credential = bearer(&call.head.headers).ok_or_else(Fault::no_credential)?;
        if same(credential.as_bytes(), self.settings.key.expose().as_bytes()) {
            return Ok(Caller::Secret);
        }
        match self.tokens().find(credential, self.clock.now())? {
            (grant, Use::Calls) => Ok(Caller::Token(grant)),
            (_, Use::Stream(_)) => Err(Fault::wrong_credential()),
        }
    }

    /// Who is calling for the conversation `id`, if it may and the conversation has been started.
    fn caller_in(&self, id: &str, call: &Call) -> Result<Caller, Fault> {
        let caller = self.caller(call)?;
        if matches!(&caller, Caller::Token(grant) if grant.conversation != id) {
            return Err(Fault::wrong_credential());
        }
        self.conversations().is_started(id).then_some(caller).ok_or_else(Fault::no_conversation)
    }

    /// From where on a call wants the activities; nothing if it does not say.
    fn watermark(&self, id: &str, call: &Call) -> Result<Option<usize>, Fault> {
        let given = query::parameter(call.head.uri.query(), "watermark").map_err(Fault::bad_argument)?;
        let Some(given) = given.filter(|given| !given.is_empty() && given != "-") else { return Ok(None) };
        let known = self.conversations().length(id);
        let from = given.parse().ok().filter(|from| *from <= known);
        from.map(Some).ok_or_else(|| Fault::bad_argument("Invalid watermark"))
    }

    /// A token for a conversation, as `tokens/generate` answers it.
    fn admission(&self, id: &str, user: Option<User>) -> Value {
        let grant = Grant { conversation: id.to_owned(), user, expires: self.clock.now().plus(LIFETIME) };
        let token = self.tokens().issue(&self.entropy, grant, Use::Calls);
        json!({ "conversationId": id, "token": token.expose(), "expires_in": LIFETIME.as_secs() })
    }

    /// The same with the address of a WebSocket that begins at activity `from`, or at the next one.
    fn entrance(&self, id: &str, user: Option<User>, from: Option<usize>, call: &Call) -> Value {
        let mut entrance = self.admission(id, user);
        let start = from.unwrap_or_else(|| self.conversations().length(id));
        let expires = self.clock.now().plus(TO_CONNECT);
        let grant = Grant { conversation: id.to_owned(), user: None, expires };
        let token = self.tokens().issue(&self.entropy, grant, Use::Stream(start));
        let host = call.head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let watermark = from.filter(|from| *from > 0).map_or("-".to_owned(), |from| from.to_string());
        let url = format!("ws://{host}{ROOT}conversations/{id}/stream?watermark={watermark}&t={}", token.expose());
        entrance["streamUrl"] = json!(url);
        entrance
    }

    fn new_conversation(&self) -> String {
        let id = format!("{}-us", hex(&self.entropy.bytes::<11>()));
        self.conversations().make(id.clone());
        id
    }

    fn conversations(&self) -> MutexGuard<'_, Conversations> {
        self.conversations.lock()
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock()
    }
}

async fn body(call: &mut Call) -> Result<hyper::body::Bytes, Fault> {
    call.body().await.ok_or_else(|| Fault::bad_argument("the body is incomplete"))
}

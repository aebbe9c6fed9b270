//! AI Chatbot Hub's sessions, as far as a gateway uses them.
//!
//! Every call takes the account's token, which is good for every visitor's session: the vendor has no smaller one.
//! Sessions are kept in memory and never end. Neither their end nor refusals, nor the form of times, nor what `meta`
//! holds were seen in the vendor's documentation.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;

use super::journal::{Journal, Seen};
use super::listen::{self, Call};
use super::refusal::{Refusal, object, text};
use super::{Answer, bearer, words};
use crate::clock::{Clock, Timestamp};
use crate::id::Entropy;
use crate::secret::{Secret, same};

/// What the simulated vendor is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account's token.
    pub key: Secret,
    /// The ids of the account's chatbots: UUIDs.
    pub bots: Vec<String>,
    /// How long it thinks about each word of an answer.
    pub pace: Duration,
}

/// Where the vendor's own paths begin.
const ROOT: &str = "/api/v1/";

/// The simulated vendor.
pub struct AiChatbotHub {
    settings: Settings,
    clock: Clock,
    entropy: Entropy,
    journal: Arc<Journal>,
    sessions: Mutex<Vec<Session>>,
}

/// One session.
struct Session {
    id: String,
    bot: String,
    created: Timestamp,
    modified: Timestamp,
}

impl Session {
    /// The session as its creation answers it.
    fn as_created(&self) -> Value {
        json!({ "created_at": date(self.created), "modified_at": date(self.modified), "uuid": self.id })
    }

    /// The session as it is read afterwards.
    fn as_read(&self) -> Value {
        let mut session = self.as_created();
        session["meta"] = json!({});
        session
    }
}

impl AiChatbotHub {
    /// A vendor without any session yet.
    pub fn new(settings: Settings, clock: Clock, entropy: Entropy) -> Arc<Self> {
        Arc::new(Self { settings, clock, entropy, journal: Arc::default(), sessions: Mutex::default() })
    }

    /// Serves until the future is dropped, which also ends its connections.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let journal = Arc::clone(&self.journal);
        listen::serve(listener, journal, move |call| {
            let vendor = Arc::clone(&self);
            async move { vendor.route(call).await.unwrap_or_else(Refusal::into_answer) }
        })
        .await;
    }

    /// Every request that came in, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.journal.seen()
    }

    /// How many answers were left by their receiver before their end.
    pub fn aborted(&self) -> usize {
        self.journal.aborted()
    }

    async fn route(self: Arc<Self>, mut call: Call) -> Result<Answer, Refusal> {
        let body = call.body().await.ok_or_else(Refusal::incomplete)?;
        let headers = &call.head.headers;
        let key = bearer(headers).ok_or_else(Refusal::unauthorized)?;
        if !same(key.as_bytes(), self.settings.key.expose().as_bytes()) {
            return Err(Refusal::unauthorized());
        }
        let path = call.head.uri.path().strip_prefix(ROOT).unwrap_or_default();
        let segments: Vec<&str> = path.split('/').collect();
        match (&call.head.method, segments.as_slice()) {
            // Documented without a body; what stands in one was not seen to matter.
            (&Method::POST, ["chatbot", bot, "session", "create"]) => self.create(bot),
            (&Method::GET, ["chatbot", bot, "sessions"]) => self.list(bot),
            (&Method::GET, ["session", id]) => self.read(id),
            (&Method::POST, ["session", id, "message", "stream"]) => {
                let body = object(headers, &body)?;
                self.tell(id, text(&body, "query", "query: a string is required")?)
            }
            (_, ["chatbot", _, "session", "create"] | ["chatbot", _, "sessions"]) => Err(Refusal::method_not_allowed()),
            (_, ["session", _] | ["session", _, "message", "stream"]) => Err(Refusal::method_not_allowed()),
            _ => Err(Refusal::not_found("there is no such call")),
        }
    }

    fn create(&self, bot: &str) -> Result<Answer, Refusal> {
        let now = self.clock.now();
        let bot = self.bot(bot)?.to_owned();
        let session = Session { id: self.entropy.session_id(now), bot, created: now, modified: now };
        let answer = ok(&session.as_created());
        self.sessions().push(session);
        Ok(answer)
    }

    fn list(&self, bot: &str) -> Result<Answer, Refusal> {
        let bot = self.bot(bot)?;
        let sessions = self.sessions();
        let of_bot: Vec<Value> = sessions.iter().filter(|session| session.bot == bot).map(Session::as_read).collect();
        Ok(ok(&of_bot.into()))
    }

    fn read(&self, id: &str) -> Result<Answer, Refusal> {
        self.with_session(id, |session| ok(&session.as_read()))
    }

    fn tell(self: Arc<Self>, id: &str, query: &str) -> Result<Answer, Refusal> {
        self.touch(id)?;
        let (vendor, id) = (Arc::clone(&self), id.to_owned());
        Ok(words::stream(&words::reply(query), self.settings.pace, move || {
            // A session that was there stays there.
            let _ = vendor.touch(&id);
        }))
    }

    /// A message was added.
    fn touch(&self, id: &str) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.with_session(id, |session| session.modified = now)
    }

    /// The account's chatbot called `id`.
    fn bot(&self, id: &str) -> Result<&str, Refusal> {
        let bot = self.settings.bots.iter().find(|bot| *bot == id);
        bot.map(String::as_str).ok_or_else(|| Refusal::not_found("there is no such chatbot"))
    }

    fn with_session<T>(&self, id: &str, act: impl FnOnce(&mut Session) -> T) -> Result<T, Refusal> {
        let mut sessions = self.sessions();
        let session = sessions.iter_mut().find(|session| session.id == id);
        session.map(act).ok_or_else(|| Refusal::not_found("there is no such session"))
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Session>> {
        self.sessions.lock()
    }
}

/// A moment, to the millisecond.
fn date(moment: Timestamp) -> String {
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(moment.millis()) * 1_000_000);
    date.ok().and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_default()
}

fn ok(value: &Value) -> Answer {
    super::json(StatusCode::OK, value)
}

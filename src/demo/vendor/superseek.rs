//! Superseek's bots, as far as a gateway uses them.
//!
//! One key opens everything, and it travels in a query or in a body: nothing here repeats what a caller wrote in its
//! place. Sessions are kept in memory and never end; their end was not seen in the vendor's documentation, nor were
//! refusals, streaming, or what a rating is answered with.

mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use self::session::{Sessions, new_id};
use super::Answer;
use super::journal::{Journal, Seen};
use super::listen::{self, Call};
use super::query::Query;
use super::refusal::{Refusal, object, text};
use crate::id::Entropy;
use crate::secret::{Secret, same};

/// What the simulated vendor is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account's key.
    pub key: Secret,
    /// The ids of the account's bots: numbers, in their canonical text.
    pub bots: Vec<String>,
}

/// The simulated vendor.
pub struct Superseek {
    settings: Settings,
    entropy: Entropy,
    journal: Arc<Journal>,
    sessions: Mutex<Sessions>,
}

impl Superseek {
    /// A vendor without any session yet.
    pub fn new(settings: Settings, entropy: Entropy) -> Arc<Self> {
        Arc::new(Self { settings, entropy, journal: Arc::default(), sessions: Mutex::default() })
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

    async fn route(&self, mut call: Call) -> Result<Answer, Refusal> {
        let body = call.body().await.ok_or_else(Refusal::incomplete)?;
        let query = Query::parse(call.head.uri.query())
            .ok_or_else(|| Refusal::bad_request("the query is broken, or names a parameter twice"))?;
        let path = call.head.uri.path();
        match (&call.head.method, path) {
            (&Method::GET, "/session-id") => return self.session_id(&query),
            (&Method::POST, "/chat" | "/qa" | "/answer-rating") => {}
            (_, "/session-id" | "/chat" | "/qa" | "/answer-rating") => return Err(Refusal::method_not_allowed()),
            _ => return Err(Refusal::not_found("there is no such call")),
        }
        if query.get("api_key").is_some() {
            return Err(Refusal::bad_request("api_key belongs into the body"));
        }
        let body = object(&call.head.headers, &body)?;
        self.check_key(body.get("api_key").and_then(Value::as_str))?;
        // A number, as documented: the same digits in a string are refused.
        let bot = body.get("bot_id").and_then(Value::as_u64);
        let bot = self.bot(&bot.ok_or_else(|| Refusal::bad_request("bot_id: a number is required"))?.to_string())?;
        match path {
            "/chat" => self.chat(bot, &body),
            "/qa" => self.question(bot, &body),
            _ => self.rate(bot, &body),
        }
    }

    fn session_id(&self, query: &Query) -> Result<Answer, Refusal> {
        self.check_key(query.get("api_key"))?;
        let bot = query.get("bot_id").ok_or_else(|| Refusal::bad_request("bot_id: a number is required"))?;
        let id = self.open(self.bot(bot)?);
        let mut answer = Response::new(Full::from(id).boxed_unsync());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Ok(answer)
    }

    fn chat(&self, bot: &str, body: &Map<String, Value>) -> Result<Answer, Refusal> {
        let question = asked(body)?;
        // What stands in a history was not seen.
        if body.get("history").is_some_and(|history| !history.is_array()) {
            return Err(Refusal::bad_request("history: an array is required"));
        }
        let session = match body.get("session_id") {
            None => self.open(bot),
            Some(Value::String(id)) => id.clone(),
            Some(_) => return Err(Refusal::bad_request("session_id: a string is required")),
        };
        self.tell(&session, bot, question)
    }

    /// A question outside of any conversation. The documented answer has a session id all the same: it is a new one.
    fn question(&self, bot: &str, body: &Map<String, Value>) -> Result<Answer, Refusal> {
        let question = asked(body)?;
        self.tell(&self.open(bot), bot, question)
    }

    fn tell(&self, session: &str, bot: &str, question: &str) -> Result<Answer, Refusal> {
        let told = self.sessions().ask(session, bot, question);
        told.map(|answer| ok(&answer)).ok_or_else(|| Refusal::not_found("there is no such session"))
    }

    fn rate(&self, bot: &str, body: &Map<String, Value>) -> Result<Answer, Refusal> {
        let answer = body.get("answer_id").and_then(Value::as_u64);
        let answer = answer.ok_or_else(|| Refusal::bad_request("answer_id: a number is required"))?;
        if !matches!(body.get("rating").and_then(Value::as_i64), Some(1 | -1)) {
            return Err(Refusal::bad_request("rating: 1 or -1 is required"));
        }
        let is_known = self.sessions().is_answer_of(answer, bot);
        is_known.then(|| ok(&json!({ "success": true }))).ok_or_else(|| Refusal::not_found("there is no such answer"))
    }

    fn check_key(&self, key: Option<&str>) -> Result<(), Refusal> {
        let is_good = key.is_some_and(|key| same(key.as_bytes(), self.settings.key.expose().as_bytes()));
        is_good.then_some(()).ok_or_else(Refusal::unauthorized)
    }

    /// The account's bot called `id`.
    fn bot(&self, id: &str) -> Result<&str, Refusal> {
        let bot = self.settings.bots.iter().find(|bot| *bot == id);
        bot.map(String::as_str).ok_or_else(|| Refusal::not_found("there is no such bot"))
    }

    fn open(&self, bot: &str) -> String {
        let id = new_id(&self.entropy);
        self.sessions().open(id.clone(), bot);
        id
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock()
    }
}

fn asked(body: &Map<String, Value>) -> Result<&str, Refusal> {
    text(body, "question", "question: a string is required")
}

fn ok(value: &Value) -> Answer {
    super::json(StatusCode::OK, value)
}

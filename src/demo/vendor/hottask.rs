//! HotTask's chatbots, as far as a gateway uses them: a .NET service, which reads names of members and paths without
//! case.
//!
//! One secret opens everything, raw in `Authorization`. Session ids are integers in a row, so everybody can guess them.
//! Business errors are envelopes with HTTP status 200. The bodies of `ClientAsk`'s and the history's answers were not
//! seen in the vendor's documentation, nor were the values of `Code` beside 200.

mod envelope;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::envelope::{Fault, members, success, text};
use self::session::{Sessions, Who};
use super::journal::{Entry, Journal, Seen};
use super::listen::{self, Call};
use super::members::Members;
use super::{Answer, authorization, words};
use crate::secret::{Secret, same};

/// What the simulated vendor is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account's secret.
    pub key: Secret,
    /// The serial numbers of the account's chatbots.
    pub bots: Vec<String>,
    /// How long it thinks about each word of an answer.
    pub pace: Duration,
}

/// What `chatAskType` may be.
const ASK_TYPES: [&str; 4] = ["Text", "Audio", "Image", "Video"];

/// The simulated vendor.
pub struct HotTask {
    settings: Settings,
    journal: Arc<Journal>,
    sessions: Mutex<Sessions>,
}

impl HotTask {
    /// A vendor without any session yet.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { settings, journal: Arc::default(), sessions: Mutex::default() })
    }

    /// Serves until the future is dropped, which also ends its connections.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let journal = Arc::clone(&self.journal);
        listen::serve(listener, journal, move |call| {
            let vendor = Arc::clone(&self);
            async move { vendor.route(call).await.unwrap_or_else(Fault::into_answer) }
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

    async fn route(self: Arc<Self>, mut call: Call) -> Result<Answer, Fault> {
        let body = call.body().await.ok_or_else(Fault::incomplete)?;
        let path = call.head.uri.path().to_ascii_lowercase();
        if !matches!(
            path.as_str(),
            "/chat/chatbot/getsession" | "/chat/chat/clientask" | "/chat/chatbot/chatcontenthistory"
        ) {
            return Err(Fault::no_such_call());
        }
        if call.head.method != Method::POST {
            return Err(Fault::method_not_allowed());
        }
        // With a `Bearer` before it, it is another secret.
        let key = authorization(&call.head.headers).unwrap_or_default();
        if !same(key.as_bytes(), self.settings.key.expose().as_bytes()) {
            return Err(Fault::unauthorized());
        }
        let body = members(&call.head.headers, &body)?;
        match path.as_str() {
            "/chat/chatbot/getsession" => self.open(&body),
            "/chat/chat/clientask" => self.ask(&body, &call.entry).await,
            _ => self.history(&body),
        }
    }

    fn open(&self, body: &Members) -> Result<Answer, Fault> {
        let bot = self.bot(body)?;
        let id = self.sessions().open(bot);
        Ok(success(&json!({ "SessionID": id })))
    }

    async fn ask(self: Arc<Self>, body: &Members, entry: &Entry) -> Result<Answer, Fault> {
        let question = Question::read(body)?;
        if !self.sessions().add(question.session, Who::User, question.content) {
            return Err(Fault::not_found("SessionID does not exist"));
        }
        if question.has_files {
            // Files of the whole account: the vendor would have put them before this visitor.
            entry.honour(["fileIds".to_owned()]);
        }
        let (said, pace, id) = (words::reply(question.content), self.settings.pace, question.session);
        if question.is_streamed {
            let (vendor, text) = (Arc::clone(&self), said.clone());
            return Ok(words::stream(&said, pace, move || {
                vendor.sessions().add(id, Who::Bot, &text);
            }));
        }
        tokio::time::sleep(words::thinking(&said, pace)).await;
        self.sessions().add(id, Who::Bot, &said);
        // `Answer` is our name for it: the body was not seen in the vendor's documentation.
        Ok(success(&json!({ "Answer": said })))
    }

    /// All messages of all sessions of a chatbot. `StartTime` and `EndTime` narrow it down in a form that was not seen.
    fn history(&self, body: &Members) -> Result<Answer, Fault> {
        let bot = self.bot(body)?;
        let history = self.sessions().history(bot);
        Ok(success(&history))
    }

    /// The account's chatbot that a body names by its serial number.
    fn bot(&self, body: &Members) -> Result<&str, Fault> {
        let serial = text(body, "SerialNumber", "SerialNumber: a string is required")?;
        let bot = self.settings.bots.iter().find(|bot| *bot == serial);
        bot.map(String::as_str).ok_or_else(|| Fault::not_found("SerialNumber does not exist"))
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock()
    }
}

/// The body of `ClientAsk`, checked. What is not documented to be null may not be null.
struct Question<'b> {
    session: u64,
    content: &'b str,
    is_streamed: bool,
    has_files: bool,
}

impl<'b> Question<'b> {
    fn read(body: &'b Members) -> Result<Self, Fault> {
        let session = body.get("sessionID").and_then(Value::as_u64);
        let session = session.ok_or_else(|| Fault::bad_request("SessionID: an integer is required"))?;
        let content = text(body, "content", "Content: a string is required")?;
        let is_streamed = match body.get("stream") {
            None => false,
            Some(Value::Bool(is_streamed)) => *is_streamed,
            Some(_) => return Err(Fault::bad_request("Stream: a boolean is required")),
        };
        let kind = body.get("chatAskType");
        if !kind.is_none_or(|kind| kind.as_str().is_some_and(|kind| ASK_TYPES.contains(&kind))) {
            return Err(Fault::bad_request("ChatAskType: Text, Audio, Image or Video is required"));
        }
        let has_files = match body.get("fileIds") {
            None => false,
            Some(Value::Array(ids)) if ids.iter().all(Value::is_i64) => !ids.is_empty(),
            Some(_) => return Err(Fault::bad_request("FileIds: integers are required")),
        };
        Ok(Self { session, content, is_streamed, has_files })
    }
}

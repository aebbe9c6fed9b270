//! The sessions that the vendor keeps: whose they are, and what was said.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::demo::vendor::words::reply;
use crate::id::Entropy;

/// How long a session's id is, as the documented example.
const ID: usize = 26;

/// What a session's id is written with.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// One session.
struct Session {
    bot: String,
    /// Questions and answers, as an answer shows them.
    said: Vec<Value>,
}

/// All sessions, and the bot behind each answer that was ever given.
#[derive(Default)]
pub(super) struct Sessions {
    open: HashMap<String, Session>,
    answers: Vec<String>,
}

impl Sessions {
    /// Opens a session with a bot.
    pub(super) fn open(&mut self, id: String, bot: &str) {
        self.open.insert(id, Session { bot: bot.to_owned(), said: Vec::new() });
    }

    /// The answer to a question in a session, if the bot has such a session.
    ///
    /// `chat` holds all that was said in the session, so that whoever got into another one sees it. What `ref` holds
    /// was not seen in the vendor's documentation.
    pub(super) fn ask(&mut self, id: &str, bot: &str, question: &str) -> Option<Value> {
        let session = self.open.get_mut(id).filter(|session| session.bot == bot)?;
        let answer = reply(question);
        let result = json!({ "text": answer, "ref": [], "urlPresent": false });
        session.said.push(json!({ "role": "user", "question": question }));
        session.said.push(json!({ "role": "bot", "result": result }));
        self.answers.push(bot.to_owned());
        Some(json!({
            "chat": session.said,
            "session_id": id,
            "question": question,
            "answer": answer,
            "answer_id": self.answers.len(),
        }))
    }

    /// Whether the bot gave the answer with this number.
    pub(super) fn is_answer_of(&self, answer: u64, bot: &str) -> bool {
        let index = usize::try_from(answer).ok().and_then(|answer| answer.checked_sub(1));
        index.and_then(|index| self.answers.get(index)).is_some_and(|known| known == bot)
    }
}

/// A new session's id.
pub(super) fn new_id(entropy: &Entropy) -> String {
    entropy
        .bytes::<ID>()
        .iter()
        .filter_map(|byte| DIGITS.get(usize::from(*byte) % DIGITS.len()))
        .copied()
        .map(char::from)
        .collect()
}

//! The sessions that the vendor keeps: whose they are, and what was said.

use serde_json::{Value, json};

/// The id of the first session, as the documented example.
const FIRST: u64 = 123_456;

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    User,
    Bot,
}

/// One session.
struct Session {
    bot: String,
    said: Vec<(Who, String)>,
}

/// All sessions. Their ids are in a row.
#[derive(Default)]
pub(super) struct Sessions(Vec<Session>);

impl Sessions {
    /// Opens a session with a chatbot, and tells its id.
    pub(super) fn open(&mut self, bot: &str) -> u64 {
        self.0.push(Session { bot: bot.to_owned(), said: Vec::new() });
        FIRST + self.0.len() as u64 - 1
    }

    /// Adds a message, if there is such a session.
    pub(super) fn add(&mut self, id: u64, who: Who, text: &str) -> bool {
        let index = id.checked_sub(FIRST).and_then(|index| usize::try_from(index).ok());
        let Some(session) = index.and_then(|index| self.0.get_mut(index)) else { return false };
        session.said.push((who, text.to_owned()));
        true
    }

    /// All that was said to and by a chatbot, session by session. The names of its members were not seen in the
    /// vendor's documentation.
    pub(super) fn history(&self, bot: &str) -> Value {
        let numbered = (FIRST..).zip(&self.0).filter(|(_, session)| session.bot == bot);
        numbered
            .flat_map(|(id, session)| {
                session.said.iter().map(move |(who, text)| {
                    let role = match who {
                        Who::User => "User",
                        Who::Bot => "Bot",
                    };
                    json!({ "SessionID": id, "Role": role, "Content": text })
                })
            })
            .collect()
    }
}

//! The conversations that the vendor keeps: their tokens and what was said.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

use super::new_id;
use crate::clock::Timestamp;
use crate::id::Entropy;
use crate::secret::{Secret, sha256};

/// Whose credential a conversation call came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The account's own key.
    Account,
    /// The token of the conversation's session.
    Session,
}

/// Who said a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    User,
    Bot,
}

/// One message, as `message/list` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    id: String,
    #[serde(rename = "type")]
    kind: Kind,
    text: String,
    created_at: u64,
    updated_at: u64,
}

impl Message {
    fn new(id: String, kind: Kind, text: &str, now: Timestamp) -> Self {
        Self { id, kind, text: text.to_owned(), created_at: now.millis(), updated_at: now.millis() }
    }

    /// The message as the session call answers it: what was sent, with an id.
    pub(super) fn as_opened(&self) -> Value {
        json!({ "id": self.id, "type": self.kind, "text": self.text })
    }

    /// Whether this is the message called `id`.
    pub(super) fn is(&self, id: &str) -> bool {
        self.id == id
    }
}

/// What a session is opened with.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) duration: Duration,
    pub(super) messages: Vec<String>,
}

/// A session that was just opened; the only moment at which its token can be read.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) token: Secret,
    pub(super) expires: Timestamp,
    pub(super) messages: Vec<Message>,
}

/// A token's conversation, and until when it is.
struct Access {
    conversation: String,
    expires: Timestamp,
}

/// All conversations.
#[derive(Default)]
pub(super) struct Conversations {
    messages: HashMap<String, Vec<Message>>,
    // Found by digest: the time of a look-up tells nothing of the token.
    tokens: HashMap<[u8; 32], Access>,
}

impl Conversations {
    /// Opens a conversation and a session in it.
    pub(super) fn open(&mut self, entropy: &Entropy, now: Timestamp, opening: Opening) -> Session {
        let id = new_id(entropy, "conv");
        let (token, expires) = self.renew(entropy, &id, now.plus(opening.duration));
        let messages: Vec<Message> =
            opening.messages.iter().map(|text| Message::new(new_id(entropy, "msg"), Kind::User, text, now)).collect();
        self.messages.insert(id.clone(), messages.clone());
        Session { id, token, expires, messages }
    }

    /// A new token of a conversation, until `expires`.
    pub(super) fn renew(&mut self, entropy: &Entropy, id: &str, expires: Timestamp) -> (Secret, Timestamp) {
        let token = Secret::new(URL_SAFE_NO_PAD.encode(entropy.bytes::<48>()));
        self.tokens.insert(token.sha256(), Access { conversation: id.to_owned(), expires });
        (token, expires)
    }

    /// The conversation that `token` is good for at `now`.
    pub(super) fn opened_with(&self, token: &str, now: Timestamp) -> Option<&str> {
        let access = self.tokens.get(&sha256(token.as_bytes()))?;
        (now < access.expires).then_some(access.conversation.as_str())
    }

    /// Whether there is such a conversation.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.messages.contains_key(id)
    }

    /// What was said in a conversation, oldest first.
    pub(super) fn messages(&self, id: &str) -> &[Message] {
        self.messages.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// What the user said last.
    pub(super) fn last_heard(&self, id: &str) -> Option<String> {
        let heard = self.messages(id).iter().rfind(|message| message.kind == Kind::User)?;
        Some(heard.text.clone())
    }

    /// Adds a message.
    pub(super) fn add(&mut self, conversation: &str, id: String, kind: Kind, text: &str, now: Timestamp) {
        if let Some(messages) = self.messages.get_mut(conversation) {
            messages.push(Message::new(id, kind, text, now));
        }
    }
}

//! The conversations that the vendor keeps, and what the bot says in them.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use crate::clock::Timestamp;

/// Whom a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: Option<String>,
}

impl User {
    /// As `from` shows it.
    pub(super) fn account(&self) -> Value {
        match &self.name {
            Some(name) => json!({ "id": self.id, "name": name }),
            None => json!({ "id": self.id }),
        }
    }
}

struct Conversation {
    is_started: bool,
    activities: Vec<Value>,
    /// Tells the WebSockets how many activities there are.
    grown: watch::Sender<usize>,
}

/// All conversations.
#[derive(Default)]
pub(super) struct Conversations(HashMap<String, Conversation>);

impl Conversations {
    /// Makes a conversation that still has to be started.
    pub(super) fn make(&mut self, id: String) {
        let conversation = Conversation { is_started: false, activities: Vec::new(), grown: watch::channel(0).0 };
        self.0.insert(id, conversation);
    }

    /// Starts a conversation; whether it was not started before.
    pub(super) fn start(&mut self, id: &str) -> Option<bool> {
        self.0.get_mut(id).map(|conversation| !std::mem::replace(&mut conversation.is_started, true))
    }

    /// Whether there is such a conversation, and it has been started.
    pub(super) fn is_started(&self, id: &str) -> bool {
        self.0.get(id).is_some_and(|conversation| conversation.is_started)
    }

    /// How many activities a conversation has.
    pub(super) fn length(&self, id: &str) -> usize {
        self.0.get(id).map_or(0, |conversation| conversation.activities.len())
    }

    /// Tells of each new activity.
    pub(super) fn grown(&self, id: &str) -> Option<watch::Receiver<usize>> {
        self.0.get(id).map(|conversation| conversation.grown.subscribe())
    }

    /// The set of activities from number `from` on, before the number at which the next set begins.
    pub(super) fn since(&self, id: &str, from: usize) -> (usize, Value) {
        let activities = self.0.get(id).map(|conversation| conversation.activities.as_slice()).unwrap_or_default();
        let set = json!({
            "activities": activities.get(from..).unwrap_or_default(),
            "watermark": activities.len().to_string(),
        });
        (activities.len(), set)
    }

    /// Adds an activity; the answer is its id.
    pub(super) fn add(&mut self, id: &str, mut activity: Map<String, Value>, now: Timestamp) -> Option<String> {
        let conversation = self.0.get_mut(id)?;
        let number = conversation.activities.len() + 1;
        let own = format!("{id}|{number:07}");
        activity.insert("id".to_owned(), json!(own));
        activity.insert("timestamp".to_owned(), json!(written(now)));
        activity.insert("channelId".to_owned(), json!("directline"));
        activity.insert("conversation".to_owned(), json!({ "id": id }));
        conversation.activities.push(Value::Object(activity));
        conversation.grown.send_replace(number);
        Some(own)
    }
}

/// What the bot says to an activity: to messages only.
pub(super) fn reply(activity: &Map<String, Value>) -> Option<Map<String, Value>> {
    if activity.get("type").and_then(Value::as_str) != Some("message") {
        return None;
    }
    let heard = activity.get("text").and_then(Value::as_str).unwrap_or("something without words");
    let reply = json!({
        "type": "message",
        "from": { "id": "bot", "name": "Bot", "role": "bot" },
        "text": format!("I heard: {heard}"),
        "inputHint": "acceptingInput",
    });
    reply.as_object().cloned()
}

fn written(now: Timestamp) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(now.millis()) * 1_000_000).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

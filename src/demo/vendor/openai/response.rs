//! The shapes of a response: the whole of it, and the events of its stream.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Reply;
use crate::demo::vendor::pacing::{Event, tokens};

/// What a response repeats of its request, with what it is if nobody asked.
fn repeated(body: &Map<String, Value>) -> impl Iterator<Item = (&'static str, Value)> {
    [
        ("background", json!(false)),
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("max_tool_calls", Value::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("previous_response_id", Value::Null),
        ("reasoning", json!({ "effort": null, "summary": null })),
        ("safety_identifier", Value::Null),
        ("store", json!(true)),
        ("temperature", json!(1.0)),
        ("text", json!({ "format": { "type": "text" } })),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("top_p", json!(1.0)),
        ("truncation", json!("disabled")),
        ("user", Value::Null),
    ]
    .into_iter()
    .map(|(name, otherwise)| (name, body.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(otherwise)))
}

/// What all parts of one answer have in common.
pub(super) struct Shape {
    /// The id of the response.
    pub(super) id: String,
    /// The id of the message in it.
    pub(super) message: String,
    model: String,
    repeated: Map<String, Value>,
}

impl Shape {
    pub(super) fn new(id: String, message: String, model: String, body: &Map<String, Value>) -> Self {
        let repeated = repeated(body).map(|(name, value)| (name.to_owned(), value)).collect();
        Self { id, message, model, repeated }
    }

    /// The response, which is complete or still in progress.
    pub(super) fn whole(&self, reply: &Reply, status: &str) -> Value {
        let is_complete = status == "completed";
        let output = if is_complete { vec![self.item(&reply.text, status)] } else { Vec::new() };
        let mut whole = json!({
            "id": self.id,
            "object": "response",
            "created_at": reply.created.seconds(),
            "status": status,
            "error": null,
            "incomplete_details": null,
            "model": self.model,
            "output": output,
            "service_tier": "default",
            "usage": is_complete.then(|| usage(reply)),
        });
        if let Value::Object(whole) = &mut whole {
            whole.extend(self.repeated.clone());
        }
        whole
    }

    /// The answer as a stream; each token takes `pace`.
    pub(super) fn events(&self, reply: &Reply, pace: Duration) -> Vec<Event> {
        let mut telling = Telling::default();
        let begun = json!({ "response": self.whole(reply, "in_progress") });
        telling.tell("response.created", begun.clone());
        telling.tell("response.in_progress", begun);
        let item = json!({ "id": self.message, "type": "message", "status": "in_progress", "role": "assistant", "content": [] });
        telling.tell("response.output_item.added", json!({ "output_index": 0, "item": item }));
        telling.tell("response.content_part.added", self.place(json!({ "part": part("") })));
        for token in &reply.tokens {
            let delta = self.place(json!({ "delta": token, "logprobs": [] }));
            telling.tell_after(pace, "response.output_text.delta", delta);
        }
        telling.tell("response.output_text.done", self.place(json!({ "text": reply.text, "logprobs": [] })));
        telling.tell("response.content_part.done", self.place(json!({ "part": part(&reply.text) })));
        let item = self.item(&reply.text, "completed");
        telling.tell("response.output_item.done", json!({ "output_index": 0, "item": item }));
        telling.tell("response.completed", json!({ "response": self.whole(reply, "completed") }));
        telling.events
    }

    fn item(&self, text: &str, status: &str) -> Value {
        json!({ "id": self.message, "type": "message", "status": status, "role": "assistant", "content": [part(text)] })
    }

    /// `data` with where in the response it belongs.
    fn place(&self, data: Value) -> Value {
        let mut placed = json!({ "item_id": self.message, "output_index": 0, "content_index": 0 });
        if let (Value::Object(placed), Value::Object(data)) = (&mut placed, data) {
            placed.extend(data);
        }
        placed
    }
}

/// Events, numbered in their order.
#[derive(Default)]
struct Telling {
    events: Vec<Event>,
}

impl Telling {
    fn tell(&mut self, kind: &str, data: Value) {
        self.tell_after(Duration::ZERO, kind, data);
    }

    fn tell_after(&mut self, after: Duration, kind: &str, data: Value) {
        let mut event = json!({ "type": kind, "sequence_number": self.events.len() });
        if let (Value::Object(event), Value::Object(data)) = (&mut event, data) {
            event.extend(data);
        }
        self.events.push(Event { after, bytes: format!("event: {kind}\ndata: {event}\n\n").into() });
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "annotations": [], "logprobs": [], "text": text })
}

fn usage(reply: &Reply) -> Value {
    let (heard, said) = (tokens(&reply.heard).len(), reply.tokens.len());
    json!({
        "input_tokens": heard,
        "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": said,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": heard + said,
    })
}

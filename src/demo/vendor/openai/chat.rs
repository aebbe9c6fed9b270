//! Chat completions: the request that is read, and the shapes of its answers.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Reply;
use super::checking::{Kind, Rule, check, flag};
use super::fault::Fault;
use crate::demo::vendor::pacing::{Event, tokens};

const RULES: &[Rule] = &[
    ("audio", Kind::Object),
    ("frequency_penalty", Kind::Number(-2.0..=2.0)),
    ("function_call", Kind::TextOrObject),
    ("functions", Kind::List),
    ("logit_bias", Kind::Object),
    ("logprobs", Kind::Flag),
    ("max_completion_tokens", Kind::AtLeast(1)),
    ("max_tokens", Kind::AtLeast(1)),
    ("messages", Kind::List),
    ("metadata", Kind::Metadata),
    ("modalities", Kind::List),
    ("model", Kind::Text),
    ("n", Kind::Integer(1..=128)),
    ("parallel_tool_calls", Kind::Flag),
    ("prediction", Kind::Object),
    ("presence_penalty", Kind::Number(-2.0..=2.0)),
    ("prompt_cache_key", Kind::Text),
    ("prompt_cache_retention", Kind::Text),
    ("reasoning_effort", Kind::Text),
    ("response_format", Kind::Object),
    ("safety_identifier", Kind::Text),
    ("seed", Kind::AtLeast(i64::MIN)),
    ("service_tier", Kind::Text),
    ("stop", Kind::Stops),
    ("store", Kind::Flag),
    ("stream", Kind::Flag),
    ("stream_options", Kind::Object),
    ("temperature", Kind::Number(0.0..=2.0)),
    ("tool_choice", Kind::TextOrObject),
    ("tools", Kind::List),
    ("top_logprobs", Kind::Integer(0..=20)),
    ("top_p", Kind::Number(0.0..=1.0)),
    ("user", Kind::Text),
    ("verbosity", Kind::Text),
    ("web_search_options", Kind::Object),
];

const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// Checks the body; comes back with what the user said last.
pub(super) fn read(body: &Map<String, Value>) -> Result<String, Fault> {
    check(body, RULES, &["model", "messages"])?;
    if body.contains_key("max_tokens") && body.contains_key("max_completion_tokens") {
        return Err(Fault::wrong_value("max_tokens", "none, where 'max_completion_tokens' is given"));
    }
    let messages = body.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1.".to_owned();
        return Err(Fault::parameter("messages", "empty_array", message));
    }
    let mut heard = String::new();
    for (index, message) in messages.iter().enumerate() {
        let (role, text) = read_message(&format!("messages[{index}]"), message)?;
        if role == "user" {
            heard = text;
        }
    }
    Ok(heard)
}

fn read_message<'a>(at: &str, message: &'a Value) -> Result<(&'a str, String), Fault> {
    let message = message.as_object().ok_or_else(|| Fault::wrong_type(at, "an object"))?;
    let role = match message.get("role") {
        None => return Err(Fault::missing(&format!("{at}.role"))),
        Some(role) => role.as_str().filter(|role| ROLES.contains(role)),
    };
    let role = role.ok_or_else(|| Fault::wrong_value(&format!("{at}.role"), &ROLES.join(", ")))?;
    if role == "tool" && !message.get("tool_call_id").is_some_and(Value::is_string) {
        return Err(Fault::missing(&format!("{at}.tool_call_id")));
    }
    let calls = message.contains_key("tool_calls") || message.contains_key("function_call");
    let at = format!("{at}.content");
    match message.get("content") {
        Some(Value::String(text)) => Ok((role, text.clone())),
        Some(Value::Array(parts)) => Ok((role, read_parts(&at, parts)?)),
        None | Some(Value::Null) if role == "assistant" && calls => Ok((role, String::new())),
        None => Err(Fault::missing(&at)),
        Some(_) => Err(Fault::wrong_type(&at, "a string or an array of objects")),
    }
}

fn read_parts(at: &str, parts: &[Value]) -> Result<String, Fault> {
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        let at = format!("{at}[{index}]");
        match part.get("type").and_then(Value::as_str) {
            Some("text") => match part.get("text") {
                Some(Value::String(part)) => text.push_str(part),
                _ => return Err(Fault::wrong_type(&format!("{at}.text"), "a string")),
            },
            Some(kind @ ("image_url" | "input_audio" | "file" | "refusal")) if part.get(kind).is_some() => {}
            _ => return Err(Fault::wrong_value(&at, "text, image_url, input_audio, file, refusal")),
        }
    }
    Ok(text)
}

/// What all parts of one answer have in common.
pub(super) struct Shape {
    id: String,
    model: String,
    choices: u64,
    with_usage: bool,
}

impl Shape {
    pub(super) fn new(id: String, model: String, body: &Map<String, Value>) -> Self {
        let choices = body.get("n").and_then(Value::as_u64).unwrap_or(1);
        let options = body.get("stream_options").and_then(Value::as_object);
        Self { id, model, choices, with_usage: options.is_some_and(|options| flag(options, "include_usage")) }
    }

    /// The answer that is not streamed.
    pub(super) fn whole(&self, reply: &Reply) -> Value {
        let choice = |index| {
            json!({
                "index": index,
                "message": { "role": "assistant", "content": reply.text, "refusal": null, "annotations": [] },
                "logprobs": null,
                "finish_reason": "stop",
            })
        };
        let mut whole = self.envelope("chat.completion", reply, (0..self.choices).map(choice).collect());
        whole["usage"] = self.usage(reply);
        whole
    }

    /// The answer as a stream; each token takes `pace`.
    pub(super) fn events(&self, reply: &Reply, pace: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        let mut tell = |after: Duration, data: &str| {
            events.push(Event { after, bytes: format!("data: {data}\n\n").into() });
        };
        for index in 0..self.choices {
            let first = json!({ "role": "assistant", "content": "", "refusal": null });
            tell(Duration::ZERO, &self.chunk(reply, index, &first, None));
        }
        for token in &reply.tokens {
            for index in 0..self.choices {
                tell(pace, &self.chunk(reply, index, &json!({ "content": token }), None));
            }
        }
        for index in 0..self.choices {
            tell(Duration::ZERO, &self.chunk(reply, index, &json!({}), Some("stop")));
        }
        if self.with_usage {
            let mut last = self.envelope("chat.completion.chunk", reply, Vec::new());
            last["usage"] = self.usage(reply);
            tell(Duration::ZERO, &last.to_string());
        }
        tell(Duration::ZERO, "[DONE]");
        events
    }

    fn chunk(&self, reply: &Reply, index: u64, delta: &Value, finish: Option<&str>) -> String {
        let choice = json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish });
        let mut chunk = self.envelope("chat.completion.chunk", reply, vec![choice]);
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk.to_string()
    }

    fn envelope(&self, object: &str, reply: &Reply, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": reply.created.seconds(),
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": null,
            "choices": choices,
        })
    }

    fn usage(&self, reply: &Reply) -> Value {
        let (heard, said) = (tokens(&reply.heard).len() as u64, u64::from(reply.length()) * self.choices);
        json!({
            "prompt_tokens": heard,
            "completion_tokens": said,
            "total_tokens": heard + said,
            "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        })
    }
}

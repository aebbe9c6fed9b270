//! The request for a response, as it is read.

use serde_json::{Map, Value};

use super::checking::{Kind, Rule, check};
use super::fault::Fault;

const RULES: &[Rule] = &[
    ("background", Kind::Flag),
    ("conversation", Kind::TextOrObject),
    ("include", Kind::List),
    ("input", Kind::TextOrList),
    ("instructions", Kind::Text),
    ("max_output_tokens", Kind::AtLeast(16)),
    ("max_tool_calls", Kind::AtLeast(1)),
    ("metadata", Kind::Metadata),
    ("model", Kind::Text),
    ("parallel_tool_calls", Kind::Flag),
    ("previous_response_id", Kind::Text),
    ("prompt", Kind::Object),
    ("prompt_cache_key", Kind::Text),
    ("prompt_cache_retention", Kind::Text),
    ("reasoning", Kind::Object),
    ("safety_identifier", Kind::Text),
    ("service_tier", Kind::Text),
    ("store", Kind::Flag),
    ("stream", Kind::Flag),
    ("stream_options", Kind::Object),
    ("temperature", Kind::Number(0.0..=2.0)),
    ("text", Kind::Object),
    ("tool_choice", Kind::TextOrObject),
    ("tools", Kind::List),
    ("top_logprobs", Kind::Integer(0..=20)),
    ("top_p", Kind::Number(0.0..=1.0)),
    ("truncation", Kind::Text),
    ("user", Kind::Text),
];

/// What a caller says.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// What the user said last.
    pub(super) text: String,
    /// The ids of the account's items that it points to.
    pub(super) references: Vec<String>,
}

/// Checks the body.
pub(super) fn read(body: &Map<String, Value>) -> Result<Input, Fault> {
    check(body, RULES, &["model", "input"])?;
    // Both are found by their ids across the account, as an earlier response is; this account has none.
    for kind in ["conversation", "prompt"] {
        if body.get(kind).is_some_and(|value| !value.is_null()) {
            return Err(Fault::no_such(kind));
        }
    }
    match body.get("input") {
        Some(Value::String(text)) => Ok(Input { text: text.clone(), references: Vec::new() }),
        Some(Value::Array(items)) => items.iter().enumerate().try_fold(Input::default(), |mut input, (index, item)| {
            input.take(&format!("input[{index}]"), item)?;
            Ok(input)
        }),
        _ => Err(Fault::missing("input")),
    }
}

impl Input {
    fn take(&mut self, at: &str, item: &Value) -> Result<(), Fault> {
        let item = item.as_object().ok_or_else(|| Fault::wrong_type(at, "an object"))?;
        match item.get("type") {
            // A message need not say that it is one; nor need a reference, whose only field is its id.
            None if item.len() == 1 && item.contains_key("id") => self.refer(at, item),
            None => self.message(at, item),
            Some(Value::String(kind)) => match kind.as_str() {
                "message" => self.message(at, item),
                "item_reference" => self.refer(at, item),
                _ => Ok(()),
            },
            Some(_) => Err(Fault::wrong_type(&format!("{at}.type"), "a string")),
        }
    }

    fn refer(&mut self, at: &str, item: &Map<String, Value>) -> Result<(), Fault> {
        let id = item.get("id").and_then(Value::as_str);
        self.references.push(id.ok_or_else(|| Fault::wrong_type(&format!("{at}.id"), "a string"))?.to_owned());
        Ok(())
    }

    fn message(&mut self, at: &str, item: &Map<String, Value>) -> Result<(), Fault> {
        let role = item.get("role").ok_or_else(|| Fault::missing(&format!("{at}.role")))?.as_str();
        let Some(role @ ("user" | "assistant" | "system" | "developer")) = role else {
            return Err(Fault::wrong_value(&format!("{at}.role"), "assistant, system, developer, user"));
        };
        let content = match item.get("content") {
            None => return Err(Fault::missing(&format!("{at}.content"))),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => parts.iter().map(|part| part_text(at, part)).collect::<Result<_, _>>()?,
            Some(_) => return Err(Fault::wrong_type(&format!("{at}.content"), "a string or an array")),
        };
        if role == "user" {
            self.text = content;
        }
        Ok(())
    }
}

fn part_text<'a>(at: &str, part: &'a Value) -> Result<&'a str, Fault> {
    match part.get("type").and_then(Value::as_str) {
        Some("input_text" | "output_text") => {
            let text = part.get("text").and_then(Value::as_str);
            text.ok_or_else(|| Fault::wrong_type(&format!("{at}.content.text"), "a string"))
        }
        Some("input_image" | "input_file" | "input_audio" | "refusal") => Ok(""),
        _ => Err(Fault::wrong_value(&format!("{at}.content.type"), "input_text, input_image, input_file, output_text")),
    }
}

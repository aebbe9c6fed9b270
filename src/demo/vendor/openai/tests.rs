//! The simulated vendor over real sockets.

use serde_json::json;
use tokio::task::JoinHandle;

use super::*;

const KEY: &str = "sk-proj-0123456789abcdef";
const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

/// A running vendor; it ends with the test.
struct Running {
    vendor: Arc<OpenAi>,
    base: String,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    async fn start(pace: Duration) -> Self {
        let settings = Settings { key: Secret::new(KEY), models: vec!["gpt-x".to_owned()], pace };
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let vendor = OpenAi::new(settings, clock, Entropy::system());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(Arc::clone(&vendor).serve(listener));
        Self { vendor, base, task }
    }

    fn request(&self, path: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new().post(format!("{}{path}", self.base)).bearer_auth(KEY)
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        sent(self.request(path).json(body)).await
    }

    /// The data of a stream's events.
    async fn stream(&self, path: &str, body: &Value) -> Vec<String> {
        let answer = self.request(path).json(body).send().await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
        let text = answer.text().await.expect("text");
        let data = text.split("\n\n").filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data: ")));
        data.map(str::to_owned).collect()
    }
}

async fn sent(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    assert!(answer.headers().contains_key("x-request-id"));
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// The status and code of a refusal.
async fn refused(request: reqwest::RequestBuilder) -> (u16, Option<String>) {
    let (status, body) = sent(request).await;
    let error = &body["error"];
    assert!(error["message"].is_string() && error["type"] == "invalid_request_error", "{body}");
    (status, error["code"].as_str().map(str::to_owned))
}

fn hello() -> Value {
    json!({ "model": "gpt-x", "messages": [{ "role": "user", "content": "hi there" }] })
}

fn because(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

#[tokio::test]
async fn only_the_account_key_is_let_in() {
    let running = Running::start(Duration::ZERO).await;
    for path in [CHAT, RESPONSES] {
        let bare = || reqwest::Client::new().post(format!("{}{path}", running.base)).json(&hello());
        assert_eq!(refused(bare()).await, (401, None));
        assert_eq!(refused(bare().header("authorization", KEY)).await, (401, None));
        let wrong = refused(bare().bearer_auth("sk-proj-0123456789abcdee")).await;
        assert_eq!(wrong, because(401, "invalid_api_key"));
        let get = reqwest::Client::new().get(format!("{}{path}", running.base)).bearer_auth(KEY);
        assert_eq!(refused(get).await, because(405, "method_not_supported"));
    }
    for unknown in ["/", "/v1/models", "/chat/completions", "/v1/responses/resp_1"] {
        assert_eq!(refused(running.request(unknown).json(&hello())).await, (404, None), "{unknown}");
    }
    assert!(!format!("{:?}", running.vendor.seen()).contains(KEY));
}

#[tokio::test]
async fn a_body_that_is_not_as_documented_is_refused() {
    let running = Running::start(Duration::ZERO).await;
    let text = running.request(CHAT).header("content-type", "text/plain").body(hello().to_string());
    assert_eq!(refused(text).await, because(400, "unsupported_content_type"));
    let broken = running.request(CHAT).header("content-type", "application/json").body("{");
    assert_eq!(refused(broken).await, (400, None));
    for (name, value, status, code) in [
        ("model", json!("gpt-y"), 404, "model_not_found"),
        ("model", json!(null), 400, "missing_required_parameter"),
        ("messages", json!("hi"), 400, "invalid_type"),
        ("messages", json!([]), 400, "empty_array"),
        ("messages", json!(["hi"]), 400, "invalid_type"),
        ("messages", json!([{ "role": "visitor", "content": "hi" }]), 400, "invalid_value"),
        ("messages", json!([{ "role": "user", "content": 1 }]), 400, "invalid_type"),
        ("messages", json!([{ "role": "user", "content": [{ "type": "txt" }] }]), 400, "invalid_value"),
        ("messages", json!([{ "role": "tool", "content": "hi" }]), 400, "missing_required_parameter"),
        ("stream", json!("true"), 400, "invalid_type"),
        ("stream_options", json!({ "include_usage": true }), 400, "invalid_value"),
        ("temperature", json!(3), 400, "decimal_above_max_value"),
        ("n", json!(0), 400, "integer_below_min_value"),
        ("keystile", json!(true), 400, "unknown_parameter"),
    ] {
        let mut body = hello();
        body[name] = value.clone();
        assert_eq!(refused(running.request(CHAT).json(&body)).await, because(status, code), "{name}: {value}");
    }
}

#[tokio::test]
async fn the_input_of_a_response_is_checked() {
    let running = Running::start(Duration::ZERO).await;
    for (name, value, status, code) in [
        ("model", json!("gpt-y"), 404, Some("model_not_found")),
        ("input", json!(null), 400, Some("missing_required_parameter")),
        ("input", json!({}), 400, Some("invalid_type")),
        ("input", json!([{ "role": "tool", "content": "hi" }]), 400, Some("invalid_value")),
        (
            "input",
            json!([{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }]),
            400,
            Some("invalid_value"),
        ),
        ("input", json!([{ "type": "item_reference", "id": "msg_1" }]), 404, None),
        ("max_output_tokens", json!(1), 400, Some("integer_below_min_value")),
        ("conversation", json!("conv_1"), 404, None),
        ("previous_response_id", json!("resp_1"), 400, Some("previous_response_not_found")),
        ("messages", json!([]), 400, Some("unknown_parameter")),
    ] {
        let mut body = json!({ "model": "gpt-x", "input": "hi" });
        body[name] = value.clone();
        let expected = (status, code.map(str::to_owned));
        assert_eq!(refused(running.request(RESPONSES).json(&body)).await, expected, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_completion_is_told_at_once_or_token_by_token() {
    let running = Running::start(Duration::from_millis(1)).await;
    let (status, whole) = running.post(CHAT, &hello()).await;
    assert_eq!((status, &whole["object"], &whole["created"]), (200, &json!("chat.completion"), &json!(1_800_000_000)));
    assert_eq!(whole["choices"][0]["message"]["content"], "I heard: hi there");
    assert_eq!(whole["usage"]["total_tokens"], 6);

    let mut body = hello();
    (body["stream"], body["n"], body["stream_options"]) = (json!(true), json!(2), json!({ "include_usage": true }));
    let mut data = running.stream(CHAT, &body).await;
    assert_eq!(data.pop().as_deref(), Some("[DONE]"));
    let chunks: Vec<Value> = data.iter().map(|data| serde_json::from_str(data).expect("JSON")).collect();
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"]));
    for index in 0..2 {
        let choices = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().expect("choices"));
        let own: Vec<_> = choices.filter(|choice| choice["index"] == index).collect();
        let text: String = own.iter().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
        assert_eq!(text, "I heard: hi there");
        assert_eq!(own.last().expect("a chunk")["finish_reason"], "stop");
    }
    assert_eq!(chunks.last().expect("usage")["usage"]["completion_tokens"], 8);
    assert_eq!(running.vendor.aborted(), 0);
}

#[tokio::test]
async fn the_last_thing_that_the_user_said_is_heard() {
    let running = Running::start(Duration::ZERO).await;
    let parts = json!([{ "type": "text", "text": "how " }, { "type": "text", "text": "are you" }]);
    let messages = json!([
        { "role": "system", "content": "be kind" }, { "role": "user", "content": "hi" },
        { "role": "user", "content": parts }, { "role": "assistant", "tool_calls": [] },
    ]);
    let (_, whole) = running.post(CHAT, &json!({ "model": "gpt-x", "messages": messages })).await;
    assert_eq!(whole["choices"][0]["message"]["content"], "I heard: how are you");
    let items =
        json!([{ "role": "user", "content": [{ "type": "input_text", "text": "hey" }] }, { "type": "reasoning" }]);
    let (_, whole) = running.post(RESPONSES, &json!({ "model": "gpt-x", "input": items })).await;
    assert_eq!(whole["output"][0]["content"][0]["text"], "I heard: hey");
}

#[tokio::test]
async fn a_response_streams_the_events_of_its_parts() {
    let running = Running::start(Duration::from_millis(1)).await;
    let body = json!({ "model": "gpt-x", "input": "hi", "stream": true, "metadata": { "a": "b" } });
    let data = running.stream(RESPONSES, &body).await;
    let events: Vec<Value> = data.iter().map(|data| serde_json::from_str(data).expect("JSON")).collect();
    let mut kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    kinds.dedup();
    let expected = ["created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"];
    let closing = ["output_text.done", "content_part.done", "output_item.done", "completed"];
    let expected: Vec<_> = expected.iter().chain(&closing).map(|kind| format!("response.{kind}")).collect();
    assert_eq!(kinds, expected);
    assert!(events.iter().enumerate().all(|(number, event)| event["sequence_number"] == number));
    let text: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(text, "I heard: hi");
    let whole = &events.last().expect("an end")["response"];
    assert_eq!((&whole["usage"]["total_tokens"], &whole["metadata"]), (&json!(4), &json!({ "a": "b" })));
}

#[tokio::test]
async fn the_account_key_continues_every_response_of_the_account() {
    let running = Running::start(Duration::ZERO).await;
    let vendor = &running;
    let ask = |body: Value| async move {
        let whole = vendor.post(RESPONSES, &body).await.1;
        let part = |path: &str| whole.pointer(path).and_then(Value::as_str).map(str::to_owned).expect("a string");
        (part("/id"), part("/output/0/id"), part("/output/0/content/0/text"))
    };
    let (first, message, _) = ask(json!({ "model": "gpt-x", "input": "my secret", "user": "ada" })).await;
    let (_, _, text) =
        ask(json!({ "model": "gpt-x", "input": "go on", "user": "eve", "previous_response_id": first })).await;
    assert_eq!(text, "I heard: go on (and before: my secret)");
    let pointing = json!([{ "type": "item_reference", "id": message }, { "role": "user", "content": "go on" }]);
    let (_, _, text) = ask(json!({ "model": "gpt-x", "input": pointing })).await;
    assert_eq!(text, "I heard: go on (and before: I heard: my secret)");
    let honoured: Vec<_> = running.vendor.seen().into_iter().map(|seen| seen.honoured).collect();
    assert_eq!(honoured, [vec![], vec!["previous_response_id".to_owned()], vec!["item_reference".to_owned()]]);

    let (unstored, ..) = ask(json!({ "model": "gpt-x", "input": "hi", "store": false })).await;
    let body = json!({ "model": "gpt-x", "input": "go on", "previous_response_id": unstored });
    let acting = running.request(RESPONSES).header("OpenAI-Organization", "org-1").header("OpenAI-Project", "p1");
    assert_eq!(refused(acting.json(&body)).await, because(400, "previous_response_not_found"));
    let last = running.vendor.seen().pop().expect("a call");
    assert_eq!(last.honoured, ["openai-organization", "openai-project"]);
}

#[tokio::test]
async fn a_receiver_that_leaves_is_counted_and_its_response_is_not_kept() {
    let running = Running::start(Duration::from_secs(60)).await;
    let body = json!({ "model": "gpt-x", "input": "hi", "stream": true });
    let mut answer = running.request(RESPONSES).json(&body).send().await.expect("an answer");
    answer.chunk().await.expect("a part").expect("the first event");
    drop(answer);
    let waiting = async {
        while running.vendor.aborted() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the vendor notices");
    assert!(running.vendor.stored().heard.is_empty());
}

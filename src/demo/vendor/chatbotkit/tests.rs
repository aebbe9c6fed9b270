//! The simulated vendor over real sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::Timestamp;

const KEY: &str = "sk-account-0123456789abcdef";

/// A running vendor; it ends with the test.
struct Running {
    vendor: Arc<ChatBotKit>,
    clock: Clock,
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
        let settings = Settings { key: Secret::new(KEY), bots: vec!["bot1".to_owned()], pace };
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let vendor = ChatBotKit::new(settings, clock.clone(), Entropy::system());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(Arc::clone(&vendor).serve(listener));
        Self { vendor, clock, base, task }
    }

    async fn post(&self, path: &str, credential: &str, body: &Value) -> reqwest::Response {
        let request = reqwest::Client::new().post(format!("{}{path}", self.base)).json(body);
        request.bearer_auth(credential).send().await.expect("an answer")
    }

    async fn open(&self) -> (String, String) {
        let answer = self.post("/v1/bot/bot1/session/create", KEY, &json!({})).await;
        assert_eq!(answer.status(), 200);
        let session: Value = answer.json().await.expect("JSON");
        let part = |name: &str| session[name].as_str().expect("a string").to_owned();
        (part("conversationId"), part("token"))
    }

    async fn complete(&self, accept: &str, text: &str) -> String {
        let (id, token) = self.open().await;
        let url = format!("{}/v1/conversation/{id}/complete", self.base);
        let request = reqwest::Client::new().post(url).bearer_auth(token).header("accept", accept);
        let answer = request.json(&json!({ "text": text })).send().await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &accept.parse().expect("a value"))
        );
        answer.text().await.expect("text")
    }
}

async fn refusal(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    assert!(body["message"].is_string(), "{body}");
    (status, body["code"].as_str().expect("a code").to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_session_is_opened_with_the_account_key_only() {
    let running = Running::start(Duration::ZERO).await;
    let create = "/v1/bot/bot1/session/create";
    let (_, token) = running.open().await;

    let keyless = reqwest::Client::new().post(format!("{}{create}", running.base)).json(&json!({})).send().await;
    assert_eq!(refusal(keyless.expect("an answer")).await, refused(401, "NOT_AUTHENTICATED"));
    for wrong in ["sk-account-0123456789abcdee", &token] {
        assert_eq!(refusal(running.post(create, wrong, &json!({})).await).await, refused(401, "NOT_AUTHENTICATED"));
    }
    let unknown = running.post("/v1/bot/bot2/session/create", KEY, &json!({})).await;
    assert_eq!(refusal(unknown).await, refused(404, "NOT_FOUND"));
    let bad = running.post(create, KEY, &json!({ "durationInSeconds": 60 })).await;
    assert_eq!(refusal(bad).await, refused(400, "BAD_REQUEST"));
    let elsewhere = running.post("/api/v1/bot/bot1/session/create", KEY, &json!({})).await;
    assert_eq!(refusal(elsewhere).await, refused(404, "NOT_FOUND"));
}

#[tokio::test]
async fn a_session_lasts_as_long_as_was_asked_for() {
    let running = Running::start(Duration::ZERO).await;
    let asked = json!({ "durationInSeconds": 1800, "messages": [{ "type": "user", "text": "hi" }] });
    let session: Value = running.post("/v1/bot/bot1/session/create", KEY, &asked).await.json().await.expect("JSON");
    assert_eq!(session["id"], "bot1");
    assert_eq!(session["expiresAt"], 1_800_001_800_000_u64);
    let [message] = session["messages"].as_array().expect("messages").as_slice() else { panic!("{session}") };
    assert_eq!(*message, json!({ "id": message["id"], "type": "user", "text": "hi" }));
    assert!(message["id"].is_string());
    assert!(session["token"].as_str().is_some_and(|token| token.len() >= 40));

    let send = format!("/v1/conversation/{}/send", session["conversationId"].as_str().expect("an id"));
    let token = session["token"].as_str().expect("a token");
    running.clock.advance(Duration::from_millis(1_799_999));
    assert_eq!(running.post(&send, token, &json!({ "text": "hi" })).await.status(), 200);
    running.clock.advance(Duration::from_millis(1));
    let late = running.post(&send, token, &json!({ "text": "hi" })).await;
    assert_eq!(refusal(late).await, refused(401, "NOT_AUTHENTICATED"));
}

#[tokio::test]
async fn a_session_token_is_good_for_its_own_conversation_only() {
    let running = Running::start(Duration::ZERO).await;
    let (own, token) = running.open().await;
    let (other, _) = running.open().await;
    let body = json!({ "text": "hi" });

    let foreign = running.post(&format!("/v1/conversation/{other}/complete"), &token, &body).await;
    assert_eq!(refusal(foreign).await, refused(403, "NOT_AUTHORIZED"));
    let unknown = running.post(&format!("/v1/conversation/{own}/complete"), "no-such-token", &body).await;
    assert_eq!(refusal(unknown).await, refused(401, "NOT_AUTHENTICATED"));
    for action in ["complete", "send", "receive", "contact/upsert", "attachment/upload"] {
        let answer = running.post(&format!("/v1/conversation/{own}/{action}"), &token, &body).await;
        assert_eq!(answer.status(), 200, "{action}");
    }
    let delete = running.post(&format!("/v1/conversation/{own}/delete"), &token, &body).await;
    assert_eq!(refusal(delete).await, refused(404, "NOT_FOUND"));
}

#[tokio::test]
async fn history_is_for_the_account_key() {
    let running = Running::start(Duration::ZERO).await;
    let (id, token) = running.open().await;
    running.post(&format!("/v1/conversation/{id}/complete"), &token, &json!({ "text": "hi" })).await;
    let list = |credential: String| {
        let request = reqwest::Client::new().get(format!("{}/v1/conversation/{id}/message/list", running.base));
        async move { request.bearer_auth(credential).send().await.expect("an answer") }
    };

    assert_eq!(refusal(list(token.clone()).await).await, refused(403, "NOT_AUTHORIZED"));
    let history: Value = list(KEY.to_owned()).await.json().await.expect("JSON");
    let said: Vec<_> =
        history["items"].as_array().expect("items").iter().map(|item| (&item["type"], &item["text"])).collect();
    assert_eq!(said, [(&json!("user"), &json!("hi")), (&json!("bot"), &json!("I heard: hi"))]);

    let message = history["items"][1]["id"].as_str().expect("an id");
    for (message, status) in [(message, 200), ("msg_0", 404)] {
        let vote = format!("/v1/conversation/{id}/message/{message}/upvote");
        assert_eq!(running.post(&vote, &token, &json!({})).await.status(), status);
    }
}

#[tokio::test]
async fn what_the_account_key_makes_the_vendor_trust_is_on_record() {
    let running = Running::start(Duration::ZERO).await;
    let (id, token) = running.open().await;
    let url = format!("{}/v1/conversation/{id}/complete", running.base);
    for credential in [KEY, &token] {
        let request = reqwest::Client::new().post(&url).bearer_auth(credential).header("X-RunAs-User-Id", "u1");
        let answer = request.json(&json!({ "text": "hi", "extensions": {}, "debug": true })).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }
    let seen = running.vendor.seen();
    assert_eq!(seen[1].honoured, ["x-runas-user-id", "extensions", "debug"]);
    assert!(seen[2].honoured.is_empty());
    assert_eq!(seen[2].headers["authorization"], format!("Bearer {token}"));
    assert!(!format!("{seen:?}").contains(&token));
}

#[tokio::test]
async fn lines_are_streamed_token_by_token() {
    let running = Running::start(Duration::from_millis(1)).await;
    let text = "こんにちは、世界 👩‍💻 hello";
    let lines = running.complete("application/jsonl", text).await;
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let tokens = events.iter().filter_map(|event| event["data"]["token"].as_str()).collect::<String>();
    let kinds: Vec<_> =
        events.iter().filter_map(|event| event["type"].as_str()).filter(|kind| *kind != "token").collect();

    assert_eq!(tokens, format!("I heard: {text}"));
    assert_eq!(kinds, ["sendResult", "message", "receiveResult", "result"]);
    assert_eq!(events.last().expect("a result")["data"]["text"], tokens);
    assert!(events.iter().all(|event| event["createdAt"] == 1_800_000_000_000_u64));
    assert_eq!(running.vendor.aborted(), 0);
    assert!(running.vendor.seen().iter().all(|seen| seen.finished));
}

#[tokio::test]
async fn events_and_the_single_answer_say_the_same() {
    let running = Running::start(Duration::ZERO).await;
    let events = running.complete("text/event-stream", "hi").await;
    assert!(events.starts_with("event: sendResult\ndata: {"), "{events}");
    assert!(events.contains("\n\nevent: token\ndata: {\"token\":\"hi\"}\n\n"), "{events}");
    let single: Value = serde_json::from_str(&running.complete("application/json", "hi").await).expect("JSON");
    assert_eq!(single["text"], "I heard: hi");
    assert_eq!(single["end"]["reason"], "stop");
}

#[tokio::test]
async fn a_receiver_that_leaves_is_counted_and_leaves_no_answer_behind() {
    let running = Running::start(Duration::from_secs(60)).await;
    let (id, token) = running.open().await;
    let body = json!({ "text": "hi" }).to_string();
    for (calls, accept) in [(1, "application/jsonl"), (2, "application/json")] {
        let mut stream = TcpStream::connect(running.base.trim_start_matches("http://")).await.expect("a connection");
        let head = format!(
            "POST /v1/conversation/{id}/complete HTTP/1.1\r\nhost: vendor\r\nauthorization: Bearer {token}\r\n\
             accept: {accept}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        if accept == "application/jsonl" {
            assert!(stream.read(&mut [0; 1024]).await.expect("the first event") > 0);
        }
        // The message is heard before the client goes.
        let said = || running.vendor.conversations().messages(&id).len();
        eventually(|| said() == calls).await;
        drop(stream);
        eventually(|| running.vendor.aborted() == calls).await;
    }
    assert!(running.vendor.seen().iter().all(|seen| seen.aborted != seen.finished));
    assert_eq!(running.vendor.conversations().messages(&id).len(), 2, "the user's messages only");
}

/// Lets the other tasks run until `condition` holds.
async fn eventually(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the condition holds in the end");
}

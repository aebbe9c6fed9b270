//! The simulated vendor over real sockets.

use super::*;
use crate::demo::vendor::running::{Running, answer, eventually, granted};

const KEY: &str = "hub-0123456789abcdef";
const BOT: &str = "6f0f2d0e-0b0a-4c62-9a57-6f6f6c8a1d11";
const OTHER_BOT: &str = "6f0f2d0e-0b0a-4c62-9a57-6f6f6c8a1d12";

async fn start(pace: Duration) -> (Arc<AiChatbotHub>, Running, Clock) {
    let settings = Settings { key: Secret::new(KEY), bots: vec![BOT.to_owned(), OTHER_BOT.to_owned()], pace };
    let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
    let vendor = AiChatbotHub::new(settings, clock.clone(), Entropy::system());
    let running = Running::start(|listener| Arc::clone(&vendor).serve(listener)).await;
    (vendor, running, clock)
}

async fn open(running: &Running, bot: &str) -> String {
    let session = granted(running.post(&format!("/api/v1/chatbot/{bot}/session/create")).bearer_auth(KEY)).await;
    session["uuid"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_session_is_created_and_read() {
    let (vendor, running, clock) = start(Duration::ZERO).await;
    let created = granted(running.post(&format!("/api/v1/chatbot/{BOT}/session/create")).bearer_auth(KEY)).await;
    let (id, born) = (created["uuid"].as_str().expect("an id"), "2027-01-15T08:00:00Z");
    assert_eq!(created, json!({ "created_at": born, "modified_at": born, "uuid": id }));
    assert!(id.len() == 36 && uuid::Uuid::parse_str(id).is_ok(), "{id}");

    clock.advance(Duration::from_millis(1500));
    let stream = running.post(&format!("/api/v1/session/{id}/message/stream")).bearer_auth(KEY);
    answer(stream.json(&json!({ "query": "hi" }))).await;
    let read = granted(running.get(&format!("/api/v1/session/{id}")).bearer_auth(KEY)).await;
    assert_eq!(read, json!({ "created_at": born, "modified_at": "2027-01-15T08:00:01.5Z", "uuid": id, "meta": {} }));
    assert!(vendor.seen().iter().all(|seen| seen.finished && seen.headers["authorization"] == format!("Bearer {KEY}")));
}

#[tokio::test]
async fn every_session_of_a_chatbot_is_listed_and_no_others() {
    let (_vendor, running, _) = start(Duration::ZERO).await;
    let (first, second) = (open(&running, BOT).await, open(&running, BOT).await);
    open(&running, OTHER_BOT).await;
    let listed = granted(running.get(&format!("/api/v1/chatbot/{BOT}/sessions")).bearer_auth(KEY)).await;
    let ids: Vec<&Value> = listed.as_array().expect("an array").iter().map(|session| &session["uuid"]).collect();
    assert_eq!(ids, [&first, &second]);
    assert_eq!(listed[0]["meta"], json!({}));
}

#[tokio::test]
async fn nothing_is_granted_without_the_bearer_key() {
    let (_vendor, running, _) = start(Duration::ZERO).await;
    let id = open(&running, BOT).await;
    let query = json!({ "query": "hi" });
    for (is_post, target) in [
        (true, format!("/api/v1/chatbot/{BOT}/session/create")),
        (false, format!("/api/v1/chatbot/{BOT}/sessions")),
        (false, format!("/api/v1/session/{id}")),
        (true, format!("/api/v1/session/{id}/message/stream")),
    ] {
        let call = || if is_post { running.post(&target).json(&query) } else { running.get(&target) };
        for (what, call) in [
            ("none", call()),
            ("another", call().bearer_auth("hub-0123456789abcdee")),
            ("raw", call().header("authorization", KEY)),
            ("two", call().bearer_auth(KEY).header("authorization", "Bearer another")),
        ] {
            let (status, text) = answer(call).await;
            assert_eq!(status, 401, "{target}: {what}");
            assert!(!text.contains(KEY), "{text}");
        }
    }
}

#[tokio::test]
async fn what_is_not_as_documented_is_refused() {
    let (_vendor, running, _) = start(Duration::ZERO).await;
    let id = open(&running, BOT).await;
    let stream = format!("/api/v1/session/{id}/message/stream");
    for body in [json!({}), json!({ "query": "" }), json!({ "query": 1 }), json!({ "query": null }), json!("hi")] {
        assert_eq!(answer(running.post(&stream).bearer_auth(KEY).json(&body)).await.0, 400, "{body}");
    }
    let text = running.post(&stream).bearer_auth(KEY).header("content-type", "text/plain");
    assert_eq!(answer(text.body(r#"{"query":"hi"}"#)).await.0, 415);
    let nobody = "00000000-0000-4000-8000-000000000000";
    for (target, status) in [
        (format!("/api/v1/chatbot/{nobody}/session/create"), 404),
        (format!("/api/v1/session/{nobody}/message/stream"), 404),
        (format!("/v1/chatbot/{BOT}/session/create"), 404),
        (format!("/api/v1/session/{id}"), 405),
        (format!("/api/v1/chatbot/{BOT}/sessions"), 405),
    ] {
        let refused = running.post(&target).bearer_auth(KEY).json(&json!({ "query": "hi" }));
        assert_eq!(answer(refused).await.0, status, "{target}");
    }
    assert_eq!(answer(running.get(&stream).bearer_auth(KEY)).await.0, 405);
    assert_eq!(answer(running.get(&format!("/api/v1/session/{nobody}")).bearer_auth(KEY)).await.0, 404);
    assert_eq!(answer(running.get(&format!("/api/v1/chatbot/{nobody}/sessions")).bearer_auth(KEY)).await.0, 404);
}

#[tokio::test]
async fn an_answer_is_a_raw_text() {
    let (_vendor, running, _) = start(Duration::from_millis(1)).await;
    let id = open(&running, BOT).await;
    let request = running.post(&format!("/api/v1/session/{id}/message/stream")).bearer_auth(KEY);
    let answer = request.json(&json!({ "query": "hello こんにちは 👩‍💻" })).send().await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"].as_bytes()[..10]),
        (200, &b"text/plain"[..])
    );
    assert_eq!(answer.text().await.expect("text"), "I heard: hello こんにちは 👩‍💻");
}

#[tokio::test]
async fn a_receiver_that_leaves_is_counted() {
    let (vendor, running, _) = start(Duration::from_secs(60)).await;
    let id = open(&running, BOT).await;
    let request = running.post(&format!("/api/v1/session/{id}/message/stream")).bearer_auth(KEY);
    let mut answer = request.json(&json!({ "query": "hi" })).send().await.expect("an answer");
    assert_eq!(answer.chunk().await.expect("a chunk").as_deref(), Some(&b"I "[..]));
    assert_eq!(vendor.aborted(), 0);
    drop(answer);
    eventually(|| vendor.aborted() == 1).await;
    assert!(!vendor.seen()[1].finished);
}

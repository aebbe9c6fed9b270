//! The simulated vendor over real sockets.

use super::*;
use crate::demo::vendor::running::{Running, answer, granted};

const KEY: &str = "superseek-0123456789abcdef";

async fn start() -> (Arc<Superseek>, Running) {
    let settings = Settings { key: Secret::new(KEY), bots: vec!["42".to_owned(), "43".to_owned()] };
    let vendor = Superseek::new(settings, Entropy::system());
    let running = Running::start(|listener| Arc::clone(&vendor).serve(listener)).await;
    (vendor, running)
}

async fn open(running: &Running) -> String {
    let (status, id) = answer(running.get(&format!("/session-id?bot_id=42&api_key={KEY}"))).await;
    assert_eq!(status, 200, "{id}");
    id
}

/// A body with the key and a bot, and with `more`.
fn body(bot: Value, more: &Value) -> Value {
    let mut body = json!({ "api_key": KEY, "bot_id": bot });
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_session_id_is_the_whole_of_a_plain_text() {
    let (vendor, running) = start().await;
    let answer = running.get(&format!("/session-id?bot_id=42&api_key={KEY}")).send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    let id = answer.text().await.expect("text");
    assert_eq!(id.len(), 26);
    assert!(id.bytes().all(|digit| digit.is_ascii_digit() || digit.is_ascii_lowercase()), "{id}");
    assert_ne!(id, open(&running).await);
    assert!(vendor.seen().iter().all(|seen| seen.finished && seen.path == "/session-id"));
    assert_eq!(vendor.aborted(), 0);
    assert!(!format!("{:?}", vendor.seen()).contains(KEY));
}

#[tokio::test]
async fn a_session_is_opened_with_one_key_and_an_own_bot_only() {
    let (_vendor, running) = start().await;
    for (query, status) in [
        ("?bot_id=42".to_owned(), 401),
        ("?bot_id=42&api_key=".to_owned(), 401),
        (format!("?bot_id=42&api_key={KEY}x"), 401),
        (format!("?bot_id=42&API_KEY={KEY}"), 401),
        (format!("?bot_id=42&api_key={KEY}&api_key={KEY}"), 400),
        (format!("?bot_id=42&bot_id=43&api_key={KEY}"), 400),
        (format!("?api_key={KEY}"), 400),
        (format!("?bot_id=44&api_key={KEY}"), 404),
        (format!("?bot_id=042&api_key={KEY}"), 404),
    ] {
        let (refused, text) = answer(running.get(&format!("/session-id{query}"))).await;
        assert_eq!(refused, status, "{query}");
        assert!(text.starts_with(r#"{"error":""#) && !text.contains(KEY), "{text}");
    }
    let keyed_elsewhere = running.get("/session-id?bot_id=42").bearer_auth(KEY);
    assert_eq!(answer(keyed_elsewhere).await.0, 401);
    assert_eq!(answer(running.post(&format!("/session-id?bot_id=42&api_key={KEY}"))).await.0, 405);
    assert_eq!(answer(running.get(&format!("/sessions?bot_id=42&api_key={KEY}"))).await.0, 404);
}

#[tokio::test]
async fn a_chat_goes_on_in_its_own_session() {
    let (_vendor, running) = start().await;
    let id = open(&running).await;
    let first = running.post("/chat").json(&body(json!(42), &json!({ "question": "one", "session_id": id })));
    assert_eq!(granted(first).await["answer_id"], 1);
    let second = json!({ "question": "two", "session_id": id, "history": [] });
    let second = granted(running.post("/chat").json(&body(json!(42), &second))).await;
    assert_eq!(
        second,
        json!({
            "chat": [
                { "role": "user", "question": "one" },
                { "role": "bot", "result": { "text": "I heard: one", "ref": [], "urlPresent": false } },
                { "role": "user", "question": "two" },
                { "role": "bot", "result": { "text": "I heard: two", "ref": [], "urlPresent": false } },
            ],
            "session_id": id,
            "question": "two",
            "answer": "I heard: two",
            "answer_id": 2,
        })
    );
}

#[tokio::test]
async fn a_chat_without_a_session_opens_one() {
    let (_vendor, running) = start().await;
    for path in ["/chat", "/qa"] {
        let opened = granted(running.post(path).json(&body(json!(42), &json!({ "question": "hi" })))).await;
        let id = opened["session_id"].as_str().expect("an id");
        assert_eq!((id.len(), &opened["chat"][0]), (26, &json!({ "role": "user", "question": "hi" })), "{path}");
        let next = running.post("/chat").json(&body(json!(42), &json!({ "question": "hi", "session_id": id })));
        assert_eq!(granted(next).await["session_id"], id);
    }
}

#[tokio::test]
async fn what_is_not_as_documented_is_refused() {
    let (_vendor, running) = start().await;
    let id = open(&running).await;
    for (bot, more, status) in [
        (json!(42), json!({ "question": "hi", "api_key": "superseek-0123456789abcdee" }), 401),
        (json!(42), json!({ "question": "hi", "api_key": null }), 401),
        (json!("42"), json!({ "question": "hi" }), 400),
        (json!(42.0), json!({ "question": "hi" }), 400),
        (json!(44), json!({ "question": "hi" }), 404),
        (json!(42), json!({}), 400),
        (json!(42), json!({ "question": "" }), 400),
        (json!(42), json!({ "question": 1 }), 400),
        (json!(42), json!({ "question": "hi", "history": "hi" }), 400),
        (json!(42), json!({ "question": "hi", "session_id": 1 }), 400),
        (json!(42), json!({ "question": "hi", "session_id": null }), 400),
        (json!(42), json!({ "question": "hi", "session_id": "a3ip87gkr2jh580fptg0i67m3p" }), 404),
        (json!(43), json!({ "question": "hi", "session_id": id }), 404),
    ] {
        let body = body(bot, &more);
        let (refused, text) = answer(running.post("/chat").json(&body)).await;
        assert_eq!(refused, status, "{body}");
        assert!(!text.contains(KEY), "{text}");
    }
    let good = body(json!(42), &json!({ "question": "hi" })).to_string();
    assert_eq!(answer(running.post("/chat").header("content-type", "text/plain").body(good.clone())).await.0, 415);
    let twice = running.post(&format!("/chat?api_key={KEY}")).header("content-type", "application/json");
    assert_eq!(answer(twice.body(good)).await.0, 400);
    assert_eq!(answer(running.post("/chat").json(&json!(KEY))).await.0, 400);
    assert_eq!(answer(running.get("/chat")).await.0, 405);
}

#[tokio::test]
async fn an_answer_is_rated_by_its_own_bot_up_or_down() {
    let (_vendor, running) = start().await;
    let told = granted(running.post("/qa").json(&body(json!(42), &json!({ "question": "hi" })))).await;
    let id = &told["answer_id"];
    for (bot, answer_id, rating, status) in [
        (42, id.clone(), json!(1), 200),
        (42, id.clone(), json!(-1), 200),
        (42, id.clone(), json!(0), 400),
        (42, id.clone(), json!("1"), 400),
        (42, json!("1"), json!(1), 400),
        (42, json!(0), json!(1), 404),
        (42, json!(2), json!(1), 404),
        (43, id.clone(), json!(1), 404),
    ] {
        let rating = body(json!(bot), &json!({ "answer_id": answer_id, "rating": rating }));
        assert_eq!(answer(running.post("/answer-rating").json(&rating)).await.0, status, "{rating}");
    }
}

//! The simulated vendor over real sockets.

use super::*;
use crate::demo::vendor::running::{Running, answer, eventually, granted};

const KEY: &str = "hottask-0123456789abcdef";
const OPEN: &str = "/chat/Chatbot/GetSession";
const ASK: &str = "/chat/Chat/ClientAsk";
const HISTORY: &str = "/chat/Chatbot/ChatContentHistory";

async fn start(pace: Duration) -> (Arc<HotTask>, Running) {
    let settings = Settings { key: Secret::new(KEY), bots: vec!["SN-1".to_owned(), "SN-2".to_owned()], pace };
    let vendor = HotTask::new(settings);
    let running = Running::start(|listener| Arc::clone(&vendor).serve(listener)).await;
    (vendor, running)
}

/// A call with the secret.
fn call(running: &Running, path: &str, body: &Value) -> reqwest::RequestBuilder {
    running.post(path).header("authorization", KEY).json(body)
}

async fn open(running: &Running, bot: &str) -> u64 {
    let session = granted(call(running, OPEN, &json!({ "serialNumber": bot }))).await;
    session["Data"]["SessionID"].as_u64().expect("an integer")
}

/// The business code with which a call is refused.
async fn refused(request: reqwest::RequestBuilder) -> u64 {
    let envelope = granted(request).await;
    let (code, message) = (&envelope["Code"], &envelope["Message"]);
    assert!(message.as_str().is_some_and(|message| !message.is_empty() && !message.contains(KEY)), "{message}");
    let shape = json!({ "Data": null, "Version": "1.0.0", "Success": false, "Code": code, "Message": message });
    assert_eq!(envelope, shape);
    code.as_u64().expect("a code")
}

#[tokio::test]
async fn a_session_is_an_integer_in_the_envelope() {
    let (vendor, running) = start(Duration::ZERO).await;
    let session = granted(call(&running, OPEN, &json!({ "serialNumber": "SN-1" }))).await;
    assert_eq!(
        session,
        json!({ "Data": { "SessionID": 123_456 }, "Version": "1.0.0", "Success": true, "Code": 200, "Message": "" })
    );
    assert_eq!(open(&running, "SN-2").await, 123_457);
    assert!(vendor.seen().iter().all(|seen| seen.finished && seen.headers["authorization"] == KEY));
    assert!(!format!("{:?}", vendor.seen()).contains(KEY));
}

#[tokio::test]
async fn nothing_is_granted_without_the_raw_secret() {
    let (_vendor, running) = start(Duration::ZERO).await;
    let id = open(&running, "SN-1").await;
    let body = json!({ "serialNumber": "SN-1", "sessionID": id, "content": "hi", "secret": KEY });
    for path in [OPEN, ASK, HISTORY] {
        let call = || running.post(path).json(&body);
        for (what, call) in [
            ("none", call()),
            ("bearer", call().bearer_auth(KEY)),
            ("another", call().header("authorization", "hottask-0123456789abcdee")),
            ("two", call().header("authorization", KEY).header("authorization", "another")),
        ] {
            assert_eq!(refused(call).await, 401, "{path}: {what}");
        }
    }
}

#[tokio::test]
async fn what_is_not_as_documented_is_refused() {
    let (vendor, running) = start(Duration::ZERO).await;
    let id = open(&running, "SN-1").await;
    for (path, body, code) in [
        (OPEN, json!({}), 400),
        (OPEN, json!({ "serialNumber": 1 }), 400),
        (OPEN, json!({ "serialNumber": "SN-3" }), 404),
        (HISTORY, json!({ "SerialNumber": "SN-3" }), 404),
        (ASK, json!({ "content": "hi" }), 400),
        (ASK, json!({ "sessionID": id.to_string(), "content": "hi" }), 400),
        (ASK, json!({ "sessionID": 123_456.0, "content": "hi" }), 400),
        (ASK, json!({ "sessionID": -1, "content": "hi" }), 400),
        (ASK, json!({ "sessionID": id + 1, "content": "hi" }), 404),
        (ASK, json!({ "sessionID": 1, "content": "hi" }), 404),
        (ASK, json!({ "sessionID": id }), 400),
        (ASK, json!({ "sessionID": id, "content": "" }), 400),
        (ASK, json!({ "sessionID": id, "content": ["hi"] }), 400),
        (ASK, json!({ "sessionID": id, "content": "hi", "stream": "true" }), 400),
        (ASK, json!({ "sessionID": id, "content": "hi", "chatAskType": "Smell" }), 400),
        (ASK, json!({ "sessionID": id, "content": "hi", "fileIds": ["1"] }), 400),
        (ASK, json!({ "sessionID": id, "content": "hi", "fileIds": 1 }), 400),
        (ASK, json!(["hi"]), 400),
    ] {
        assert_eq!(refused(call(&running, path, &body)).await, code, "{body}");
    }
    let text = running.post(OPEN).header("authorization", KEY).header("content-type", "text/plain");
    assert_eq!(refused(text.body(r#"{"serialNumber":"SN-1"}"#)).await, 415);
    assert_eq!(answer(running.get(OPEN).header("authorization", KEY)).await.0, 405);
    assert_eq!(answer(call(&running, "/chat/Chatbot/ClientAsk", &json!({}))).await.0, 404);
    assert!(vendor.seen().iter().all(|seen| seen.honoured.is_empty()));
}

#[tokio::test]
async fn names_have_no_case_and_the_last_of_them_counts() {
    let (_vendor, running) = start(Duration::ZERO).await;
    let (own, other) = (open(&running, "SN-1").await, open(&running, "SN-2").await);
    let body =
        format!(r#"{{"sessionID":{own},"CONTENT":"hi","SessionId":{other},"sessionid":{own},"SESSIONID":{other}}}"#);
    let request = running.post("/CHAT/chat/clientASK").header("authorization", KEY);
    granted(request.header("content-type", "application/json").body(body)).await;
    for (bot, messages) in [("SN-1", 0), ("SN-2", 2)] {
        let history = granted(call(&running, HISTORY, &json!({ "serialnumber": bot }))).await;
        assert_eq!(history["Data"].as_array().expect("an array").len(), messages, "{bot}");
    }
}

#[tokio::test]
async fn the_history_holds_all_sessions_of_one_chatbot() {
    let (_vendor, running) = start(Duration::ZERO).await;
    let (first, second) = (open(&running, "SN-1").await, open(&running, "SN-1").await);
    let other = open(&running, "SN-2").await;
    for (id, stream) in [(second, true), (first, false), (other, false)] {
        let body = json!({ "sessionID": id, "content": id.to_string(), "stream": stream });
        assert_eq!(answer(call(&running, ASK, &body)).await.0, 200);
    }
    let asked = json!({ "SerialNumber": "SN-1", "StartTime": "2026-01-01", "EndTime": "2026-12-31" });
    let history = granted(call(&running, HISTORY, &asked)).await;
    assert_eq!(
        history["Data"],
        json!([
            { "SessionID": first, "Role": "User", "Content": "123456" },
            { "SessionID": first, "Role": "Bot", "Content": "I heard: 123456" },
            { "SessionID": second, "Role": "User", "Content": "123457" },
            { "SessionID": second, "Role": "Bot", "Content": "I heard: 123457" },
        ])
    );
}

#[tokio::test]
async fn files_that_the_vendor_would_have_trusted_are_on_record() {
    let (vendor, running) = start(Duration::ZERO).await;
    let id = open(&running, "SN-1").await;
    for (name, ids) in [("fileIds", json!([])), ("FILEIDS", json!([7])), ("sessionid", json!(id))] {
        let mut body = json!({ "sessionID": id, "content": "hi", "chatAskType": "Text" });
        body[name] = ids;
        granted(call(&running, ASK, &body)).await;
    }
    let honoured: Vec<Vec<String>> = vendor.seen().into_iter().map(|seen| seen.honoured).collect();
    assert_eq!(honoured, [vec![], vec![], vec!["fileIds".to_owned()], vec![]]);
}

#[tokio::test]
async fn an_answer_comes_in_the_envelope_or_as_a_raw_text() {
    let (_vendor, running) = start(Duration::from_millis(1)).await;
    let id = open(&running, "SN-1").await;
    let single = granted(call(&running, ASK, &json!({ "sessionID": id, "content": "hi" }))).await;
    assert_eq!((&single["Data"], &single["Success"]), (&json!({ "Answer": "I heard: hi" }), &json!(true)));
    let streamed = call(&running, ASK, &json!({ "sessionID": id, "content": "こんにちは 👩‍💻", "stream": true }));
    let streamed = streamed.send().await.expect("an answer");
    assert_eq!(streamed.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(streamed.text().await.expect("text"), "I heard: こんにちは 👩‍💻");
}

#[tokio::test]
async fn a_receiver_that_leaves_is_counted_and_leaves_no_answer_behind() {
    let (vendor, running) = start(Duration::from_secs(60)).await;
    let id = open(&running, "SN-1").await;
    let streamed = call(&running, ASK, &json!({ "sessionID": id, "content": "hi", "stream": true }));
    let mut streamed = streamed.send().await.expect("an answer");
    assert_eq!(streamed.chunk().await.expect("a chunk").as_deref(), Some(&b"I "[..]));
    drop(streamed);
    eventually(|| vendor.aborted() == 1).await;

    let single = tokio::spawn(call(&running, ASK, &json!({ "sessionID": id, "content": "hi" })).send());
    let said = || vendor.sessions().history("SN-1").as_array().map(Vec::len);
    eventually(|| said() == Some(2)).await;
    single.abort();
    eventually(|| vendor.aborted() == 2).await;
    assert_eq!(said(), Some(2), "the user's messages only");
}

//! ChatBotKit end to end, against its strict simulator: who may call what, and with which credential it arrives.

use std::time::Duration;

use keystile::demo::vendor::Seen;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::gateway::{KEY, Session, TestGateway};
use crate::support::{eventually, wire};

/// Every route of a conversation but the history.
const ROUTES: [&str; 8] = [
    "complete",
    "send",
    "receive",
    "contact/upsert",
    "attachment/upload",
    "message/{mid}/upvote",
    "message/{mid}/downvote",
    "message/{mid}/synthesize",
];

fn path(conversation: &str, route: &str) -> String {
    format!("/api/v1/conversation/{conversation}/{route}")
}

async fn post(gateway: &TestGateway, session: &Session, path: &str, body: &Value) -> Response {
    gateway.post(path).bearer_auth(&session.token).json(body).send().await.unwrap()
}

async fn list(gateway: &TestGateway, session: &Session, path: &str) -> Response {
    gateway.call(Method::GET, path).bearer_auth(&session.token).send().await.unwrap()
}

fn seen(gateway: &TestGateway) -> Vec<Seen> {
    gateway.chatbotkit.as_ref().unwrap().seen()
}

fn last(gateway: &TestGateway) -> Seen {
    seen(gateway).pop().unwrap()
}

/// Status and the vendor's code.
async fn refusal(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    assert!(body["message"].is_string(), "{body}");
    (status, body["code"].as_str().unwrap().to_owned())
}

/// A session, and the id of a message that is in its conversation.
async fn with_message(gateway: &TestGateway) -> (Session, String) {
    let session = gateway.mint("support").await;
    let sent = post(gateway, &session, &path(&session.conversation, "send"), &json!({"text": "hi"})).await;
    let message = sent.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    (session, message)
}

#[tokio::test]
async fn every_conversation_call_carries_the_sessions_own_token_and_never_the_account_key() {
    let gateway = TestGateway::chatbotkit().start();
    let (session, message) = with_message(&gateway).await;
    for route in ROUTES {
        let route = route.replace("{mid}", &message);
        let answer = post(&gateway, &session, &path(&session.conversation, &route), &json!({"text": "hi"})).await;
        assert_eq!(answer.status(), 200, "{route}: {}", answer.text().await.unwrap());
        let seen = last(&gateway);
        assert_eq!(seen.path, format!("/v1/conversation/{}/{route}", session.conversation));
        let credential = seen.headers["authorization"].to_str().unwrap();
        assert!(!credential.contains(KEY) && !credential.contains(&session.token), "{route}");
    }
}

#[tokio::test]
async fn a_vote_without_a_body_reaches_the_vendor_as_an_empty_object() {
    let gateway = TestGateway::chatbotkit().start();
    let (session, message) = with_message(&gateway).await;

    let call =
        gateway.post(&path(&session.conversation, &format!("message/{message}/upvote"))).bearer_auth(&session.token);
    assert_eq!(call.send().await.unwrap().status(), 200);

    assert_eq!(last(&gateway).body, "{}");
}

#[tokio::test]
async fn a_token_is_good_for_no_other_conversation() {
    let gateway = TestGateway::chatbotkit().start();
    let ((own, message), other) = (with_message(&gateway).await, gateway.mint("support").await);
    let before = seen(&gateway).len();
    for route in ROUTES {
        let route = path(&other.conversation, &route.replace("{mid}", &message));
        let answer = post(&gateway, &own, &route, &json!({"text": "hi"})).await;
        assert_eq!(refusal(answer).await, (403, "NOT_AUTHORIZED".to_owned()), "{route}");
    }
    let answer = list(&gateway, &own, &path(&other.conversation, "message/list")).await;
    assert_eq!(refusal(answer).await, (403, "NOT_AUTHORIZED".to_owned()));
    assert_eq!(seen(&gateway).len(), before, "the vendor is not asked");
}

#[tokio::test]
async fn the_history_is_asked_for_with_the_account_key_for_the_own_conversation_only() {
    let gateway = TestGateway::chatbotkit().start();
    let (session, message) = with_message(&gateway).await;
    // Our own id of the session means the same conversation.
    for id in [&session.conversation, &session.id] {
        let query = "?take=5&order=asc&conversationId=other&extensions=1&debug=1";
        let answer = list(&gateway, &session, &(path(id, "message/list") + query)).await;
        assert_eq!(answer.status(), 200);
        let history: Value = answer.json().await.unwrap();
        assert_eq!((&history["items"][0]["id"], &history["items"][0]["text"]), (&json!(message), &json!("hi")));
        let seen = last(&gateway);
        assert_eq!(seen.path, format!("/v1/conversation/{}/message/list", session.conversation));
        assert_eq!(seen.query.as_deref(), Some("take=5&order=asc"));
        assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    }
}

#[tokio::test]
async fn nothing_that_the_account_key_would_vouch_for_passes() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    let call = format!("GET {}", path(&session.conversation, "message/list"));
    let headers = [
        "x-runas-user-id: u1",
        "x-runas-userid: u1",
        "X-RunAs-Child-User-Email: a@b.c",
        "x_runas_user_id: u1",
        "x-other: 1",
        "x-timezone: Asia/Tokyo",
        "content-type: application/json",
    ];

    let answer = wire::call(&gateway, &session, &call, &headers, r#"{"extensions":{},"debug":true}"#).await;

    assert_eq!(wire::status(&answer), 200, "{answer}");
    let seen = last(&gateway);
    assert!(seen.honoured.is_empty() && seen.body.is_empty(), "{seen:?}");
    assert!(!seen.headers.contains_key("x_runas_user_id") && !seen.headers.contains_key("x-other"));
    assert_eq!(seen.headers["x-timezone"], "Asia/Tokyo");
}

#[tokio::test]
async fn extensions_and_debug_never_pass_on_any_route() {
    let gateway = TestGateway::chatbotkit().start();
    let (session, message) = with_message(&gateway).await;
    for route in ROUTES {
        let body =
            r#"{"text":"hi","extensions":{"a":1},"Debug":true,"EXTENSIONS":1,"d\u0065bug":1,"exten\u017fions":1}"#;
        let call = format!("POST {}", path(&session.conversation, &route.replace("{mid}", &message)));
        let headers = ["content-type: application/json", "x-runas-user-id: u1"];
        let answer = wire::call(&gateway, &session, &call, &headers, body).await;
        assert_eq!(wire::status(&answer), 200, "{route}: {answer}");
        let seen = last(&gateway);
        assert_eq!(seen.body, r#"{"text":"hi"}"#, "{route}");
        assert!(!seen.headers.keys().any(|name| name.as_str().contains("runas")), "{route}");
    }
}

#[tokio::test]
async fn contact_upsert_passes_only_while_the_session_has_no_contact() {
    let gateway = TestGateway::chatbotkit().start();
    let nobody = gateway.mint("support").await;
    let somebody = gateway.mint_with("support", json!({"contact": {"email": "ada@example.com"}})).await;
    let upsert = async |session: &Session| {
        post(&gateway, session, &path(&session.conversation, "contact/upsert"), &json!({"email": "eve@example.com"}))
            .await
    };

    assert_eq!(upsert(&nobody).await.status(), 200);
    assert_eq!(last(&gateway).path, format!("/v1/conversation/{}/contact/upsert", nobody.conversation));
    let before = seen(&gateway).len();

    assert_eq!(refusal(upsert(&somebody).await).await, (403, "NOT_AUTHORIZED".to_owned()));
    assert_eq!(seen(&gateway).len(), before);
}

#[tokio::test]
async fn calls_that_no_route_names_do_not_exist() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    let before = seen(&gateway).len();
    for call in [
        "conversation/create",
        "conversation/list",
        "bot/list",
        "conversation/{c}",
        "conversation/{c}/delete",
        "conversation/{c}/update",
        "conversation/{c}/message/create",
        "conversation/{c}/message/list/upvote",
        "conversation/{c}/complete/",
        "bot/bot_1/delete",
        "contact/list",
    ] {
        let call = format!("/api/v1/{}", call.replace("{c}", &session.conversation));
        assert!([404, 405].contains(&post(&gateway, &session, &call, &json!({})).await.status().as_u16()), "{call}");
        let unprefixed = call.trim_start_matches("/api").to_owned();
        assert!(
            [404, 405].contains(&post(&gateway, &session, &unprefixed, &json!({})).await.status().as_u16()),
            "{unprefixed}"
        );
    }
    assert_eq!(seen(&gateway).len(), before);
}

#[tokio::test]
async fn an_answer_streams_in_the_form_that_was_asked_for() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    let text = "こんにちは、世界 👩‍💻 hello";
    for (accept, begins) in
        [("application/jsonl", "{\"type\":\"sendResult\""), ("text/event-stream", "event: sendResult\ndata: {")]
    {
        let call =
            gateway.post(&path(&session.conversation, "complete")).bearer_auth(&session.token).header("accept", accept);
        let answer = call.json(&json!({"text": text})).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], accept);
        let told = answer.text().await.unwrap();
        assert!(told.starts_with(begins) && told.contains(&format!("I heard: {text}")), "{told}");
        assert!(told.contains("receiveResult") && !told.contains("token_expired"));
    }
    eventually("the vendor's last word", || seen(&gateway).iter().all(|seen| seen.finished)).await;
}

#[tokio::test]
async fn at_expiry_a_stream_ends_with_an_error_in_the_vendors_shape() {
    for accept in ["application/jsonl", "text/event-stream"] {
        let gateway = TestGateway::chatbotkit().start();
        let session = gateway.mint("support").await;
        gateway.clock.advance(Duration::from_millis(3_599_900));
        // That makes a new token of the vendor's, which no stream is searched for that is open.
        let renew = gateway.post(&format!("/v1/sessions/{}/renew", session.id)).bearer_auth(&session.token);
        assert_eq!(renew.send().await.unwrap().status(), 200);
        let call =
            gateway.post(&path(&session.conversation, "complete")).bearer_auth(&session.token).header("accept", accept);

        let told = call.json(&json!({"text": "word ".repeat(4000)})).send().await.unwrap().text().await.unwrap();

        let last = told.trim_end().lines().next_back().unwrap();
        let data: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap_or(last)).unwrap();
        let error = if accept == "application/jsonl" { &data["data"] } else { &data };
        assert_eq!(error["code"], "NOT_AUTHENTICATED", "{last}");
        assert!(error["message"].is_string() && !told.contains("receiveResult"));
        eventually("the vendor's abort", || gateway.chatbotkit.as_ref().unwrap().aborted() == 1).await;
    }
}

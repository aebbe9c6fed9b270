//! What a session leaves behind when its visitor becomes known, and what one visitor could do to all others.

use futures_util::StreamExt;
use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::fleet::Fleet;
use crate::support::gateway::{PAGE, Session, TestGateway};
use crate::support::vendor::{TestVendor, streamed, whole};

const VENDOR_TOKEN: &str = "vt-0123456789abcdef-0123456789abcdef";

fn chatbotkit_open() -> String {
    json!({"id": "bot_1", "conversationId": "conv_1", "token": VENDOR_TOKEN, "expiresAt": 4_000_000_000_000_u64, "messages": []})
        .to_string()
}

/// The owner says who the visitor is.
async fn recognise(gateway: &TestGateway, session: &Session, email: &str, keeps: bool) -> Response {
    let call = gateway.post(&format!("/v1/sessions/{}/contact", session.id)).bearer_auth(gateway.owner.expose());
    let body = json!({"token": session.token, "contact": {"email": email}, "keepPrevious": keeps});
    call.json(&body).send().await.unwrap()
}

#[tokio::test]
async fn a_vendors_token_is_in_no_answer_to_a_failed_identification() {
    let vendor = TestVendor::answering(|seen| {
        if seen.target.contains("/upsert") {
            let message = format!("bad token {VENDOR_TOKEN}");
            return whole(400, "application/json", json!({"message": message, "code": VENDOR_TOKEN}).to_string());
        }
        whole(200, "application/json", chatbotkit_open())
    });
    let gateway = TestGateway::built_in(&vendor, "chatbotkit").start();
    let session = gateway.mint("support").await;
    let answer = recognise(&gateway, &session, "ada@example.com", false).await;
    assert_eq!(answer.status(), 502);
    let text = answer.text().await.unwrap();
    assert!(!text.contains(VENDOR_TOKEN), "{text}");
}

#[tokio::test]
async fn a_stream_that_was_open_before_the_visitor_became_known_ends_then() {
    let (answer, sender) = streamed("text/event-stream");
    let answer = parking_lot::Mutex::new(Some(answer));
    let vendor = TestVendor::answering(move |seen| {
        if seen.target.contains("/complete") {
            return answer.lock().take().unwrap();
        }
        whole(200, "application/json", chatbotkit_open())
    });
    let gateway = TestGateway::built_in(&vendor, "chatbotkit").start();
    let session = gateway.mint("support").await;
    let call = gateway.post("/api/v1/conversation/conv_1/complete").bearer_auth(&session.token);
    let mut open = call.json(&json!({"text": "hi"})).send().await.unwrap();
    sender.send("data: one\n\n".into()).await.unwrap();
    assert!(open.chunk().await.unwrap().is_some());
    assert_eq!(recognise(&gateway, &session, "ada@example.com", false).await.status(), 200);
    let _ = sender.send("data: secret of ada\n\n".into()).await;
    drop(sender);
    let mut heard = String::new();
    while let Ok(Some(chunk)) = open.chunk().await {
        heard += &String::from_utf8_lossy(&chunk);
    }
    assert!(!heard.contains("secret of ada") && heard.contains("event: error"), "{heard}");
}

#[tokio::test]
async fn a_socket_that_was_open_before_the_visitor_became_known_ends_then() {
    let fleet = Fleet::start();
    let gateway = &fleet.gateway;
    let session = gateway.mint("directline").await;
    let id = &session.conversation;
    let started = gateway.post("/v3/directline/conversations").bearer_auth(&session.token).send().await.unwrap();
    assert!(started.status().is_success());
    let url =
        format!("{}/v3/directline/conversations/{id}/stream?t={}", gateway.url.replace("http", "ws"), session.token);
    let stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let answer = recognise(gateway, &session, "ada@example.com", false).await;
    assert_eq!(answer.status(), 200);
    let known: Value = answer.json().await.unwrap();
    let activities = format!("/v3/directline/conversations/{id}/activities");
    let hello = json!({"type": "message", "from": {"id": "x"}, "text": "my card is 4111"});
    let call = gateway.post(&activities).bearer_auth(known["token"].as_str().unwrap());
    assert_eq!(call.json(&hello).send().await.unwrap().status(), 200);
    let (mut heard, mut end) = (String::new(), None);
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Close(frame) => end = frame.map(|frame| u16::from(frame.code)),
            other => heard += other.to_text().unwrap(),
        }
    }
    assert_eq!(end, Some(4401));
    assert!(!heard.contains("4111"), "{heard}");
}

#[tokio::test]
async fn a_token_of_the_vendors_is_replaced_whatever_its_answer_calls_itself() {
    for media in ["application/json", "text/json", "text/plain", "application/x-json", ""] {
        let vendor = TestVendor::answering(move |seen| {
            if seen.target.contains("/generate") {
                let answer = json!({"conversationId": "conv_1", "token": VENDOR_TOKEN, "expires_in": 1800});
                return whole(200, "application/json", answer.to_string());
            }
            let fresh = format!("fresh-{VENDOR_TOKEN}");
            let url = format!("wss://directline.botframework.com/stream?t={fresh}");
            let answer = json!({"conversationId": "conv_1", "token": fresh, "streamUrl": url, "expires_in": 1800});
            whole(201, media, answer.to_string().replace("vt-", "vu-"))
        });
        let gateway = TestGateway::built_in(&vendor, "directline").start();
        let session = gateway.mint("support").await;
        let started = gateway.post("/v3/directline/conversations").bearer_auth(&session.token).send().await.unwrap();
        let expected = if media == "application/json" { 201 } else { 409 };
        assert_eq!(started.status(), expected, "{media}");
        let text = started.text().await.unwrap();
        assert!(!text.contains("fresh-"), "{media}: {text}");
    }
}

#[tokio::test]
async fn one_visitors_call_that_is_too_large_for_the_vendor_takes_no_key_from_all_others() {
    let vendor = TestVendor::answering(|seen| {
        if seen.body.len() > 5_000 {
            let error = json!({"error": {"message": "Request too large for gpt-4o on tokens per min (TPM)", "code": "rate_limit_exceeded"}});
            return whole(429, "application/json", error.to_string());
        }
        whole(200, "application/json", "{}")
    });
    let gateway = TestGateway::built_in(&vendor, "openai").start();
    let (eve, ada) = (gateway.mint("support").await, gateway.mint("support").await);
    let say = |token: &str, text: String| {
        let call = gateway.post("/v1/chat/completions").bearer_auth(token);
        call.json(&json!({"messages": [{"role": "user", "content": text}]})).send()
    };
    assert_eq!(say(&ada.token, "hi".into()).await.unwrap().status(), 200);
    assert_eq!(say(&eve.token, "x".repeat(10_000)).await.unwrap().status(), 429);
    let answer = say(&ada.token, "hi".into()).await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

#[tokio::test]
async fn what_a_client_that_may_be_in_a_page_says_of_its_visitor_is_only_claimed() {
    let panel = NewClient::make("panel", &Entropy::system());
    let sections = format!(
        "[bots.desk]\nvendor = \"acme\"\nvendor_id = \"bot_3\"\nvisibility = \"public\"\norigins = [\"{PAGE}\"]\nowners = \
         [\"panel\"]\n[clients.panel]\nbrowser = true\nsecret_sha256 = \"{}\"",
        panel.secret_sha256
    );
    let vendor = TestVendor::answering(|_| whole(200, "application/json", r#"{"sessionId":"s-1"}"#));
    let gateway = TestGateway::built_in(&vendor, "genesys").sections(&sections).start();
    let call = gateway.post("/v1/bots/desk/sessions").bearer_auth(panel.secret.expose()).header("origin", PAGE);
    let answer = call.json(&json!({"contact": {"email": "victim@example.com"}})).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(vendor.last().headers.get("gkc_customerid"), None);
}

#[tokio::test]
async fn an_upload_names_the_user_to_whom_the_vendors_token_is_bound() {
    let vendor = TestVendor::answering(|seen| {
        if seen.target.contains("/generate") {
            let answer = json!({"conversationId": "conv_1", "token": VENDOR_TOKEN, "expires_in": 1800});
            return whole(200, "application/json", answer.to_string());
        }
        whole(200, "application/json", "{}")
    });
    let gateway = TestGateway::built_in(&vendor, "directline").bot("limits = { upload = \"1MiB\" }").start();
    let session = gateway.mint("support").await;
    let opened: Value = serde_json::from_slice(&vendor.last().body).unwrap();
    let known: Value = recognise(&gateway, &session, "ada@example.com", false).await.json().await.unwrap();
    let call = gateway.post("/v3/directline/conversations/conv_1/upload?userId=eve");
    let call = call.bearer_auth(known["token"].as_str().unwrap()).header("content-type", "text/plain").body("x");
    assert_eq!(call.send().await.unwrap().status(), 200);
    let user = opened["user"]["id"].as_str().unwrap();
    assert!(vendor.last().target.contains(user), "{} is not of {user}", vendor.last().target);
}

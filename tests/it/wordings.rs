//! What a refusal says: it is of the call that was made, and names what its caller wrote.

use http::Method;
use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::gateway::TestGateway;
use crate::support::vendor::TestVendor;

/// The status, the code and the words of a refusal.
async fn words(call: RequestBuilder) -> (u16, String, String) {
    let answer = call.send().await.unwrap();
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("message"))
}

#[tokio::test]
async fn who_may_not_see_or_end_sessions_is_told_so_and_nothing_of_visitors() {
    let widget = NewClient::make("widget", &Entropy::system());
    let sections = format!(
        "[bots.open]\nvendor = \"acme\"\nvendor_id = \"bot_3\"\nvisibility = \"private\"\nowners = [\"widget\"]\n\
         [clients.widget]\nbrowser = true\nsecret_sha256 = \"{}\"",
        widget.secret_sha256
    );
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).sections(&sections).start();
    let opening = gateway.post("/v1/bots/open/sessions").bearer_auth(widget.secret.expose()).json(&json!({}));
    let opened: Value = opening.send().await.unwrap().json().await.unwrap();
    let (id, token) = (opened["sessionId"].as_str().unwrap(), opened["token"].as_str().unwrap());
    let one = format!("/v1/sessions/{id}");
    let contact = format!("{one}/contact");
    for (method, path, by_page, by_bearer) in [
        (Method::GET, "/v1/sessions", "sees no sessions", "shows its own session alone"),
        (Method::DELETE, "/v1/sessions?bot=open", "ends no sessions", "ends its own session alone"),
        (Method::GET, &one, "sees no sessions", ""),
        (Method::DELETE, &one, "ends no sessions", ""),
        (Method::POST, &contact, "cannot say who its visitor is", "cannot say who its visitor is"),
    ] {
        let call = |credential: &str| words(gateway.call(method.clone(), path).bearer_auth(credential));
        let (status, code, text) = call(widget.secret.expose()).await;
        assert_eq!((status, code.as_str()), (403, "owner_required"), "{method} {path}");
        assert!(text.contains(by_page), "{method} {path}: {text}");
        if !by_bearer.is_empty() {
            let (status, code, text) = call(token).await;
            assert_eq!((status, code.as_str()), (403, "owner_required"), "{method} {path}");
            assert!(text.contains(by_bearer), "{method} {path}: {text}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_deep_is_told_as_that_by_every_session_call() {
    let gateway = TestGateway::chatbotkit().start();
    for (depth, told) in [(64, "meta"), (65, "too deep; send at most 64 levels"), (200, "too deep")] {
        let body = format!(r#"{{"meta":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        for path in ["/v1/bots/support/sessions", "/api/v1/bot/bot_1/session/create"] {
            let call = gateway.post(path).bearer_auth(gateway.owner.expose());
            let (status, _, text) = words(call.header("content-type", "application/json").body(body.clone())).await;
            assert!(status == 400 && text.contains(told), "{path}, {depth} levels: {status} {text}");
        }
    }
    assert!(gateway.chatbotkit.as_ref().unwrap().seen().is_empty());
}

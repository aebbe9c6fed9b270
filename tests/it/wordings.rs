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
async fn a_query_that_is_wrong_is_told_by_its_parameter() {
    let made = NewClient::make("admin", &Entropy::system());
    let admin = format!("listen = \"127.0.0.1:0\"\nsecret_sha256 = \"{}\"", made.secret_sha256);
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).admin(&admin).start();
    for (query, told) in [
        ("limit=a", "`limit` must be from 1 to 200"),
        ("limit=", "`limit` must be from 1 to 200"),
        ("limit=4294967297", "`limit` must be from 1 to 200"),
        ("from=2h", "`from` must be a time in milliseconds since 1970"),
        ("from=-1", "`from` must be a time in milliseconds since 1970"),
        ("to=2026-11-21T06:54:44Z", "`to` must be a time in milliseconds since 1970"),
        ("limit=2&limit=3", "the query may have bot, contact"),
        ("bots=support", "the query may have bot, contact"),
    ] {
        let url = format!("{}/v1/sessions?{query}", gateway.admin.as_deref().unwrap());
        let by_operator = gateway.client.get(url).bearer_auth(made.secret.expose());
        let by_owner = gateway.call(Method::GET, &format!("/v1/sessions?{query}")).bearer_auth(gateway.owner.expose());
        for call in [by_owner, by_operator] {
            let (status, code, text) = words(call).await;
            assert_eq!((status, code.as_str()), (400, "bad_request"), "{query}");
            assert!(text.starts_with(told), "{query}: {text}");
        }
    }
}

#[tokio::test]
async fn what_a_caller_wrote_is_named_as_it_wrote_it() {
    let gateway = TestGateway::chatbotkit().start();
    let call = gateway.post("/v1/bots/support/sessions").bearer_auth(gateway.owner.expose());
    let (_, _, text) = words(call.json(&json!({"DurationInSeconds": 1800}))).await;
    assert!(text.starts_with("`DurationInSeconds` is unknown; the body may have durationInSeconds"), "{text}");

    let vendor = TestVendor::echo();
    let superseek = TestGateway::built_in(&vendor, "superseek").ids("1", "2").start();
    let open = |query: &str| {
        let path = format!("/session-id?bot_id=1&api_key={}{query}", superseek.owner.expose());
        superseek.call(Method::GET, &path)
    };
    let refused = open("").header("Keystile-Contact", "foo").send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let text = refused.text().await.unwrap();
    assert!(text.contains("`keystile-contact` must be an email address"), "{text}");
    let twice = open("&durationInSeconds=1800&durationInSeconds=3600").send().await.unwrap().text().await.unwrap();
    assert!(twice.contains("the query has `durationInSeconds` twice"), "{twice}");
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn one_open_call_is_told_as_one() {
    let (vendor, mut calls, release) = TestVendor::held("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let gateway = TestGateway::in_front_of(&vendor).bot("limits.streams = 1").start();
    let token = gateway.mint("support").await.token;
    let read = || gateway.call(Method::GET, "/read").bearer_auth(&token);
    let open = tokio::spawn(read().send());
    assert!(calls.recv().await.is_some());
    let (status, code, text) = words(read()).await;
    assert_eq!((status, code.as_str()), (429, "too_many_streams"));
    assert_eq!(text, "the session has 1 open call already; wait for one to end");
    release.notify_one();
    assert_eq!(open.await.unwrap().unwrap().status(), 200);
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

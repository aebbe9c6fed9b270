//! A granted call on its way to the vendor: what of its head passes.

use serde_json::json;

use crate::support::gateway::{KEY, PAGE, TestGateway};
use crate::support::vendor::TestVendor;
use crate::support::wire;

#[tokio::test]
async fn vendor_never_sees_the_callers_token() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer =
        gateway.post("/echo").bearer_auth(&session.token).json(&json!({"question": "hi"})).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), json!({"question": "hi"}));
    assert!(!vendor.last().contains(&session.token));
    assert_eq!(vendor.last().headers["authorization"], format!("Bearer {KEY}"));
}

#[tokio::test]
async fn headers_of_connection_credential_and_whereabouts_never_pass() {
    const NEVER: &[&str] = &[
        "cookie: a=b",
        "cookie2: a=b",
        "forwarded: for=192.0.2.1",
        "x-forwarded: for=192.0.2.1",
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-host: evil",
        "x-forwarded-proto: https",
        "X-Forwarded-Anything: 1",
        "x-real-ip: 192.0.2.1",
        "true-client-ip: 192.0.2.1",
        "cf-connecting-ip: 192.0.2.1",
        "via: 1.1 evil",
        "gkc_customerId: 7",
        "GKC_agentId: 7",
        "x-runas-user-id: 7",
        "X-RunAs-UserId: 7",
        "X-RUNAS-CHILD-USER-EMAIL: a@b.c",
        "range: bytes=0-1",
        "if-range: \"e\"",
        "if-none-match: \"e\"",
        "if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT",
        "te: trailers",
        "trailer: x-last",
        "proxy: http://evil",
        "proxy-authorization: Basic YTpi",
        "proxy-connection: keep-alive",
        "expect: 100-continue",
        "keep-alive: timeout=5",
        "upgrade: websocket",
        "http2-settings: AAAA",
        "sec-websocket-key: AAAA",
        "sec-fetch-site: cross-site",
        "referer: https://www.example.com/secret",
        "x-http-method-override: DELETE",
        "x-original-url: /admin",
        "x-rewrite-url: /admin",
        "keystile-token: a",
    ];
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let origin = format!("origin: {PAGE}");
    let sent: Vec<&str> = NEVER.iter().copied().chain([origin.as_str(), "x-note: kept"]).collect();

    let answer = wire::call(&gateway, &session, "POST /echo", &sent, "{}").await;

    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    assert!(answer.contains(" 200 OK\r\n"), "{answer}");
    let seen = vendor.last().headers;
    assert_eq!(seen["x-note"], "kept");
    for line in NEVER.iter().chain([&origin.as_str()]) {
        let (name, _) = line.split_once(':').unwrap();
        assert!(!seen.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn what_a_vendor_may_take_for_a_reserved_header_does_not_pass() {
    // CGI, WSGI and their kin read `-` and `_` alike.
    const NEVER: &[&str] = &[
        "x_runas_user_id: 7",
        "gkc-customerId: 7",
        "x_forwarded_for: 192.0.2.1",
        "X_Real_IP: 192.0.2.1",
        "x-runas_user-id: 7",
    ];
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer = wire::call(&gateway, &session, "POST /echo", NEVER, "{}").await;

    assert_eq!(wire::status(&answer), 200);
    for line in NEVER {
        let (name, _) = line.split_once(':').unwrap();
        assert!(!vendor.last().headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn headers_that_connection_names_do_not_pass() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let sent = [
        "connection: keep-alive, X-Hop",
        "x-hop: 1",
        "connection: x-other ,x-third",
        "x-other: 1",
        "x-third: 1",
        "x-note: 1",
    ];

    let answer = wire::call(&gateway, &session, "POST /echo", &sent, "{}").await;

    assert_eq!(wire::status(&answer), 200);
    let seen = vendor.last().headers;
    assert!(seen.contains_key("x-note"));
    for name in ["x-hop", "x-other", "x-third", "connection"] {
        assert!(!seen.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn connection_cannot_take_the_gateways_own_headers_away() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let sent = [
        "connection: authorization, accept-encoding, host, content-length, content-type",
        "content-type: application/json",
    ];
    let answer =
        wire::call(&gateway, &session, &format!("POST /sessions/{}/say", session.id), &sent, r#"{"text":"hi"}"#).await;

    assert_eq!(wire::status(&answer), 200, "{answer}");
    let seen = vendor.last();
    assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(seen.headers["accept-encoding"], "identity");
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(seen.headers["host"], vendor.url.trim_start_matches("http://"));
}

#[tokio::test]
async fn the_vendor_is_asked_for_an_answer_without_coding() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let call = gateway.post("/echo").bearer_auth(&session.token).header("accept-encoding", "gzip, br");
    assert_eq!(call.body("{}").send().await.unwrap().status(), 200);

    let codings: Vec<_> = vendor.last().headers.get_all("accept-encoding").iter().cloned().collect();
    assert_eq!(codings, ["identity"]);
}

#[tokio::test]
async fn only_listed_headers_pass_where_a_route_lists_them() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let call = gateway.post(&format!("/sessions/{}/say", session.id)).bearer_auth(&session.token);
    let call = call
        .header("x-note", "kept")
        .header("x-other", "lost")
        .header("accept", "text/plain")
        .header("user-agent", "me");
    assert_eq!(call.json(&json!({"text": "hi"})).send().await.unwrap().status(), 200);

    let seen = vendor.last().headers;
    assert_eq!((&seen["x-note"], &seen["accept"]), (&"kept".parse().unwrap(), &"text/plain".parse().unwrap()));
    assert!(!seen.contains_key("x-other") && !seen.contains_key("user-agent"));
}

#[tokio::test]
async fn a_header_that_is_set_cannot_be_said_by_a_client() {
    const PROFILE: &str = r#"
title = "Headers"
[[route]]
call       = "POST /echo"
set.header = { X-Account = "{key}", X-Name = "{contact.name}" }
allow      = { header = "*", body = "*" }
"#;
    let vendor = TestVendor::echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let sent = ["X-Account: evil", "x-account: evil", "X-NAME: evil", "x_account: evil", "x_name: evil"];

    let answer = wire::call(&gateway, &session, "POST /echo", &sent, "{}").await;

    assert_eq!(wire::status(&answer), 200);
    let seen = vendor.last();
    assert_eq!(seen.headers.get_all("x-account").iter().collect::<Vec<_>>(), [KEY]);
    assert!(!seen.headers.contains_key("x-name"), "a placeholder without a value sends nothing");
    assert!(!seen.contains("evil"), "{seen:?}");
}

#[tokio::test]
async fn stripped_headers_do_not_pass() {
    const PROFILE: &str = r#"
title = "Strip"
[[route]]
call         = "POST /echo"
strip.header = ["x-secret", "x-org-*"]
"#;
    let vendor = TestVendor::echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;

    let call = gateway
        .post("/echo")
        .bearer_auth(&session.token)
        .header("X-Secret", "1")
        .header("X-Org-Id", "1")
        .header("x-orgs", "1");
    assert_eq!(call.body("{}").send().await.unwrap().status(), 200);

    let seen = vendor.last().headers;
    assert!(seen.contains_key("x-orgs") && !seen.contains_key("x-secret") && !seen.contains_key("x-org-id"));
    assert!(!seen.contains_key("authorization"), "the caller's credential does not pass where none is set");
}

#[tokio::test]
async fn a_get_takes_no_body_to_the_vendor() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer =
        wire::call(&gateway, &session, "GET /read", &["content-type: application/json"], r#"{"debug":true}"#).await;

    assert_eq!(wire::status(&answer), 200, "{answer}");
    assert!(vendor.last().body.is_empty(), "{:?}", vendor.seen());
}

#[tokio::test]
async fn an_upgrade_is_no_way_around_the_route() {
    let vendor = TestVendor::raw(|_, mut stream| async move {
        let seen = wire::read_until(&mut stream, "\r\n\r\n").await;
        assert!(!seen.to_lowercase().contains("upgrade"));
        wire::write(
            &mut stream,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nleak",
        )
        .await;
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer = wire::call(&gateway, &session, "GET /read", &["connection: upgrade", "upgrade: websocket"], "").await;

    assert_eq!(wire::status(&answer), 502, "{answer}");
    assert!(!answer.contains("leak"));
}

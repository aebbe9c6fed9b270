//! What a caller is told when a call is not served, and what stays on record.

use http::Method;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::gateway::{KEY, PAGE, PLAIN_PROFILE, TestGateway, refusal};
use crate::support::vendor::{TestVendor, whole};
use crate::support::wire;

async fn sent(call: RequestBuilder) -> Response {
    call.send().await.unwrap()
}

#[tokio::test]
async fn errors_are_problems_with_code_and_message() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();

    let answer = sent(gateway.post("/v1/bots/support/sessions").bearer_auth(gateway.stranger.expose())).await;

    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let mut problem: Value = answer.json().await.unwrap();
    assert_eq!(problem.as_object_mut().unwrap().remove("requestId"), Some(json!(id)));
    insta::assert_snapshot!(serde_json::to_string_pretty(&problem).unwrap(), @r#"
    {
      "type": "urn:keystile:problem:owner_required",
      "title": "Only an owner of the bot may do this",
      "status": 403,
      "detail": "this client does not own the bot",
      "code": "owner_required",
      "message": "this client does not own the bot"
    }
    "#);
}

#[tokio::test]
async fn missing_bad_and_expired_token_are_told_apart() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(std::time::Duration::from_secs(3700));
    let call = || gateway.call(Method::GET, "/read");

    let mut told = Vec::new();
    for call in [
        call(),
        call().bearer_auth("forged"),
        call().bearer_auth(&session.token),
        call().header("authorization", "Basic YTpi"),
    ] {
        let answer = sent(call).await;
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        let (status, code) = refusal(answer).await;
        told.push(format!("{status} {code}: {challenge}"));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    401 credential_required: Bearer realm="keystile"
    401 invalid_token: Bearer realm="keystile", error="invalid_token", error_description="the token is not valid"
    401 token_expired: Bearer realm="keystile", error="invalid_token", error_description="the token has expired"
    401 invalid_token: Bearer realm="keystile", error="invalid_token", error_description="the token is not valid"
    "#);
}

#[tokio::test]
async fn every_401_has_a_challenge() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    let list = format!("/api/v1/conversation/{}/message/list", session.conversation);
    let mint = |path: &str| gateway.post(path);

    for call in [
        mint("/v1/bots/hidden/sessions"),
        mint("/v1/bots/hidden/sessions").bearer_auth("ksc_website_x"),
        mint("/v1/bots/hidden/sessions").bearer_auth(&session.token),
        mint("/api/v1/bot/hidden/session/create"),
        mint("/api/v1/bot/hidden/session/create").bearer_auth("x"),
        gateway.call(Method::GET, &list),
        gateway.call(Method::GET, &list).bearer_auth(gateway.owner.expose()),
    ] {
        let answer = sent(call).await;
        assert_eq!(answer.status(), 401);
        assert!(
            answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer realm="),
            "{}",
            answer.url()
        );
    }
}

#[tokio::test]
async fn on_chatbotkits_paths_errors_take_its_shape_and_codes() {
    let gateway = TestGateway::chatbotkit().bot("limits = { mint_per_ip = \"1/1h\", per_session = \"1/1h\" }").start();
    let session = gateway.mint("support").await;
    let create = |bot: &str| gateway.post(&format!("/api/v1/bot/{bot}/session/create"));
    let owner = gateway.owner.expose();
    let list = |id: &str| {
        gateway.call(Method::GET, &format!("/api/v1/conversation/{id}/message/list")).bearer_auth(&session.token)
    };
    let wrong = json!({"durationInSeconds": 1});
    assert_eq!(sent(create("support").header("origin", PAGE)).await.status(), 200);
    assert_eq!(sent(list(&session.conversation)).await.status(), 200);

    for (status, code, call) in [
        (400, "BAD_REQUEST", create("bot_1").bearer_auth(owner).json(&wrong)),
        (401, "NOT_AUTHENTICATED", create("bot_2")),
        (401, "NOT_AUTHENTICATED", create("bot_2").bearer_auth("ksc_website_x")),
        (403, "NOT_AUTHORIZED", create("bot_2").bearer_auth(gateway.stranger.expose())),
        (403, "NOT_AUTHORIZED", create("bot_1").header("origin", "https://evil.test")),
        (404, "NOT_FOUND", create("bot_3").bearer_auth(owner)),
        (405, "METHOD_NOT_ALLOWED", gateway.call(Method::GET, "/api/v1/bot/bot_1/session/create")),
        (415, "BAD_REQUEST", create("bot_1").bearer_auth(owner).body("x")),
        (429, "TOO_MANY_REQUESTS", create("bot_1").header("origin", PAGE)),
        (429, "TOO_MANY_REQUESTS", list(&session.conversation)),
        (403, "NOT_AUTHORIZED", list("other")),
    ] {
        let answer = sent(call).await;
        let (got, media) = (answer.status(), answer.headers()["content-type"].to_str().unwrap().to_owned());
        let body: Value = answer.json().await.unwrap();
        assert_eq!((got.as_u16(), media.as_str(), &body["code"]), (status, "application/json", &json!(code)), "{body}");
        let names: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["message", "code"]);
        assert!(!body["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_no_route_names_does_not_exist_and_another_method_is_told() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    for path in ["/", "/nothing", "/echo/", "/ECHO", "/echo/more", "/v1/nothing", "/oauth/token", "/sessions/a%62c/say"]
    {
        let answer = sent(gateway.post(path).bearer_auth(&session.token).json(&json!({}))).await;
        assert!([400, 404].contains(&answer.status().as_u16()), "{path}");
    }
    // What the design has and this version does not.
    let tickets = format!("/v1/sessions/{}/tickets", session.id);
    for path in ["/oauth/introspect", "/oauth/revoke", "/oauth/token", tickets.as_str()] {
        assert_eq!(sent(gateway.post(path).bearer_auth(&session.token)).await.status(), 404, "{path}");
    }
    let metadata = gateway.call(Method::GET, "/.well-known/oauth-authorization-server");
    assert_eq!(sent(metadata).await.status(), 404);
    let other = sent(gateway.call(Method::DELETE, "/read").bearer_auth(&session.token)).await;
    assert_eq!(other.headers()["allow"], "GET");
    assert_eq!(refusal(other).await, (405, "method_not_allowed".to_owned()));
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn error_names_neither_hosts_nor_causes() {
    let profile = PLAIN_PROFILE.replacen("[[route]]", "[open]\ncall = \"POST /open\"\nsession = \"/id\"\n[[route]]", 1);
    let mut nowhere = TestVendor::echo();
    nowhere.url = "http://127.0.0.1:9".to_owned();
    for (vendor, code) in [
        (nowhere, "vendor_unreachable"),
        (TestVendor::answering(|seen| whole(500, "text/plain", format!("at 10.0.0.7: {seen:?}"))), "vendor_failed"),
        (TestVendor::answering(|_| whole(200, "text/html", "<b>10.0.0.7</b>")), "vendor_failed"),
    ] {
        let gateway = TestGateway::with_profile(&vendor, &profile).start();
        let answer = gateway.ask("support", json!({})).await;
        assert_eq!(answer.status(), 502);
        let text = answer.text().await.unwrap();
        assert!(text.contains(code), "{text}");
        for inner in ["127.0.0.1", "10.0.0.7", "acme", "onnection refused", KEY] {
            assert!(!text.contains(inner), "{inner} in {text}");
        }
    }
}

#[tokio::test]
async fn request_id_is_ours_and_the_clients_is_not_kept() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint("support").await;

    let call = gateway.call(Method::GET, "/read").bearer_auth(&session.token).header("x-request-id", "mine\" evil");
    let answer = sent(call).await;

    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    answer.bytes().await.unwrap();
    assert_eq!(gateway.records_of(2).await[1]["id"], id);
}

#[tokio::test]
async fn one_record_a_request_with_what_an_operator_needs() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint("support").await;
    let say = gateway.post(&format!("/sessions/{}/say", session.id)).bearer_auth(&session.token);
    let body = sent(say.json(&json!({"text": "hi"}))).await.text().await.unwrap();
    sent(gateway.call(Method::GET, "/read").bearer_auth("forged")).await;
    sent(gateway.call(Method::GET, "/read").bearer_auth(&session.token).header("origin", "https://evil.test")).await;

    let records = gateway.records_of(4).await;
    let pick =
        |record: &Value, names: &[&str]| -> Vec<Value> { names.iter().map(|name| record[name].clone()).collect() };
    let main = ["method", "route", "status", "bot", "session", "client", "complete"];
    let id = session.id.as_str();
    let expected = json!(["POST", "POST /v1/bots/{bot}/sessions", 201, "support", id, "127.0.0.1", true]);
    assert_eq!(json!(pick(&records[0], &main)), expected);
    let expected = json!(["POST", "POST /sessions/{session}/say", 200, "support", id, "127.0.0.1", true]);
    assert_eq!(json!(pick(&records[1], &main)), expected);
    let bytes = json!([r#"{"text":"hi"}"#.len(), body.len()]);
    assert_eq!(json!(pick(&records[1], &["bytes_in", "bytes_out"])), bytes);
    assert!(records[1]["duration_us"].as_u64() >= records[1]["first_byte_us"].as_u64());
    assert_eq!(
        json!(pick(&records[2], &["status", "code", "fault", "bot", "session"])),
        json!([401, "invalid_token", "client", null, null])
    );
    assert_eq!(json!(pick(&records[3], &["status", "code", "fault"])), json!([403, "origin_not_allowed", "client"]));
    assert!(records[1].get("code").is_none());
}

#[tokio::test]
async fn what_was_declared_and_never_came_is_not_on_record() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint("support").await;
    let paths = ["/v1/bots/support/sessions".to_owned(), format!("/sessions/{}/say", session.id)];
    for path in paths {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            session.token,
            i64::MAX
        );
        let refused = wire::read_until(&mut wire::send(&gateway, head).await, "\r\n").await;
        assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
    }
    let records = gateway.records_of(3).await;
    assert_eq!([&records[1]["bytes_in"], &records[2]["bytes_in"]], [&json!(0), &json!(0)]);
}

#[tokio::test]
async fn record_says_when_it_was_the_vendors_fault() {
    let vendor = TestVendor::answering(|_| whole(401, "text/plain", "no"));
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer = sent(gateway.call(Method::GET, "/read").bearer_auth(&session.token)).await;

    assert!(answer.headers().get("www-authenticate").is_none());
    assert_eq!(refusal(answer).await, (502, "vendor_refused_key".to_owned()));
    let record = gateway.records_of(2).await.remove(1);
    assert_eq!((&record["fault"], &record["code"]), (&json!("vendor"), &json!("vendor_refused_key")));
}

#[tokio::test]
async fn record_holds_no_path_query_or_credential_that_came() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint("support").await;
    let (token, owner) = (session.token.as_str(), gateway.owner.expose());
    let calls = [
        gateway.call(Method::GET, &format!("/read?page={token}")).bearer_auth(token),
        gateway.call(Method::GET, &format!("/secretpath/{owner}?secretquery={KEY}")),
        gateway.post(&format!("/sessions/{owner}/say?secretquery=1")).bearer_auth(token),
        gateway.call(Method::GET, "/a//secretpath").header("user-agent", "secretagent"),
        gateway.call(Method::from_bytes(b"SECRETMETHOD").unwrap(), "/read"),
        gateway.post("/v1/bots/secretpath/sessions").bearer_auth(owner),
        gateway
            .post("/v1/bots/support/sessions")
            .bearer_auth(owner)
            .json(&json!({"contact": {"email": "secret@example.com"}})),
    ];
    let count = calls.len() + 1;
    for call in calls {
        sent(call).await.bytes().await.unwrap();
    }

    let text = json!(gateway.records_of(count).await).to_string();
    for secret in [token, owner, KEY, "secret", "SECRET", "page="] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn body_of_a_mint_is_json_and_not_endless() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let call = || gateway.post("/v1/bots/support/sessions").bearer_auth(gateway.owner.expose());

    let text = call().header("content-type", "text/plain").body("{}").send().await.unwrap();
    assert_eq!(refusal(text).await, (415, "unsupported_media_type".to_owned()));
    let encoded = call().header("content-encoding", "gzip").json(&json!({})).send().await.unwrap();
    assert_eq!(encoded.status(), 415);
    let long = call().json(&json!({"contact": {"name": "a".repeat(300_000)}})).send().await.unwrap();
    assert_eq!(refusal(long).await, (413, "body_too_large".to_owned()));
    let broken = call().header("content-type", "application/json").body("{").send().await.unwrap();
    assert_eq!(refusal(broken).await, (400, "bad_request".to_owned()));
}

#[tokio::test]
async fn refusal_arrives_also_where_the_body_was_not_read() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();

    for _ in 0..20 {
        let call = gateway.post("/v1/bots/hidden/sessions").json(&json!({"contact": {"name": "a".repeat(200_000)}}));
        assert_eq!(refusal(sent(call).await).await, (401, "credential_required".to_owned()));
    }
}

#[tokio::test]
async fn refusal_waits_for_a_client_that_reads_only_when_it_has_sent_all() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let mut client = tokio::net::TcpStream::connect(gateway.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = "POST /v1/bots/hidden/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4000000\r\n\r\n";

    client.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..40 {
        client.write_all(&[b' '; 100_000]).await.unwrap();
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("connection: close"), "{answer}");
}

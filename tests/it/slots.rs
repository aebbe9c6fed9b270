//! Where a credential may stand besides `Authorization`, and what becomes of it: slots in queries and bodies, the place of
//! the vendor's key, owners' calls.

use std::time::Duration;

use http::{HeaderMap, Method};
use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::support::gateway::{KEY, PAGE, Session, TestGateway, refusal};
use crate::support::vendor::{TestVendor, whole};

/// A client's secret of nobody.
const UNKNOWN: &str = "ksc_website_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const EVIL_PAGE: &str = "https://evil.test";

fn says(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn told(call: RequestBuilder) -> (u16, String) {
    refusal(call.send().await.unwrap()).await
}

async fn status(call: RequestBuilder) -> u16 {
    call.send().await.unwrap().status().as_u16()
}

/// Superseek, which echoes questions, and a session of its bot 1234.
async fn superseek() -> (TestVendor, TestGateway, Session) {
    let vendor = TestVendor::answering(|seen| match seen.method.as_str() {
        "GET" => whole(200, "text/plain", "a3ip87gkr2jh580fptg0i67m3p"),
        _ => whole(200, "application/json", seen.body.clone()),
    });
    let gateway = TestGateway::built_in(&vendor, "superseek").ids("1234", "5678").start();
    let session = gateway.mint("support").await;
    vendor.take();
    (vendor, gateway, session)
}

/// HotTask, and its session 123456 of `support`. `bots` are lines for each of its two bots, which have an owner each.
async fn hottask(bots: &str) -> (TestVendor, TestGateway, Session) {
    let answer = json!({"Data": {"SessionID": 123_456}, "Version": "1.0.0", "Success": true, "Code": 200}).to_string();
    let vendor = TestVendor::answering(move |_| whole(200, "application/json", answer.clone()));
    let gateway = TestGateway::built_in(&vendor, "hottask").hidden_of("stranger").bot(bots).start();
    let session = gateway.mint("support").await;
    vendor.take();
    (vendor, gateway, session)
}

/// AI Chatbot Hub, whose bots have an owner each, and a session.
async fn hub() -> (TestVendor, TestGateway, Session) {
    let vendor = TestVendor::answering(|_| whole(200, "application/json", r#"{"uuid":"0d5f"}"#));
    let gateway = TestGateway::built_in(&vendor, "aichatbothub").hidden_of("stranger").start();
    let session = gateway.mint("support").await;
    vendor.take();
    (vendor, gateway, session)
}

/// A question of Superseek's clients.
fn chat(gateway: &TestGateway, body: &Value) -> RequestBuilder {
    gateway.post("/chat").json(body)
}

fn allowed_origin(headers: &HeaderMap) -> Option<&str> {
    headers.get("access-control-allow-origin").map(|origin| origin.to_str().unwrap())
}

#[tokio::test]
async fn a_token_in_its_slot_or_in_authorization_or_in_both_is_one_credential() {
    let (vendor, gateway, session) = superseek().await;
    let (plain, slotted) = (json!({"question": "hi"}), json!({"question": "hi", "session_id": session.token}));
    let bearer = |call: RequestBuilder| call.bearer_auth(&session.token);
    for call in [
        chat(&gateway, &slotted),
        bearer(chat(&gateway, &plain)),
        bearer(chat(&gateway, &slotted)),
        chat(&gateway, &json!({"question": "hi", "SESSION_ID": session.token})),
        chat(&gateway, &json!({"question": "hi", "api_key": session.token})),
        chat(&gateway, &json!({"question": "hi", "api_key": session.token, "session_id": ""})),
        bearer(chat(&gateway, &json!({"question": "hi", "api_key": session.token, "session_id": session.token}))),
    ] {
        assert_eq!(status(call).await, 200);
        let body: Value = serde_json::from_slice(&vendor.last().body).unwrap();
        let ours =
            json!({"question": "hi", "api_key": KEY, "bot_id": 1234, "session_id": "a3ip87gkr2jh580fptg0i67m3p"});
        assert_eq!(body, ours);
    }
    assert_eq!(vendor.seen().len(), 7);
}

#[tokio::test]
async fn two_different_credentials_are_400_wherever_they_stand() {
    let (vendor, gateway, session) = superseek().await;
    let other = gateway.mint("support").await.token;
    vendor.take();
    for (slot, header) in [
        (session.token.as_str(), other.as_str()),
        (gateway.owner.expose(), session.token.as_str()),
        (session.token.as_str(), gateway.owner.expose()),
        (UNKNOWN, session.token.as_str()),
    ] {
        let call = chat(&gateway, &json!({"session_id": slot, "question": "hi"})).bearer_auth(header);
        assert_eq!(told(call).await, says(400, "two_credentials"));
    }
    let bearers = chat(&gateway, &json!({"question": "hi"})).bearer_auth(&session.token).bearer_auth(&other);
    assert_eq!(told(bearers).await, says(400, "two_credentials"));
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn what_stands_in_the_keys_place_beside_the_slot_is_dropped_unread() {
    let (vendor, gateway, session) = superseek().await;
    let other = gateway.mint("support").await.token;
    for value in [
        json!("an-old-account-key"),
        json!(UNKNOWN),
        json!(gateway.owner.expose()),
        json!(gateway.stranger.expose()),
        json!(other),
        json!(7),
        json!(null),
        json!({"session_id": "evil"}),
    ] {
        let call = chat(&gateway, &json!({"api_key": value, "question": "hi", "session_id": session.token}));
        assert_eq!(status(call).await, 200, "{value}");
        let seen = vendor.last();
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!((&body["api_key"], body.as_object().unwrap().len()), (&json!(KEY), 4), "{value}");
        assert!(!seen.contains("ksc_") && !seen.contains(&other) && !seen.contains("evil"), "{seen:?}");
    }
}

#[tokio::test]
async fn an_id_in_the_slot_beside_a_token_is_written_anew_and_no_credential() {
    let (vendor, gateway, session) = superseek().await;
    for id in ["a3ip87gkr2jh580fptg0i67m3p", "b4jq98hls3kl691gquh1j78n4q", "1"] {
        let call = chat(&gateway, &json!({"session_id": id, "question": "hi"})).bearer_auth(&session.token);
        assert_eq!(status(call).await, 200, "{id}");
        let body: Value = serde_json::from_slice(&vendor.last().body).unwrap();
        assert_eq!(body["session_id"], "a3ip87gkr2jh580fptg0i67m3p", "{id}");
    }
    vendor.take();
    let alone = chat(&gateway, &json!({"session_id": "a3ip87gkr2jh580fptg0i67m3p", "question": "hi"}));
    assert_eq!(told(alone).await, says(401, "invalid_token"));
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn a_client_credential_on_a_sessions_route_is_401_session_token_required_in_every_place() {
    let (vendor, gateway, _) = superseek().await;
    let secret = gateway.owner.expose();
    for call in [
        chat(&gateway, &json!({"question": "hi"})).bearer_auth(secret),
        chat(&gateway, &json!({"question": "hi", "session_id": secret})),
        chat(&gateway, &json!({"question": "hi", "api_key": secret})),
        gateway.post("/qa").json(&json!({"question": "hi", "api_key": secret})),
    ] {
        let answer = call.send().await.unwrap();
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().contains("a session token is required"));
        assert_eq!(refusal(answer).await, says(401, "session_token_required"));
    }
    let wrong = chat(&gateway, &json!({"question": "hi", "api_key": UNKNOWN}));
    assert_eq!(told(wrong).await, says(401, "invalid_client"));
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn all_sessions_of_a_chatbot_are_for_a_client_that_owns_it() {
    let (vendor, gateway, session) = hub().await;
    let (owner, stranger) = (gateway.owner.expose(), gateway.stranger.expose());
    let list = |bot: &str| gateway.call(Method::GET, &format!("/api/v1/chatbot/{bot}/sessions"));

    assert_eq!(told(list("bot_1").bearer_auth(&session.token)).await, says(403, "owner_required"));
    assert_eq!(told(list("bot_1")).await, says(401, "credential_required"));
    assert_eq!(told(list("bot_1").header("origin", PAGE)).await, says(401, "credential_required"));
    assert_eq!(told(list("bot_1").bearer_auth(UNKNOWN)).await, says(401, "invalid_client"));
    for (bot, secret) in
        [("bot_1", stranger), ("support", stranger), ("bot_2", owner), ("hidden", owner), ("none", owner)]
    {
        assert_eq!(told(list(bot).bearer_auth(secret)).await, says(403, "owner_required"), "{bot}");
    }
    for page in [PAGE, EVIL_PAGE] {
        let call = list("bot_1").bearer_auth(owner).header("origin", page);
        assert_eq!(told(call).await, says(403, "client_in_browser"));
    }
    let with_query = gateway.call(Method::GET, "/api/v1/chatbot/bot_1/sessions?api_key=x&owner=y");
    assert_eq!(told(with_query.bearer_auth(&session.token)).await, says(403, "owner_required"));
    assert!(vendor.seen().is_empty());

    for name in ["bot_1", "support"] {
        assert_eq!(status(list(name).bearer_auth(owner)).await, 200);
        let seen = vendor.last();
        assert_eq!((seen.target.as_str(), seen.contains("ksc_")), ("/api/v1/chatbot/bot_1/sessions", false));
        assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    }
    // The key's place is `Authorization` there, with or without a scheme.
    assert_eq!(status(list("bot_1").header("authorization", owner)).await, 200);
}

#[tokio::test]
async fn the_whole_history_of_a_bot_is_for_a_client_that_owns_it() {
    let (vendor, gateway, session) = hottask("").await;
    let history = |body: Value| gateway.post("/chat/Chatbot/ChatContentHistory").json(&body);
    let (owner, other) = (gateway.owner.expose(), json!({"SerialNumber": "bot_2", "serialNumber": "bot_2"}));

    assert_eq!(status(history(json!({})).bearer_auth(&session.token)).await, 403);
    assert_eq!(status(history(json!({"sessionID": session.token})).bearer_auth(&session.token)).await, 403);
    assert_eq!(status(history(json!({}))).await, 401);
    assert_eq!(status(history(json!({})).bearer_auth(owner).header("origin", PAGE)).await, 403);
    assert!(vendor.seen().is_empty());

    assert_eq!(status(history(other).bearer_auth(owner)).await, 200);
    assert_eq!(vendor.last().body, r#"{"SerialNumber":"bot_1"}"#);
    let stranger = history(json!({"SERIALNUMBER": "bot_1", "StartTime": "x"})).bearer_auth(gateway.stranger.expose());
    assert_eq!(status(stranger).await, 200, "it owns the other bot");
    assert_eq!(vendor.last().body, r#"{"StartTime":"x","SerialNumber":"bot_2"}"#);
}

#[tokio::test]
async fn an_owner_that_may_be_in_a_page_makes_its_calls_from_pages_that_the_bot_allows() {
    let panel = NewClient::make("panel", &Entropy::system());
    let sections = format!(
        "[bots.desk]\nvendor = \"acme\"\nvendor_id = \"bot_3\"\nvisibility = \"public\"\norigins = [\"{PAGE}\"]\nowners = \
         [\"panel\"]\n[clients.panel]\nbrowser = true\nsecret_sha256 = \"{}\"",
        panel.secret_sha256
    );
    let vendor = TestVendor::answering(|_| whole(200, "application/json", "[]"));
    let gateway = TestGateway::built_in(&vendor, "aichatbothub").sections(&sections).start();
    let list = |page: &str| {
        let call = gateway.call(Method::GET, "/api/v1/chatbot/desk/sessions").header("origin", page);
        call.bearer_auth(panel.secret.expose())
    };

    assert_eq!(told(list(EVIL_PAGE)).await, says(403, "origin_not_allowed"));
    assert!(vendor.seen().is_empty());
    let answer = list(PAGE).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), allowed_origin(answer.headers())), (200, Some(PAGE)));
}

#[tokio::test]
async fn calls_of_an_owner_that_may_be_in_a_page_count_for_each_address() {
    let panel = NewClient::make("panel", &Entropy::system());
    let sections = format!(
        "[bots.desk]\nvendor = \"acme\"\nvendor_id = \"bot_3\"\nvisibility = \"private\"\norigins = [\"{PAGE}\"]\nowners = \
         [\"panel\"]\nlimits = {{ per_session = \"1/1m\" }}\n[clients.panel]\nbrowser = true\nsecret_sha256 = \"{}\"",
        panel.secret_sha256
    );
    let vendor = TestVendor::answering(|_| whole(200, "application/json", "[]"));
    let builder = TestGateway::built_in(&vendor, "aichatbothub").server("trusted_proxies = [\"127.0.0.1\"]");
    let gateway = builder.sections(&sections).start();
    let mut statuses = Vec::new();
    for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        let call = gateway.call(Method::GET, "/api/v1/chatbot/desk/sessions").header("origin", PAGE);
        statuses.push(status(call.bearer_auth(panel.secret.expose()).header("x-forwarded-for", address)).await);
    }
    assert_eq!(statuses, [200, 429, 200]);
}

#[tokio::test]
async fn ids_of_files_are_refused_wherever_they_stand() {
    let (vendor, gateway, session) = hottask("").await;
    let ask = |body: &str| {
        let call = gateway.post("/chat/Chat/ClientAsk").bearer_auth(&session.token);
        call.header("content-type", "application/json").body(body.to_owned())
    };
    for body in [
        r#"{"content":"hi","fileIds":[1]}"#,
        r#"{"content":"hi","FILEIDS":1}"#,
        r#"{"content":"hi","f\u0069leids":["1"]}"#,
        "{\"content\":\"hi\",\"f\u{131}leIds\":[1]}",
        r#"{"content":{"x":[{"fileIds":[1]}]}}"#,
        r#"{"content":"hi","other":{"fileIds":{}}}"#,
    ] {
        assert_eq!(status(ask(body)).await, 400, "{body}");
    }
    assert!(vendor.seen().is_empty());
    for body in [r#"{"content":"hi","fileIds":[]}"#, r#"{"fileids":null,"content":"hi"}"#] {
        assert_eq!(status(ask(body)).await, 200, "{body}");
        assert_eq!(vendor.last().body, r#"{"content":"hi","sessionID":123456}"#, "{body}");
    }
}

#[tokio::test]
async fn nothing_that_an_openai_account_stores_can_be_named() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::built_in(&vendor, "openai").start();
    let session = gateway.mint("support").await;
    let call = |path: &str, body: &Value| gateway.post(path).bearer_auth(&session.token).json(body);
    for (path, body) in [
        ("/v1/responses", json!({"input": [{"type": "item_reference", "id": "msg_1"}]})),
        ("/v1/responses", json!({"input": [{"id": "msg_1"}]})),
        ("/v1/responses", json!({"input": [{"type": "image_generation_call", "ID": "ig_1"}]})),
        ("/v1/responses", json!({"input": [{"type": "code_interpreter_call", "container_id": "cntr_1"}]})),
        ("/v1/responses", json!({"input": "hi", "previous_response_id": "resp_1"})),
        ("/v1/responses", json!({"input": [{"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}]})),
        ("/v1/responses", json!({"input": [{"tools": [{"type": "mcp", "server_url": "https://evil.example"}]}]})),
        ("/v1/responses", json!({"input": [{"tools": [{"type": "mcp", "connector_id": "connector_gmail"}]}]})),
        (
            "/v1/responses",
            json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]}),
        ),
        ("/v1/chat/completions", json!({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": [{"file": {"file_id": "file-1"}}]}]})),
    ] {
        assert_eq!(status(call(path, &body)).await, 400, "{body}");
    }
    assert!(vendor.seen().is_empty());
    let items = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho", "id": null}]);
    let stored =
        json!({"input": items, "conversation": "conv_1", "prompt": {"id": null}, "store": true, "background": true});
    assert_eq!(status(call("/v1/responses", &stored)).await, 200);
    let body: Value = serde_json::from_slice(&vendor.last().body).unwrap();
    assert_eq!((&body["input"], &body["store"]), (&items, &json!(false)));
    assert!(["conversation", "prompt", "background"].iter().all(|name| body.get(name).is_none()), "{body}");
}

#[tokio::test]
async fn an_integer_session_id_is_the_tokens_own_whatever_case_its_name_has() {
    let (vendor, gateway, session) = hottask("").await;
    for name in
        ["sessionID", "SessionID", "sessionId", "SESSIONID", "\u{17f}essionID", r"session\u0049D", "sess\u{131}onid"]
    {
        for value in ["123457", "\"123457\"", "[123457]", "null"] {
            let call = gateway.post("/chat/Chat/ClientAsk").bearer_auth(&session.token);
            let body = format!(r#"{{"{name}":{value},"content":"hi"}}"#);
            assert_eq!(status(call.header("content-type", "application/json").body(body)).await, 200, "{name}");
            assert_eq!(vendor.last().body, r#"{"content":"hi","sessionID":123456}"#, "{name} {value}");
        }
    }
}

#[tokio::test]
async fn an_expired_token_in_a_slot_is_told_as_expired() {
    let (vendor, gateway, session) = superseek().await;
    gateway.clock.advance(Duration::from_secs(2 * 3600));

    let call = chat(&gateway, &json!({"question": "hi", "session_id": session.token})).header("origin", PAGE);
    let answer = call.send().await.unwrap();

    assert!(answer.headers()["www-authenticate"].to_str().unwrap().contains("the token has expired"));
    assert_eq!(allowed_origin(answer.headers()), Some(PAGE));
    assert_eq!(refusal(answer).await, says(401, "token_expired"));
    assert!(vendor.seen().is_empty());
}

/// Bodies with a slot that cannot be read, and what is said of them.
fn unreadable(token: &str) -> [(String, u16, &'static str); 9] {
    [
        (format!(r#"{{"session_id":"{token}","question":"{}"}}"#, "x".repeat(300 << 10)), 413, "body_too_large"),
        (format!(r#"{{"session_id":"{token}""#), 400, "bad_request"),
        (format!(r#"["{token}"]"#), 400, "bad_request"),
        (format!(r#"session_id={token}"#), 400, "bad_request"),
        (format!(r#"{{"session_id":"{token}","session_id":"{token}"}}"#), 400, "bad_request"),
        (format!(r#"{{"session_id":"{token}","Session_ID":"{token}"}}"#), 400, "bad_request"),
        (format!(r#"{{"session_id":"{token}","\u017fession_id":"x"}}"#), 400, "bad_request"),
        (format!(r#"{{"session_id":["{token}"]}}"#), 401, "credential_required"),
        (String::new(), 401, "credential_required"),
    ]
}

#[tokio::test]
async fn a_body_in_whose_slot_nothing_can_be_read_is_refused_and_not_sent() {
    let (vendor, gateway, session) = superseek().await;
    for (body, code, name) in unreadable(&session.token) {
        let start: String = body.chars().take(60).collect();
        let call = gateway.post("/chat").header("content-type", "application/json").header("origin", PAGE).body(body);
        let answer = call.send().await.unwrap();
        assert_eq!(allowed_origin(answer.headers()), Some(PAGE), "{start}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains(&session.token), "{text}");
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&told["status"], &told["code"]), (&json!(code), &json!(name)), "{start}");
    }
    let form = gateway.post("/chat").header("content-type", "application/x-www-form-urlencoded");
    let form = form.body(format!("session_id={}", session.token));
    assert_eq!(told(form).await, says(415, "unsupported_media_type"));
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn a_page_may_read_the_refusals_of_its_bots_vendor_and_no_other_page_may() {
    let (_vendor, gateway, session) = superseek().await;
    let other = gateway.mint("support").await.token;
    let secret = gateway.owner.expose();
    let question = |slot: &str| json!({"question": "hi", "session_id": slot});
    let calls = || {
        [
            (200, chat(&gateway, &question(&session.token))),
            (400, chat(&gateway, &question(&session.token)).bearer_auth(&other)),
            (401, chat(&gateway, &question(""))),
            (401, chat(&gateway, &question("forged"))),
            (403, chat(&gateway, &question(secret))),
            (413, chat(&gateway, &question(&"x".repeat(300 << 10)))),
            (415, gateway.post("/chat").body(session.token.clone())),
            (400, gateway.call(Method::GET, "/session-id?bot_id=1234&bot_id=5678")),
            (404, gateway.call(Method::GET, "/session-id?bot_id=9")),
        ]
    };
    for (code, call) in calls() {
        let answer = call.header("origin", PAGE).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), allowed_origin(answer.headers())), (code, Some(PAGE)));
        assert!(answer.headers().contains_key("x-request-id"));
    }
    for (_, call) in calls() {
        let answer = call.header("origin", EVIL_PAGE).send().await.unwrap();
        assert_ne!(answer.status(), 200);
        assert_eq!(allowed_origin(answer.headers()), None);
    }
}

#[tokio::test]
async fn the_bots_own_limit_of_a_body_counts_also_where_it_was_read_before_the_bot_was_known() {
    const LARGER: &str = "[bots.large]\nvendor = \"acme\"\nvendor_id = \"9\"\nvisibility = \"private\"\nowners = \
                          [\"website\"]\nlimits.body = \"64KiB\"";
    let vendor = TestVendor::answering(|seen| match seen.target.contains("GetSession") {
        true => whole(200, "application/json", r#"{"Data":{"SessionID":7},"Success":true}"#),
        false => whole(200, "text/plain", "a3ip87gkr2jh580fptg0i67m3p"),
    });
    let small = |profile| {
        let builder = TestGateway::built_in(&vendor, profile).ids("1", "2").bot(r#"limits.body = "1KiB""#);
        builder.sections(LARGER).start()
    };

    let gateway = small("superseek");
    let (session, large) = (gateway.mint("support").await, gateway.mint("large").await);
    let question =
        |session: &Session| chat(&gateway, &json!({"question": "x".repeat(2000), "session_id": session.token}));
    assert_eq!(told(question(&session)).await, says(413, "body_too_large"));
    assert_eq!(status(question(&large)).await, 200);

    let gateway = small("hottask");
    let open = |serial: &str| {
        let call = gateway.post("/chat/Chatbot/GetSession").header("authorization", gateway.owner.expose());
        call.json(&json!({"serialNumber": serial, "contact": {"name": "x"}, "other": "x".repeat(2000)}))
    };
    vendor.take();
    assert_eq!(status(open("1")).await, 413);
    assert!(vendor.seen().is_empty());
    assert_eq!(status(open("9")).await, 200);
}

#[tokio::test]
async fn a_token_in_a_query_is_in_no_call_to_the_vendor_and_in_no_record() {
    let answer = json!({"conversationId": "c1", "token": "vt-0123456789abcdef0123456789abcdef"}).to_string();
    let vendor = TestVendor::answering(move |_| whole(200, "application/json", answer.clone()));
    let gateway = TestGateway::built_in(&vendor, "directline").start();
    let session = gateway.mint("support").await;
    let stream = |query: String| gateway.call(Method::GET, &format!("/v3/directline/conversations/c1/stream?{query}"));

    assert_eq!(status(stream(format!("watermark=-&t={}", session.token))).await, 200);
    assert_eq!(status(stream(format!("T={}&watermark=-", session.token)).bearer_auth(&session.token)).await, 200);
    let targets: Vec<String> = vendor.take().into_iter().map(|seen| seen.target).skip(1).collect();
    assert_eq!(
        targets,
        ["/v3/directline/conversations/c1/stream?watermark=-&t=vt-0123456789abcdef0123456789abcdef"; 2]
    );
    for (query, code) in [
        (format!("t={0}&t={0}", session.token), 400),
        (format!("t={0}&T={0}", session.token), 400),
        (format!("t={}%", session.token), 400),
        (format!("t={}&x=%ff", session.token), 400),
        (format!("t={}x", session.token), 401),
        (format!("token={}", session.token), 401),
        (format!("t={}", gateway.owner.expose()), 401),
    ] {
        assert_eq!(status(stream(query.clone())).await, code, "{query}");
    }
    assert!(vendor.seen().is_empty());
    // One for the session, and one for each call.
    let text = Value::from(gateway.records_of(10).await).to_string();
    assert!(!text.contains(session.token.rsplit('.').next().unwrap()) && !text.contains("eyJ"), "{text}");
    assert!(!text.contains("ksc_") && !text.contains("vt-0123"), "{text}");
}

#[tokio::test]
async fn a_client_credential_in_the_url_of_a_session_call_is_in_no_record_and_not_sent() {
    let (vendor, gateway, _) = superseek().await;
    let open = |query: String| gateway.call(Method::GET, &format!("/session-id?{query}"));
    let secret = gateway.owner.expose();

    let answer = open(format!("bot_id=1234&api_key={secret}")).send().await.unwrap();
    let token = answer.headers()["keystile-token"].to_str().unwrap().to_owned();
    assert_eq!(answer.text().await.unwrap(), token);
    assert_eq!(vendor.last().target, format!("/session-id?bot_id=1234&api_key={KEY}"));
    assert_eq!(status(open(format!("BOT_ID=support&API%5fKEY={secret}"))).await, 200);
    assert_eq!(vendor.take().len(), 2);

    for (query, code) in [
        (format!("bot_id=1234&api_key={UNKNOWN}"), says(401, "invalid_client")),
        (format!("bot_id=1234&api_key={}", gateway.stranger.expose()), says(403, "owner_required")),
        (format!("bot_id=1234&api_key={token}"), says(401, "credential_required")),
        (format!("bot_id=1234&api_key={secret}&Api_Key={secret}"), says(400, "bad_request")),
        (format!("api_key={secret}"), says(404, "unknown_bot")),
    ] {
        assert_eq!(told(open(query.clone())).await, code, "{query}");
    }
    let two = open(format!("bot_id=1234&api_key={secret}")).bearer_auth(gateway.stranger.expose());
    assert_eq!(told(two).await, says(400, "two_credentials"));
    let page = open(format!("bot_id=1234&api_key={secret}")).header("origin", PAGE);
    assert_eq!(told(page).await, says(403, "client_in_browser"));
    assert!(vendor.seen().is_empty());
    let records = Value::from(gateway.records_of(10).await).to_string();
    assert!(!records.contains("ksc_") && !records.contains(&token), "{records}");
}

#[tokio::test]
async fn a_slot_in_a_body_over_http2_takes_the_same_checks() {
    let (vendor, gateway, session) = superseek().await;
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let chat = |body: &Value| client.post(format!("{}/chat", gateway.url)).json(body);

    let answer = chat(&json!({"question": "hi", "session_id": session.token})).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 200));
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["session_id"], session.token.as_str(), "what its clients send next");
    assert!(!vendor.last().contains(&session.token));
    vendor.take();

    let other = chat(&json!({"session_id": session.token})).bearer_auth(UNKNOWN);
    assert_eq!(told(other).await, says(400, "two_credentials"));
    let client = chat(&json!({"session_id": gateway.owner.expose()}));
    assert_eq!(told(client).await, says(401, "session_token_required"));
    assert_eq!(told(chat(&json!({"question": "x".repeat(300 << 10)}))).await, says(413, "body_too_large"));
    assert!(vendor.seen().is_empty());
}

//! Opening a session: what may be asked for, and what comes back.

use serde_json::{Value, json};

use crate::support::gateway::{KEY, PAGE, TestGateway, claims, refusal};
use crate::support::vendor::{TestVendor, whole};

/// A vendor with a session call of its own, whose answers a test writes.
const OPENING: &str = r#"
title = "Opening"

[open]
call         = "POST /open"
set.header   = { Authorization = "Bearer {key}" }
session      = "/id"
vendor_token = "/token"
expires      = "/ends"

[[route]]
call       = "POST /talk"
set.header = { Authorization = "Bearer {vendor_token}" }
"#;

/// A gateway before a vendor that answers its session call with this.
fn opening(status: u16, answer: Value) -> (TestVendor, TestGateway) {
    let vendor = TestVendor::answering(move |_| whole(status, "application/json", answer.to_string()));
    let gateway = TestGateway::with_profile(&vendor, OPENING).start();
    (vendor, gateway)
}

async fn opened(gateway: &TestGateway, wish: Value) -> Value {
    let answer = gateway.ask("support", wish).await;
    assert_eq!(answer.status(), 201);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn duration_is_30_minutes_to_24_hours_inclusive() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();

    for seconds in [1800, 86_400] {
        let answer = opened(&gateway, json!({"durationInSeconds": seconds})).await;
        assert_eq!(answer["expiresIn"], seconds);
        let claims = claims(answer["token"].as_str().unwrap());
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), seconds);
    }
    for wrong in
        [json!(1799), json!(86_401), json!(0), json!(-1), json!(3600.5), json!("3600"), json!(true), json!(1e30)]
    {
        let answer = gateway.ask("support", json!({"durationInSeconds": wrong})).await;
        assert_eq!(answer.status(), 400, "{wrong}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "invalid_duration");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("1800") && detail.contains("86400"), "the bounds are named: {detail}");
    }
}

#[tokio::test]
async fn no_duration_is_above_the_bots_maximum() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).bot(r#"ttl = { max = "8h" }"#).start();

    assert_eq!(opened(&gateway, json!({"durationInSeconds": 28_800})).await["expiresIn"], 28_800);
    let answer = gateway.ask("support", json!({"durationInSeconds": 28_801})).await;

    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("from 1800 to 28800"));
}

#[tokio::test]
async fn absent_or_null_duration_means_the_default() {
    let of_the_gateway = TestGateway::in_front_of(&TestVendor::echo()).tokens(r#"default_ttl = "90m""#).start();
    let of_the_bot = TestGateway::in_front_of(&TestVendor::echo()).bot(r#"ttl = { default = "2h" }"#).start();

    for wish in [json!({}), json!({"durationInSeconds": null})] {
        assert_eq!(opened(&of_the_gateway, wish.clone()).await["expiresIn"], 5400);
        assert_eq!(opened(&of_the_bot, wish).await["expiresIn"], 7200);
    }
    let bare = of_the_gateway.post("/v1/bots/support/sessions").bearer_auth(of_the_gateway.owner.expose());
    assert_eq!(bare.send().await.unwrap().status(), 201, "a body is not needed");
}

#[tokio::test]
async fn expires_at_is_exactly_exp_in_milliseconds() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    gateway.clock.advance(std::time::Duration::from_millis(999));

    let answer = opened(&gateway, json!({"durationInSeconds": 3600})).await;

    let claims = claims(answer["token"].as_str().unwrap());
    assert_eq!(answer["expiresAt"].as_u64().unwrap(), claims["exp"].as_u64().unwrap() * 1000);
    assert_eq!((&answer["expiresIn"], &answer["tokenType"]), (&json!(3600), &json!("Bearer")));
    assert_eq!((&answer["sessionId"], &answer["conversationId"]), (&claims["sid"], &claims["cid"]));
    let renew = answer["renewAfter"].as_u64().unwrap();
    assert!((2520..=3060).contains(&renew), "70 to 85 % of the life: {renew}");
}

#[tokio::test]
async fn vendor_session_that_ends_sooner_shortens_the_token_and_the_answer_says_so() {
    let (_vendor, gateway) = opening(200, json!({"id": "c1", "token": "vendor-token-0123456789", "ends": 2000}));

    let answer = opened(&gateway, json!({"durationInSeconds": 86_400})).await;

    let claims = claims(answer["token"].as_str().unwrap());
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 2000);
    assert_eq!((&answer["expiresIn"], &answer["conversationId"]), (&json!(2000), &json!("c1")));
    assert_eq!(answer["expiresAt"].as_u64().unwrap(), claims["exp"].as_u64().unwrap() * 1000);
}

#[tokio::test]
async fn vendor_gets_the_granted_duration_and_the_contact_in_one_form() {
    let gateway = TestGateway::chatbotkit().start();
    let contact = json!({"name": "Jo", "email": "jo@example.com", "phone": "(415) 555-2671"});

    let session = gateway.mint_with("support", json!({"durationInSeconds": 5400, "contact": contact})).await;

    let seen = gateway.chatbotkit.as_ref().unwrap().seen().pop().unwrap();
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["durationInSeconds"], 5400);
    assert_eq!(body["contact"], json!({"name": "Jo", "email": "jo@example.com", "phone": "+14155552671"}));
    assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    let claims = claims(&session.token);
    assert_eq!((&claims["name"], &claims["email"]), (&json!("Jo"), &json!("jo@example.com")));
    assert_eq!((&claims["phone_number"], &claims["email_verified"]), (&json!("+14155552671"), &json!(false)));
}

#[tokio::test]
async fn contact_that_is_not_one_is_refused_and_the_vendor_not_asked() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::with_profile(&vendor, OPENING).start();

    for wrong in [
        json!("jo"),
        json!({"email": "jo"}),
        json!({"email": "jo@example.com\r\nx: y"}),
        json!({"email": 7}),
        json!({"phone": "call me"}),
        json!({"name": "a\u{7}b"}),
        json!({"gkc_customerId": "x"}),
    ] {
        let answer = gateway.ask("support", json!({"contact": wrong})).await;
        assert_eq!(refusal(answer).await, (400, "invalid_contact".to_owned()), "{wrong}");
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn null_and_empty_in_a_contact_mean_absent() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();

    let session = gateway.mint_with("support", json!({"contact": {"name": "Jo", "email": null, "phone": ""}})).await;

    let claims = claims(&session.token);
    assert_eq!(claims["name"], "Jo");
    for absent in ["email", "email_verified", "phone_number"] {
        assert!(claims.get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn bot_says_whether_a_contact_is_needed_or_not_taken() {
    let needs = TestGateway::in_front_of(&TestVendor::echo()).bot(r#"contact = "required""#).start();
    let takes_none = TestGateway::in_front_of(&TestVendor::echo()).bot(r#"contact = "none""#).start();
    let (nobody, jo) = (json!({"contact": {"email": ""}}), json!({"contact": {"email": "jo@example.com"}}));
    let invalid = (400, "invalid_contact".to_owned());

    assert_eq!(refusal(needs.ask("support", nobody.clone()).await).await, invalid);
    assert_eq!(refusal(takes_none.ask("support", jo.clone()).await).await, invalid);
    assert_eq!(needs.ask("support", jo).await.status(), 201);
    assert_eq!(takes_none.ask("support", nobody).await.status(), 201);
}

#[tokio::test]
async fn only_user_messages_begin_a_conversation() {
    let gateway = TestGateway::chatbotkit().start();
    let hello = json!({"type": "user", "text": "hello"});

    for wrong in [
        json!({"type": "bot", "text": "x"}),
        json!({"type": "activity", "text": "x"}),
        json!({"text": "x"}),
        json!({"type": "user"}),
        json!({"type": "user", "text": ""}),
        json!({"type": "user", "text": "x", "extensions": {}}),
        json!("hello"),
    ] {
        let answer = gateway.ask("support", json!({"messages": [hello, wrong]})).await;
        assert_eq!(refusal(answer).await, (400, "invalid_messages".to_owned()), "{wrong}");
    }
    assert!(gateway.chatbotkit.as_ref().unwrap().seen().is_empty());
    assert_eq!(opened(&gateway, json!({"messages": [hello]})).await["messages"], json!([hello]));
}

#[tokio::test]
async fn what_the_vendor_has_no_place_for_is_refused_and_not_dropped() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();

    for wish in
        [json!({"messages": [{"type": "user", "text": "hi"}]}), json!({"meta": {"a": 1}}), json!({"visitId": "v1"})]
    {
        assert_eq!(
            refusal(gateway.ask("support", wish.clone()).await).await,
            (400, "not_supported".to_owned()),
            "{wish}"
        );
    }
    let session = gateway.mint_with("support", json!({"messages": [], "contact": {"name": "Jo"}})).await;
    assert_eq!(claims(&session.token)["name"], "Jo", "a contact stays in the claims");
}

#[tokio::test]
async fn what_the_call_does_not_know_is_refused() {
    let gateway = TestGateway::chatbotkit().start();

    for wish in [
        json!({"duration": 3600}),
        json!([]),
        json!({"meta": {"_a": 1}}),
        json!({"meta": []}),
        json!({"origin": "https://evil.test"}),
    ] {
        assert_eq!(
            refusal(gateway.ask("support", wish.clone()).await).await,
            (400, "bad_request".to_owned()),
            "{wish}"
        );
    }
    assert!(gateway.chatbotkit.as_ref().unwrap().seen().is_empty());
}

#[tokio::test]
async fn token_that_would_pass_4_kib_is_not_minted() {
    let (_vendor, gateway) = opening(200, json!({"id": "c1", "token": "t".repeat(3500)}));

    assert_eq!(refusal(gateway.ask("support", json!({})).await).await, (502, "binding_too_large".to_owned()));
}

#[tokio::test]
async fn vendor_that_refuses_our_key_is_502_and_names_no_key() {
    for (status, code) in
        [(401, "vendor_refused_key"), (403, "vendor_refused_key"), (500, "vendor_failed"), (302, "vendor_failed")]
    {
        let (_vendor, gateway) = opening(status, json!({"message": format!("bad key {KEY}")}));
        let answer = gateway.ask("support", json!({})).await;
        assert_eq!(answer.status(), 502, "{status}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(code) && !text.contains(KEY), "{text}");
    }
}

#[tokio::test]
async fn secret_in_the_place_of_a_session_id_is_not_passed_on() {
    let token = "vendor-token-0123456789";
    for id in [KEY.to_owned(), token.to_owned(), format!("c-{KEY}")] {
        let (_vendor, gateway) = opening(200, json!({"id": id, "token": token}));
        let answer = gateway.ask("support", json!({})).await;
        assert_eq!(refusal(answer).await, (502, "vendor_failed".to_owned()), "{id}");
    }
}

#[tokio::test]
async fn chatbotkits_own_clients_get_its_status_and_shape_and_our_token() {
    let gateway = TestGateway::chatbotkit().start();
    let hello = json!([{"type": "user", "text": "hi"}]);

    for bot in ["support", "bot_1"] {
        let call = gateway.post(&format!("/api/v1/bot/{bot}/session/create")).bearer_auth(gateway.owner.expose());
        let answer = call.json(&json!({"durationInSeconds": 1800, "messages": hello})).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
        let headers = answer.headers().clone();
        let body: Value = answer.json().await.unwrap();
        let names: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["id", "conversationId", "token", "expiresAt", "messages"]);
        assert_eq!((&body["id"], &body["messages"]), (&json!("bot_1"), &hello));
        let claims = claims(body["token"].as_str().unwrap());
        assert_eq!(body["expiresAt"].as_u64().unwrap(), claims["exp"].as_u64().unwrap() * 1000);
        assert_eq!(headers["keystile-token"], body["token"].as_str().unwrap());
        assert_eq!(headers["keystile-session"], claims["sid"].as_str().unwrap());
        assert_eq!(headers["keystile-expires-at"], body["expiresAt"].to_string());
    }
}

#[tokio::test]
async fn every_answer_with_a_token_is_no_store() {
    let gateway = TestGateway::chatbotkit().start();
    for path in ["/v1/bots/support/sessions", "/api/v1/bot/support/session/create"] {
        let answer = gateway.post(path).header("origin", PAGE).send().await.unwrap();
        assert!(answer.status().is_success());
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
    }
}

#[tokio::test]
async fn a_member_that_comes_twice_is_refused_and_names_are_read_in_any_case() {
    let gateway = TestGateway::chatbotkit().start();
    let open = |path: &'static str, body: &'static str| {
        let call = gateway.post(path).bearer_auth(gateway.owner.expose());
        call.header("content-type", "application/json").body(body).send()
    };
    let (native, vendors) = ("/v1/bots/support/sessions", "/api/v1/bot/bot_1/session/create");

    for body in [
        r#"{"durationInSeconds":1800,"durationInSeconds":86400}"#,
        r#"{"contact":{"email":"a@b.co","email":"c@d.co"}}"#,
    ] {
        assert_eq!(open(native, body).await.unwrap().status(), 400, "{body}");
        assert_eq!(open(vendors, body).await.unwrap().status(), 400, "{body}");
    }
    let both = r#"{"durationInSeconds":1800,"DurationInSeconds":86400}"#;
    assert_eq!(open(vendors, both).await.unwrap().status(), 400);
    let answer = open(vendors, r#"{"DurationInSeconds":1800}"#).await.unwrap();
    let expires: u64 = answer.headers()["keystile-expires-at"].to_str().unwrap().parse().unwrap();
    assert_eq!(expires, gateway.clock.now().millis() + 1_800_000);
}

#[tokio::test]
async fn a_page_that_opens_too_many_sessions_is_refused_before_its_body_is_read() {
    let gateway = TestGateway::chatbotkit().bot(r#"limits.mint_per_ip = "2/1m""#).start();
    let open = || {
        let call = gateway.post("/v1/bots/support/sessions").header("origin", PAGE);
        call.header("content-type", "application/json").body("no JSON").send()
    };

    assert_eq!(open().await.unwrap().status(), 400);
    assert_eq!(open().await.unwrap().status(), 400, "refused ones count");
    assert_eq!(open().await.unwrap().status(), 429);
}

#[tokio::test]
async fn a_body_that_opens_a_session_is_bounded_by_the_bots_limit() {
    let gateway = TestGateway::chatbotkit().bot(r#"limits.body = "1KiB""#).start();
    let wish = json!({"contact": {"name": "x".repeat(2000)}});

    assert_eq!(refusal(gateway.ask("support", wish).await).await, (413, "body_too_large".to_owned()));
}

//! Who is calling, and may they.

use std::time::Duration;

use http::Method;
use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::gateway::{PAGE, TestGateway, refusal};
use crate::support::vendor::TestVendor;

const PREVIEW: &str = "https://a.preview.example.com";

fn says(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn refused(call: RequestBuilder) -> (u16, String) {
    refusal(call.send().await.unwrap()).await
}

/// The token of a session that a page opened.
async fn minted_by_page(gateway: &TestGateway, page: &str) -> String {
    let answer = gateway.post("/v1/bots/support/sessions").header("origin", page).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn private_bot_is_for_its_owner_only() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let call = || gateway.post("/v1/bots/hidden/sessions");

    assert_eq!(refused(call()).await, says(401, "credential_required"));
    assert_eq!(refused(call().header("origin", PAGE)).await, says(401, "credential_required"));
    assert_eq!(refused(call().bearer_auth(gateway.stranger.expose())).await, says(403, "owner_required"));
    assert_eq!(call().bearer_auth(gateway.owner.expose()).send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn public_bot_is_for_pages_of_its_origins_and_for_its_owner() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let call = || gateway.post("/v1/bots/support/sessions");

    assert_eq!(call().header("origin", PAGE).send().await.unwrap().status(), 201);
    assert_eq!(call().header("origin", PREVIEW).send().await.unwrap().status(), 201);
    assert_eq!(call().bearer_auth(gateway.owner.expose()).send().await.unwrap().status(), 201);
    assert_eq!(refused(call()).await, says(401, "credential_required"));
    assert_eq!(refused(call().header("origin", "https://evil.test")).await, says(403, "origin_not_allowed"));
    assert_eq!(refused(call().header("origin", "null")).await, says(403, "origin_not_allowed"));
    assert_eq!(refused(call().bearer_auth(gateway.stranger.expose())).await, says(403, "owner_required"));
}

#[tokio::test]
async fn pages_mint_only_so_often_from_one_address() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).bot(r#"limits = { mint_per_ip = "2/1m" }"#).start();
    let mint = || gateway.post("/v1/bots/support/sessions").header("origin", PAGE).send();

    assert_eq!(mint().await.unwrap().status(), 201);
    assert_eq!(mint().await.unwrap().status(), 201);
    let third = mint().await.unwrap();
    let wait: u64 = third.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((30..=31).contains(&wait), "{wait}");
    assert_eq!(refusal(third).await, says(429, "rate_limited"));
    assert_eq!(
        gateway.ask("support", json!({})).await.status(),
        201,
        "an owner's server is one address for all visitors"
    );
    gateway.clock.advance(Duration::from_secs(wait));
    assert_eq!(mint().await.unwrap().status(), 201);
}

#[tokio::test]
async fn owners_mints_count_for_the_visitors_address_that_it_gives() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).bot(r#"limits = { mint_per_ip = "1/1m" }"#).start();
    let ask = |visitor: &'static str| gateway.ask("hidden", json!({"visitorAddress": visitor}));

    assert_eq!(ask("192.0.2.1").await.status(), 201);
    assert_eq!(refusal(ask("192.0.2.1").await).await, says(429, "rate_limited"));
    assert_eq!(ask("192.0.2.2").await.status(), 201);
    assert_eq!(refusal(ask("somewhere").await).await, says(400, "bad_request"));
}

#[tokio::test]
async fn two_different_credentials_are_an_error_and_the_same_twice_is_one() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let (one, other) = (gateway.mint("support").await, gateway.mint("support").await);
    let call = || gateway.post("/echo").bearer_auth(&one.token).json(&json!({}));

    assert_eq!(refused(call().bearer_auth(&other.token)).await, says(400, "two_credentials"));
    assert_eq!(refused(call().bearer_auth(gateway.owner.expose())).await, says(400, "two_credentials"));
    assert!(vendor.seen().is_empty());
    assert_eq!(call().bearer_auth(&one.token).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn client_secret_that_comes_from_a_page_is_refused_unless_it_is_meant_for_browsers() {
    let widget = NewClient::make("widget", &Entropy::system());
    let section = format!("[clients.widget]\nbrowser = true\nsecret_sha256 = \"{}\"", widget.secret_sha256);
    let bot =
        "[bots.open]\nvendor = \"acme\"\nvendor_id = \"bot_3\"\nvisibility = \"private\"\nowners = [\"widget\"]\n";
    let bot = format!("{bot}origins = [\"{PAGE}\"]\n{section}");
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).sections(&bot).start();
    let mint = |bot: &str, secret: &str| gateway.post(&format!("/v1/bots/{bot}/sessions")).bearer_auth(secret);

    let leaked = mint("support", gateway.owner.expose()).header("origin", PAGE);
    assert_eq!(refused(leaked).await, says(403, "client_in_browser"));
    let meant = mint("open", widget.secret.expose()).header("origin", PAGE).send().await.unwrap();
    assert_eq!(meant.status(), 201);
    let elsewhere = mint("open", widget.secret.expose()).header("origin", "https://evil.test");
    assert_eq!(refused(elsewhere).await, says(403, "origin_not_allowed"));
}

#[tokio::test]
async fn unknown_name_and_wrong_secret_are_the_same_refusal_and_told_before_anything_else() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let random = "a".repeat(43);

    for secret in [format!("ksc_website_{random}"), format!("ksc_nobody_{random}"), "ksc_".to_owned()] {
        for bot in ["support", "unknown"] {
            let call = gateway.post(&format!("/v1/bots/{bot}/sessions")).bearer_auth(&secret);
            let broken = call.header("content-type", "application/json").body("{");
            assert_eq!(refused(broken).await, says(401, "invalid_client"), "{bot}");
        }
    }
    let nobody = gateway.post("/v1/bots/hidden/sessions").header("content-type", "text/plain").body("x");
    assert_eq!(refused(nobody).await, says(401, "credential_required"), "no body is read for nobody");
}

#[tokio::test]
async fn client_secret_opens_sessions_and_makes_no_calls() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();

    let answer = gateway.post("/echo").bearer_auth(gateway.owner.expose()).json(&json!({})).send().await.unwrap();

    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer "));
    assert_eq!(refusal(answer).await, says(401, "session_token_required"));
    assert_eq!(refused(gateway.post("/echo").json(&json!({}))).await, says(401, "credential_required"));
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn session_token_opens_no_sessions() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint("support").await;

    for bot in ["support", "hidden"] {
        let call = gateway.post(&format!("/v1/bots/{bot}/sessions")).bearer_auth(&session.token);
        assert_eq!(refused(call.header("origin", PAGE)).await, says(401, "credential_required"));
    }
}

#[tokio::test]
async fn token_that_was_minted_for_a_page_works_from_that_page_only() {
    for by_page in [true, false] {
        let vendor = TestVendor::echo();
        let gateway = TestGateway::in_front_of(&vendor).start();
        let token = match by_page {
            true => minted_by_page(&gateway, PAGE).await,
            false => gateway.mint_with("support", json!({"origin": PAGE})).await.token,
        };
        let call = || gateway.call(Method::GET, "/read").bearer_auth(&token);
        let refusal = says(403, "origin_not_allowed");
        assert_eq!(refused(call()).await, refusal);
        assert_eq!(refused(call().header("origin", PREVIEW)).await, refusal, "another page of the same bot");
        assert_eq!(refused(call().header("sec-fetch-site", "cross-site")).await, refusal);
        assert!(vendor.seen().is_empty());
        assert_eq!(refused(call().header("sec-fetch-site", "same-origin")).await, refusal, "the gateway's own page");
        assert_eq!(call().header("origin", PAGE).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_absent_origin_is_the_gateways_own_where_the_browser_says_same_origin() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).public_url(PAGE).start();
    let token = minted_by_page(&gateway, PAGE).await;
    let call = || gateway.call(Method::GET, "/read").bearer_auth(&token);

    assert_eq!(call().header("sec-fetch-site", "same-origin").send().await.unwrap().status(), 200);
    assert_eq!(refused(call().header("sec-fetch-site", "same-site")).await, says(403, "origin_not_allowed"));
}

#[tokio::test]
async fn origin_of_a_token_is_asked_again_of_the_bots_present_list() {
    let vendor = TestVendor::echo();
    let bot = |origin: &str| {
        let lines =
            "[bots.shop]\nvendor = \"acme\"\nvendor_id = \"bot_3\"\nvisibility = \"private\"\nowners = [\"website\"]";
        format!("{lines}\norigins = [\"{origin}\"]")
    };
    let before = TestGateway::in_front_of(&vendor).sections(&bot(PAGE)).public_url(PAGE).start();
    let token = before.mint_with("shop", json!({"origin": PAGE})).await.token;
    let after =
        TestGateway::in_front_of(&vendor).sections(&bot("https://new.example.com")).in_place_of(&before).start();

    for (name, value) in [("origin", PAGE), ("sec-fetch-site", "same-origin")] {
        let call = |gateway: &TestGateway| gateway.call(Method::GET, "/read").bearer_auth(&token).header(name, value);
        assert_eq!(call(&before).send().await.unwrap().status(), 200);
        assert_eq!(refused(call(&after)).await, says(403, "origin_not_allowed"), "{name}");
    }
}

#[tokio::test]
async fn token_without_a_page_works_from_the_bots_pages_only() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint("support").await;
    let call = |origin: &str| gateway.call(Method::GET, "/read").bearer_auth(&session.token).header("origin", origin);

    assert_eq!(call(PAGE).send().await.unwrap().status(), 200);
    assert_eq!(refused(call("https://evil.test")).await, says(403, "origin_not_allowed"));
    assert_eq!(refused(call("null")).await, says(403, "origin_not_allowed"));
}

#[tokio::test]
async fn failed_credentials_are_limited_by_address_and_a_good_one_still_passes() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).server("failed_credentials = \"3/1m\"").start();
    let session = gateway.mint("support").await;
    let read = |token: &str| gateway.call(Method::GET, "/read").bearer_auth(token);

    for _ in 0..3 {
        assert_eq!(refused(read("forged")).await, says(401, "invalid_token"));
    }
    let fourth = read("ksc_website_guess").send().await.unwrap();
    assert!(fourth.headers().contains_key("retry-after"));
    assert_eq!(refusal(fourth).await, says(429, "too_many_failures"));
    assert_eq!(read(&session.token).send().await.unwrap().status(), 200);
    assert_eq!(gateway.ask("support", json!({})).await.status(), 201);
    gateway.clock.advance(Duration::from_secs(20));
    assert_eq!(refused(read("forged")).await, says(401, "invalid_token"), "the limit lets go again");
}

#[tokio::test]
async fn expired_token_is_no_attempt_at_anything() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).server("failed_credentials = \"1/1h\"").start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_secs(4000));

    for _ in 0..3 {
        let call = gateway.call(Method::GET, "/read").bearer_auth(&session.token);
        assert_eq!(refused(call).await, says(401, "token_expired"));
    }
}

//! What a session is bound to: its conversation, its bot, its vendor, and the configuration that it was opened under.

use http::Method;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::gateway::{PAGE, Session, TestGateway, refusal};
use crate::support::vendor::{TestVendor, whole};

fn says(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn refused(call: RequestBuilder) -> (u16, String) {
    refusal(call.send().await.unwrap()).await
}

/// Vendor `other`, which stands beside `acme`, and a bot `sales` of this vendor with this id.
fn sales(url: &str, keys: &str, vendor: &str, id: &str) -> String {
    format!(
        "[vendors.other]\nprofile = \"./plain.toml\"\nbase_url = \"{url}\"\nmount = \"/other\"\nkeys = [{keys}]\n\
         [bots.sales]\nvendor = \"{vendor}\"\nvendor_id = \"{id}\"\nvisibility = \"private\"\nowners = [\"website\"]\n"
    )
}

#[tokio::test]
async fn token_makes_calls_of_its_own_session_only() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let (own, other) = (gateway.mint("support").await, gateway.mint("support").await);
    let say =
        |id: &str| gateway.post(&format!("/sessions/{id}/say")).bearer_auth(&own.token).json(&json!({"text": "hi"}));

    assert_eq!(refused(say(&other.id)).await, says(403, "wrong_session"));
    assert_eq!(refused(say(&own.id.to_uppercase())).await, says(403, "wrong_session"));
    assert!(vendor.seen().is_empty());
    assert_eq!(say(&own.id).send().await.unwrap().status(), 200);
    assert_eq!(serde_json::from_slice::<Value>(&vendor.last().body).unwrap()["session_id"], own.id);
}

#[tokio::test]
async fn chatbotkits_conversation_is_the_tokens_own_by_either_name() {
    let gateway = TestGateway::chatbotkit().start();
    let (own, other) = (gateway.mint("support").await, gateway.mint("support").await);
    let list = |id: &str| {
        gateway.call(Method::GET, &format!("/api/v1/conversation/{id}/message/list")).bearer_auth(&own.token)
    };

    assert_eq!(list(&own.conversation).send().await.unwrap().status(), 200);
    assert_eq!(list(&own.id).send().await.unwrap().status(), 200);
    assert_eq!(refused(list(&other.conversation)).await, says(403, "NOT_AUTHORIZED"));
    assert_eq!(refused(list(&other.id)).await, says(403, "NOT_AUTHORIZED"));
}

#[tokio::test]
async fn token_makes_no_calls_to_another_vendor() {
    let (vendor, other) = (TestVendor::echo(), TestVendor::echo());
    let gateway = TestGateway::in_front_of(&vendor)
        .sections(&sales(&other.url, "{ env = \"OTHER_KEY\" }", "other", "bot_9"))
        .start();
    let (support, sales) = (gateway.mint("support").await, gateway.mint("sales").await);

    assert_eq!(
        refused(gateway.call(Method::GET, "/other/read").bearer_auth(&support.token)).await,
        says(403, "wrong_bot")
    );
    assert_eq!(refused(gateway.call(Method::GET, "/read").bearer_auth(&sales.token)).await, says(403, "wrong_bot"));
    assert!(vendor.seen().is_empty() && other.seen().is_empty());
    let answer = gateway.call(Method::GET, "/other/read").bearer_auth(&sales.token).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), other.last().target.as_str()), (200, "/read"));
}

#[tokio::test]
async fn session_token_names_a_contact_only_where_the_session_has_none() {
    for kept in ["claims", "sealed", "omit"] {
        let gateway = TestGateway::chatbotkit().tokens(&format!("contact = \"{kept}\"")).start();
        let nobody = gateway.mint("support").await;
        let known = gateway.mint_with("support", json!({"contact": {"email": "jo@example.com"}})).await;
        let upsert = |session: &Session| {
            let path = format!("/api/v1/conversation/{}/contact/upsert", session.conversation);
            gateway.post(&path).bearer_auth(&session.token).json(&json!({"email": "eve@example.com"}))
        };

        assert_eq!(upsert(&nobody).send().await.unwrap().status(), 200, "{kept}");
        assert_eq!(refused(upsert(&known)).await, says(403, "NOT_AUTHORIZED"), "{kept}");
    }
}

#[tokio::test]
async fn session_token_names_no_contact_where_the_bot_takes_none() {
    let gateway = TestGateway::chatbotkit().bot("contact = \"none\"").start();
    let session = gateway.mint("support").await;
    let path = format!("/api/v1/conversation/{}/contact/upsert", session.conversation);
    let upsert = gateway.post(&path).bearer_auth(&session.token).json(&json!({"email": "eve@example.com"}));
    assert_eq!(refused(upsert).await, says(400, "BAD_REQUEST"));
    assert!(gateway.chatbotkit.as_ref().unwrap().seen().iter().all(|seen| !seen.path.ends_with("/upsert")));
}

#[tokio::test]
async fn any_replica_serves_any_token_without_a_look_up() {
    let vendor = TestVendor::echo();
    let first = TestGateway::in_front_of(&vendor).start();
    let second = TestGateway::in_front_of(&vendor).in_place_of(&first).start();

    let session = first.mint("support").await;

    assert_eq!(second.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn session_of_an_earlier_configuration_is_moved_and_its_call_not_sent() {
    let (vendor, elsewhere) = (TestVendor::echo(), TestVendor::echo());
    let (old, new) = ("{ env = \"OTHER_KEY\" }", "{ env = \"KEY\" }");
    let before = TestGateway::in_front_of(&vendor).sections(&sales(&vendor.url, old, "other", "bot_9")).start();
    let token = before.mint("sales").await.token;

    for (what, sections) in [
        ("another address", sales(&elsewhere.url, old, "other", "bot_9")),
        ("another key", sales(&vendor.url, new, "other", "bot_9")),
        ("another bot id", sales(&vendor.url, old, "other", "bot_8")),
        ("another vendor", sales(&vendor.url, old, "acme", "bot_9")),
        ("no such bot", sales(&vendor.url, old, "other", "bot_9").replace("bots.sales", "bots.deals")),
    ] {
        let after = TestGateway::in_front_of(&vendor).sections(&sections).in_place_of(&before).start();
        let answer = after.call(Method::GET, "/other/read").bearer_auth(&token).send().await.unwrap();
        assert_eq!(refusal(answer).await, (409, "session_moved".to_owned()), "{what}");
    }
    let other_profile = sales(&vendor.url, old, "other", "bot_9").replace("./plain.toml", "openai");
    let after = TestGateway::in_front_of(&vendor).sections(&other_profile).in_place_of(&before).start();
    let answer = after.post("/other/v1/chat/completions").bearer_auth(&token).json(&json!({})).send().await.unwrap();
    assert_eq!(refusal(answer).await.0, 409, "another profile");
    assert!(vendor.seen().is_empty() && elsewhere.seen().is_empty());
    let after = TestGateway::in_front_of(&vendor);
    let after =
        after.sections(&sales(&vendor.url, &format!("{new}, {old}"), "other", "bot_9")).in_place_of(&before).start();
    assert_eq!(after.call(Method::GET, "/other/read").bearer_auth(&token).send().await.unwrap().status(), 200);
    assert_eq!(vendor.last().headers["authorization"], "Bearer sk-other-fedcba9876543210fedcba9876543210");
}

#[tokio::test]
async fn session_ends_with_the_right_of_whoever_opened_it() {
    let vendor = TestVendor::echo();
    let bot = |visibility: &str, owner: &str| {
        let bot = "[bots.shop]\nvendor = \"acme\"\nvendor_id = \"bot_3\"";
        format!("{bot}\nvisibility = \"{visibility}\"\nowners = [\"{owner}\"]\norigins = [\"{PAGE}\"]")
    };
    let before = TestGateway::in_front_of(&vendor).sections(&bot("public", "website")).start();
    let owners = before.mint("shop").await.token;
    let answer = before.post("/v1/bots/shop/sessions").header("origin", PAGE).send().await.unwrap();
    let pages = answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();

    let verdicts = async |visibility: &str, owner: &str| {
        let after = TestGateway::in_front_of(&vendor).sections(&bot(visibility, owner)).in_place_of(&before).start();
        let read = |token: &str| after.call(Method::GET, "/read").bearer_auth(token).header("origin", PAGE).send();
        [read(&owners).await.unwrap().status().as_u16(), read(&pages).await.unwrap().status().as_u16()]
    };
    assert_eq!(verdicts("public", "website").await, [200, 200]);
    assert_eq!(verdicts("private", "website").await, [200, 403], "the bot is private now");
    assert_eq!(verdicts("public", "stranger").await, [403, 200], "the bot has another owner now");
}

#[tokio::test]
async fn a_vendors_session_id_that_no_path_can_hold_is_not_given_to_clients() {
    let profile = r#"
title = "Odd"
[open]
call    = "POST /open"
session = "/id"
[[route]]
call       = "POST /sessions/{session}/say"
set.header = { Authorization = "Bearer {key}" }
set.body   = { session = "{session}" }
allow      = { header = [], body = ["text"] }
"#;
    let vendor = TestVendor::answering(|_| whole(200, "application/json", r#"{"id":"conv:1/2"}"#));
    let gateway = TestGateway::with_profile(&vendor, profile).start();
    let session = gateway.mint("support").await;

    assert_eq!(session.conversation, session.id);
    let say = gateway.post(&format!("/sessions/{}/say", session.conversation)).bearer_auth(&session.token);
    assert_eq!(say.json(&json!({"text": "hi"})).send().await.unwrap().status(), 200);
    assert_eq!(vendor.last().body, r#"{"text":"hi","session":"conv:1/2"}"#);
}

//! `Idempotency-Key`: a session that was asked for twice is opened once.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::fleet::{Fleet, SUPERSEEK};
use crate::support::gateway::{PAGE, TestGateway, refusal};
use crate::support::redis::TestRedis;
use crate::support::vendor::{Answer, TestVendor, streamed, whole};
use crate::support::{eventually, until};

const PATH: &str = "/v1/bots/support/sessions";
const KEY: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

/// An answer without what every answer has of its own.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

async fn told(answer: Response) -> (Told, bool) {
    let (status, is_replay) = (answer.status().as_u16(), answer.headers().contains_key("idempotent-replayed"));
    let own = ["x-request-id", "date", "idempotent-replayed", "ratelimit"];
    let headers = answer.headers().iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    (Told { status, headers, body: answer.text().await.unwrap() }, is_replay)
}

fn ask(gateway: &TestGateway, bot: &str, key: &str, body: &Value) -> RequestBuilder {
    let call = gateway.post(&format!("/v1/bots/{bot}/sessions")).bearer_auth(gateway.owner.expose());
    call.header("idempotency-key", key).json(body)
}

async fn asked(gateway: &TestGateway, key: &str) -> (Told, bool) {
    told(ask(gateway, "support", key, &json!({})).send().await.unwrap()).await
}

fn token_of(told: &Told) -> String {
    assert_eq!(told.status, 201, "{told:?}");
    serde_json::from_str::<Value>(&told.body).unwrap()["token"].as_str().unwrap().to_owned()
}

fn opening() -> Answer {
    let open = json!({"conversationId": "conv_1", "token": "vt-0123456789abcdef", "expiresAt": 4_000_000_000_000_u64});
    whole(200, "application/json", open.to_string())
}

/// A vendor whose first session call is answered when the test says so, and the gateway in front of it.
fn slow() -> (TestVendor, TestGateway, mpsc::Sender<Bytes>) {
    let (answer, sender) = streamed("application/json");
    let answer = Mutex::new(Some(answer));
    let vendor = TestVendor::answering(move |_| answer.lock().take().unwrap_or_else(opening));
    let gateway = TestGateway::built_in(&vendor, "chatbotkit").start();
    (vendor, gateway, sender)
}

fn part() -> Bytes {
    let open = json!({"conversationId": "conv_1", "token": "vt-0123456789abcdef", "expiresAt": 4_000_000_000_000_u64});
    open.to_string().into()
}

#[tokio::test]
async fn the_same_call_with_the_same_key_gets_the_first_answer_byte_for_byte() {
    let gateway = TestGateway::chatbotkit().start();

    let (first, is_replay) = asked(&gateway, KEY).await;
    assert!(!is_replay);
    gateway.clock.advance(Duration::from_secs(300));
    let (again, is_replay) = asked(&gateway, KEY).await;
    assert_eq!((&again, is_replay), (&first, true));
    assert_eq!(asked(&gateway, &format!("\"{KEY}\"")).await, (again, true), "quoted, it is the same");

    let id = serde_json::from_str::<Value>(&first.body).unwrap()["sessionId"].as_str().unwrap().to_owned();
    let token = token_of(&first);
    let ended = gateway.call(Method::DELETE, &format!("/v1/sessions/{id}")).bearer_auth(token).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    assert_eq!(asked(&gateway, KEY).await, (first, true), "ended or not");
    let record = gateway.records_of(5).await.pop().unwrap();
    assert_eq!((&record["status"], &record["session"]), (&json!(201), &json!(id)), "{record}");

    gateway.clock.advance(Duration::from_secs(301));
    let (later, is_replay) = asked(&gateway, KEY).await;
    assert!(!is_replay && later.status == 201 && !later.body.contains(&id), "after ten minutes it is another call");
}

#[tokio::test]
async fn a_vendors_session_call_is_made_once_too() {
    let fleet = Fleet::start();
    let owner = fleet.gateway.owner.expose();
    let chatbotkit = async |key: &str, body: Value| {
        let call = fleet.gateway.post("/api/v1/bot/bot_1/session/create").bearer_auth(owner);
        told(call.header("idempotency-key", key).json(&body).send().await.unwrap()).await
    };
    let superseek = async |query: &str| {
        let call = fleet.gateway.call(Method::GET, &format!("/session-id?bot_id={SUPERSEEK}&api_key={owner}{query}"));
        told(call.header("idempotency-key", KEY).send().await.unwrap()).await
    };

    let (first, _) = chatbotkit(KEY, json!({})).await;
    assert!(first.status == 200 && first.headers.iter().any(|(name, _)| name == "keystile-token"), "{first:?}");
    assert_eq!(chatbotkit(KEY, json!({})).await, (first, true));
    assert_eq!(chatbotkit(KEY, json!({"durationInSeconds": 1800})).await.0.status, 422);
    let (first, is_replay) = superseek("").await;
    assert_eq!((first.status, is_replay), (200, false), "{first:?}");
    assert_eq!(superseek("").await, (first, true));
    assert_eq!(superseek("&x=1").await.0.status, 422);
}

#[tokio::test]
async fn a_key_that_was_used_for_another_call_is_refused() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let (first, _) = asked(&gateway, KEY).await;

    let other = ask(&gateway, "support", KEY, &json!({"durationInSeconds": 1800})).send().await.unwrap();
    assert_eq!(refusal(other).await, (422, "key_reused".to_owned()));

    assert_eq!(asked(&gateway, KEY).await, (first, true));
    let (hidden, is_replay) = told(ask(&gateway, "hidden", KEY, &json!({})).send().await.unwrap()).await;
    assert_eq!((hidden.status, is_replay), (201, false), "for another bot it is another key");
}

#[tokio::test]
async fn a_call_that_is_being_made_is_not_made_again() {
    let (vendor, gateway, sender) = slow();
    let first = tokio::spawn(ask(&gateway, "support", KEY, &json!({})).send());
    eventually("the vendor's call", || vendor.seen().len() == 1).await;

    let second = ask(&gateway, "support", KEY, &json!({})).send().await.unwrap();
    assert_eq!(second.headers()["retry-after"], "1");
    assert_eq!(refusal(second).await, (409, "in_flight".to_owned()));

    sender.send(part()).await.unwrap();
    drop(sender);
    let (first, _) = told(first.await.unwrap().unwrap()).await;
    token_of(&first);
    assert_eq!(asked(&gateway, KEY).await, (first, true));
    assert_eq!(vendor.seen().len(), 1);
}

#[tokio::test]
async fn a_caller_who_left_gets_the_answer_when_it_asks_again() {
    let (vendor, gateway, sender) = slow();
    let client = reqwest::Client::new();
    let call = client.post(format!("{}{PATH}", gateway.url)).bearer_auth(gateway.owner.expose());
    let first = tokio::spawn(call.header("idempotency-key", KEY).json(&json!({})).send());
    eventually("the vendor's call", || vendor.seen().len() == 1).await;
    first.abort();
    drop((first.await, client));
    eventually("the record of the call that was left", || gateway.records().len() == 1).await;

    sender.send(part()).await.unwrap();
    drop(sender);

    let done = async || Some(asked(&gateway, KEY).await).filter(|(answer, _)| answer.status != 409);
    let (answer, is_replay) = until("it is not in flight any more", done).await;
    token_of(&answer);
    assert!(is_replay && vendor.seen().len() == 1);
}

#[tokio::test]
async fn an_opening_that_failed_can_be_tried_again_with_the_same_key() {
    let answers = Mutex::new(VecDeque::from([500, 503]));
    let vendor = TestVendor::answering(move |_| match answers.lock().pop_front() {
        Some(status) => whole(status, "application/json", "{}"),
        None => opening(),
    });
    let gateway = TestGateway::built_in(&vendor, "chatbotkit").start();

    for _ in 0..2 {
        assert_eq!(asked(&gateway, KEY).await.0.status, 502);
    }
    let wrong = ask(&gateway, "support", KEY, &json!({"durationInSeconds": 1})).send().await.unwrap();
    assert_eq!(refusal(wrong).await, (400, "invalid_duration".to_owned()));
    let (first, is_replay) = asked(&gateway, KEY).await;
    assert!(!is_replay);
    token_of(&first);
    assert_eq!(asked(&gateway, KEY).await, (first, true));
    assert_eq!(vendor.seen().len(), 3);
}

#[tokio::test]
async fn the_same_key_of_another_client_is_another_key() {
    let shared = "[bots.shared]\nvendor = \"acme\"\nvendor_id = \"bot_3\"\nvisibility = \"public\"\n";
    let shared = format!("{shared}origins = [\"{PAGE}\"]\nowners = [\"website\", \"stranger\"]\n");
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).sections(&shared).start();
    let mut tokens = Vec::new();

    for credential in [Some(&gateway.owner), Some(&gateway.stranger), None] {
        let call = gateway.post("/v1/bots/shared/sessions").header("idempotency-key", KEY);
        let call = match credential {
            Some(secret) => call.bearer_auth(secret.expose()),
            None => call.header("origin", PAGE),
        };
        let (first, is_replay) = told(call.try_clone().unwrap().send().await.unwrap()).await;
        assert!(!is_replay);
        tokens.push(token_of(&first));
        assert_eq!(told(call.send().await.unwrap()).await, (first, true));
    }

    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 3);
}

#[tokio::test]
async fn a_pages_key_is_its_own_and_repeating_it_counts() {
    let limits = "limits = { mint_per_ip = \"4/1h\", per_bot = \"600/1m\" }";
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).bot(limits).start();
    let mint = |origin: &str| gateway.post(PATH).header("origin", origin).header("idempotency-key", KEY).send();

    let (first, _) = told(mint(PAGE).await.unwrap()).await;
    let again = mint(PAGE).await.unwrap();
    let exposed = again.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
    assert!(exposed.contains("Idempotent-Replayed"), "{exposed}");
    assert_eq!(told(again).await, (first, true));
    let (other, is_replay) = told(mint("https://a.preview.example.com").await.unwrap()).await;
    assert_eq!((other.status, is_replay), (201, false));
    assert_eq!(mint(PAGE).await.unwrap().status(), 201);
    assert_eq!(refusal(mint(PAGE).await.unwrap()).await, (429, "rate_limited".to_owned()));
}

/// Anybody can be a page: what the store keeps of them has a bound.
#[tokio::test]
async fn of_a_pages_long_opening_it_is_kept_that_it_was_made_and_of_an_owners_the_answer() {
    let gateway = TestGateway::chatbotkit().start();
    let long = json!({"messages": [{"type": "user", "text": "x".repeat(20 << 10)}]});
    let page = |key: &str, body: &Value| {
        let call = gateway.post(PATH).header("origin", PAGE).header("idempotency-key", key);
        call.json(body).send()
    };
    for (key, body, again) in [("short", &json!({}), (201, "")), ("long", &long, (409, "maybe_sent"))] {
        assert_eq!(page(key, body).await.unwrap().status(), 201, "{key}");
        let (status, code) = refusal(page(key, body).await.unwrap()).await;
        assert_eq!((status, code.as_str()), again, "{key}");
    }
    let (first, _) = told(ask(&gateway, "support", KEY, &long).send().await.unwrap()).await;
    let (again, is_replay) = told(ask(&gateway, "support", KEY, &long).send().await.unwrap()).await;
    assert!(again == first && is_replay);
}

#[tokio::test]
async fn a_page_may_send_a_key_where_something_is_changed() {
    let gateway = TestGateway::chatbotkit().start();
    for (path, method, is_allowed) in [
        (PATH, "POST", true),
        ("/api/v1/bot/support/session/create", "POST", true),
        ("/api/v1/conversation/c/complete", "POST", true),
        ("/api/v1/conversation/c/message/list", "GET", false),
        ("/v1/sessions/s/renew", "POST", false),
    ] {
        let call = gateway.call(Method::OPTIONS, path).header("origin", PAGE);
        let answer = call.header("access-control-request-method", method).send().await.unwrap();
        let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap();
        assert_eq!(allowed.contains("idempotency-key"), is_allowed, "{path}: {allowed}");
    }
}

#[tokio::test]
async fn a_header_that_is_no_key_is_refused() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    for wrong in ["", "\"\"", "\"open", &"k".repeat(256)] {
        let answer = ask(&gateway, "support", wrong, &json!({})).send().await.unwrap();
        assert_eq!(refusal(answer).await, (400, "bad_request".to_owned()), "{wrong}");
    }
    let twice = ask(&gateway, "support", KEY, &json!({})).header("idempotency-key", KEY).send().await.unwrap();
    assert_eq!(refusal(twice).await, (400, "bad_request".to_owned()));
}

/// Whether any part of the token stands in `stored`.
fn holds(stored: &[u8], token: &str) -> bool {
    token.split('.').any(|part| stored.windows(part.len()).any(|window| window == part.as_bytes()))
}

#[tokio::test]
async fn the_file_of_the_store_holds_neither_token_nor_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("[store]\nurl = \"sqlite:{}\"", folder.path().join("k.db").display());
    let gateway = TestGateway::chatbotkit().sections(&store).start();
    let (first, _) = asked(&gateway, KEY).await;
    assert!(asked(&gateway, KEY).await.1);

    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let stored: Vec<u8> = files.iter().flat_map(|file| std::fs::read(file).unwrap()).collect();

    let id = serde_json::from_str::<Value>(&first.body).unwrap()["sessionId"].as_str().unwrap().to_owned();
    assert!(stored.windows(id.len()).any(|window| window == id.as_bytes()), "the session is there");
    assert!(!holds(&stored, &token_of(&first)) && !stored.windows(KEY.len()).any(|window| window == KEY.as_bytes()));
}

#[tokio::test]
async fn a_replica_answers_what_the_other_answered_and_their_redis_holds_no_token() {
    let (vendor, redis) = (TestVendor::answering(|_| opening()), TestRedis::start());
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let one = TestGateway::built_in(&vendor, "chatbotkit").sections(&store).start();
    let two = TestGateway::built_in(&vendor, "chatbotkit").sections(&store).in_place_of(&one).start();

    let (first, is_replay) = asked(&one, KEY).await;
    assert!(!is_replay);
    assert_eq!(asked(&two, KEY).await, (first.clone(), true));
    assert_eq!(vendor.seen().len(), 1);
    let other = ask(&two, "support", KEY, &json!({"durationInSeconds": 1800})).send().await.unwrap();
    assert_eq!(refusal(other).await, (422, "key_reused".to_owned()));

    let token = token_of(&first);
    let keys = redis.ask(&["KEYS", "*answer*"]);
    let names: Vec<&str> = keys.lines().filter(|line| line.contains("answer")).collect();
    assert_eq!(names.len(), 1, "{keys}");
    let kept = redis.ask(&["HGETALL", names[0]]);
    assert!(kept.contains("digest") && kept.len() > 500, "{kept}");
    assert!(!holds(kept.as_bytes(), &token) && !kept.contains("expiresAt") && !keys.contains(KEY));
}

#[tokio::test]
async fn while_the_store_is_away_a_call_that_is_to_be_made_once_is_not_made() {
    let (vendor, mut redis) = (TestVendor::answering(|_| opening()), TestRedis::start());
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let gateway = TestGateway::built_in(&vendor, "chatbotkit").sections(&store).start();
    redis.stop();

    let refused = ask(&gateway, "support", KEY, &json!({})).send().await.unwrap();

    assert_eq!(refusal(refused).await, (503, "store_unavailable".to_owned()));
    assert!(vendor.seen().is_empty());
}

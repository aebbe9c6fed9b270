//! Two replicas and one Redis: what is done on one holds on the other, also when the Redis was away.

use std::time::{Duration, Instant};

use http::Method;
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::gateway::{Session, TestGateway, refusal};
use crate::support::redis::TestRedis;
use crate::support::vendor::{TestVendor, streamed, whole};
use crate::support::{eventually, until, within_a_second};

/// Two gateways with the same keys, in front of one vendor.
fn replicas(vendor: &TestVendor, redis: &TestRedis) -> (TestGateway, TestGateway) {
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let limits = "limits = { mint_per_ip = \"10000/1m\", per_bot = \"10000/1m\", streams = \"off\" }";
    let one = TestGateway::built_in(vendor, "chatbotkit").sections(&store).bot(limits).start();
    let two = TestGateway::built_in(vendor, "chatbotkit").sections(&store).bot(limits).in_place_of(&one).start();
    (one, two)
}

fn vendor() -> TestVendor {
    let open = json!({"conversationId": "conv_1", "token": "vt-0123456789abcdef", "expiresAt": 4_000_000_000_000_u64})
        .to_string();
    TestVendor::answering(move |seen| {
        if seen.target.contains("/session/create") {
            return whole(200, "application/json", open.clone());
        }
        whole(200, "application/json", "{}")
    })
}

async fn send(gateway: &TestGateway, method: Method, path: &str, credential: &str) -> Response {
    gateway.call(method, path).bearer_auth(credential).send().await.unwrap()
}

async fn call(gateway: &TestGateway, session: &Session) -> u16 {
    let call = gateway.post("/api/v1/conversation/conv_1/complete").bearer_auth(&session.token);
    call.json(&json!({"text": "hi"})).send().await.unwrap().status().as_u16()
}

async fn end(gateway: &TestGateway, session: &Session) {
    let path = format!("/v1/sessions/{}", session.id);
    assert_eq!(send(gateway, Method::DELETE, &path, &session.token).await.status(), 204);
}

async fn until_refused(gateway: &TestGateway, session: &Session) {
    until("it is refused", async || (call(gateway, session).await != 200).then_some(())).await;
}

#[tokio::test]
async fn a_session_that_was_ended_on_one_replica_is_refused_by_the_other_within_a_second() {
    let (vendor, redis) = (vendor(), TestRedis::start());
    let (one, two) = replicas(&vendor, &redis);
    let mut times = Vec::new();
    for _ in 0..100 {
        let session = one.mint("support").await;
        assert_eq!(call(&two, &session).await, 200);
        end(&one, &session).await;
        let ended = Instant::now();
        until_refused(&two, &session).await;
        times.push(ended.elapsed());
    }
    println!("{}", within_a_second("ended elsewhere", times));
}

#[tokio::test]
async fn a_silent_stream_on_one_replica_is_cut_when_its_session_is_ended_on_the_other() {
    let (answer, sender) = streamed("text/event-stream");
    let answer = parking_lot::Mutex::new(Some(answer));
    let open = json!({"conversationId": "conv_1", "token": "vt-0123456789abcdef", "expiresAt": 4_000_000_000_000_u64});
    let vendor = TestVendor::answering(move |seen| {
        if seen.target.contains("/complete") {
            return answer.lock().take().unwrap();
        }
        whole(200, "application/json", open.to_string())
    });
    let redis = TestRedis::start();
    let (one, two) = replicas(&vendor, &redis);
    let session = one.mint("support").await;
    let asked = two.post("/api/v1/conversation/conv_1/complete").bearer_auth(&session.token);
    let mut stream = asked.json(&json!({"text": "hi"})).send().await.unwrap();
    sender.send("data: one\n\n".into()).await.unwrap();
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: one\n\n");

    end(&one, &session).await;

    let rest = stream.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("revoked"), "{rest:?}");
    eventually("the end of the vendor's call", || sender.is_closed()).await;
}

#[tokio::test]
async fn while_the_store_is_away_calls_go_on_and_nothing_new_is_promised() {
    let (vendor, mut redis) = (vendor(), TestRedis::durable());
    let (one, two) = replicas(&vendor, &redis);
    let (kept, ended) = (one.mint("support").await, one.mint("support").await);
    end(&one, &ended).await;
    until_refused(&two, &ended).await;
    redis.stop();

    assert_eq!(call(&two, &kept).await, 200);
    let refused = one.ask("support", json!({})).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refusal(refused).await, (503, "store_unavailable".to_owned()));
    let path = format!("/v1/sessions/{}", kept.id);
    assert_eq!(refusal(send(&one, Method::DELETE, &path, &kept.token).await).await.0, 503);
    let renewal = send(&one, Method::POST, &format!("{path}/renew"), &kept.token).await;
    assert_eq!(refusal(renewal).await.0, 503);
    assert_eq!(call(&two, &ended).await, 401);

    redis.start_again();
    until("the store comes back", async || (one.ask("support", json!({})).await.status() == 201).then_some(())).await;
    end(&one, &kept).await;
    until_refused(&two, &kept).await;
    assert_eq!(call(&two, &ended).await, 401);
}

#[tokio::test]
async fn a_process_that_has_never_read_what_is_revoked_serves_no_call() {
    let (vendor, mut redis) = (vendor(), TestRedis::durable());
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let one = TestGateway::built_in(&vendor, "chatbotkit").sections(&store).start();
    let session = one.mint("support").await;
    redis.stop();
    let two = TestGateway::built_in(&vendor, "chatbotkit").sections(&store).in_place_of(&one).start();
    assert_eq!((call(&one, &session).await, call(&two, &session).await), (200, 503));
    redis.start_again();
    until("it reads what is revoked", async || (call(&two, &session).await == 200).then_some(())).await;
}

#[tokio::test]
async fn who_the_visitor_is_holds_on_the_other_replica() {
    let (vendor, redis) = (vendor(), TestRedis::start());
    let (one, two) = replicas(&vendor, &redis);
    let session = one.mint("support").await;
    let path = format!("/v1/sessions/{}/contact", session.id);
    let named = |gateway: &TestGateway, email: &str| {
        let body = json!({"token": session.token, "contact": {"email": email}});
        gateway.post(&path).bearer_auth(gateway.owner.expose()).json(&body).send()
    };
    let known: Value = named(&one, "ada@example.com").await.unwrap().json().await.unwrap();
    until_refused(&two, &session).await;
    let renewed = Session { token: known["token"].as_str().unwrap().to_owned(), ..session };
    assert_eq!(call(&two, &renewed).await, 200);
    let again = two.post(&path).bearer_auth(two.owner.expose());
    let body = json!({"token": renewed.token, "contact": {"email": "eve@example.com"}});
    assert_eq!(refusal(again.json(&body).send().await.unwrap()).await, (409, "contact_conflict".to_owned()));
}

#[tokio::test]
async fn a_strict_bots_calls_stop_when_the_store_was_away_for_too_long() {
    let (vendor, mut redis) = (vendor(), TestRedis::start());
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let strict = TestGateway::built_in(&vendor, "chatbotkit").sections(&store).bot("strict_revocation = true").start();
    let plain = TestGateway::built_in(&vendor, "chatbotkit").sections(&store).in_place_of(&strict).start();
    let session = strict.mint_with("support", json!({"durationInSeconds": 3600})).await;
    redis.stop();
    for gateway in [&strict, &plain] {
        gateway.clock.advance(Duration::from_secs(290));
        assert_eq!(call(gateway, &session).await, 200);
        gateway.clock.advance(Duration::from_secs(20));
    }
    assert_eq!((call(&strict, &session).await, call(&plain, &session).await), (503, 200));
}

#[tokio::test]
async fn a_strict_bots_owner_is_refused_when_the_store_was_away_for_too_long() {
    let (vendor, mut redis) = (TestVendor::echo(), TestRedis::start());
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let hub = |more| TestGateway::built_in(&vendor, "aichatbothub").sections(&store).bot(more);
    let (strict, plain) = (hub("strict_revocation = true").start(), hub("").start());
    redis.stop();
    let mut statuses = Vec::new();
    for passed in [290, 20] {
        for gateway in [&strict, &plain] {
            gateway.clock.advance(Duration::from_secs(passed));
            let list = gateway.call(Method::GET, "/api/v1/chatbot/support/sessions");
            let answer = list.bearer_auth(gateway.owner.expose()).send().await.unwrap();
            statuses.push(answer.status().as_u16());
        }
    }
    assert_eq!(statuses, [200, 200, 503, 200]);
}

#[tokio::test]
async fn an_end_takes_hold_elsewhere_within_a_second_also_when_connections_to_the_store_were_lost() {
    let (vendor, redis) = (vendor(), TestRedis::start());
    let (one, two) = replicas(&vendor, &redis);
    let mut times = Vec::new();
    for _ in 0..20 {
        let session = one.mint("support").await;
        assert_eq!(call(&two, &session).await, 200);
        // All that both have open: what is pushed over it is lost with it.
        for kind in ["normal", "pubsub"] {
            redis.ask(&["CLIENT", "KILL", "TYPE", kind]);
        }
        let path = format!("/v1/sessions/{}", session.id);
        until("the store comes back", async || {
            (send(&one, Method::DELETE, &path, one.owner.expose()).await.status() == 204).then_some(())
        })
        .await;
        let ended = Instant::now();
        until_refused(&two, &session).await;
        times.push(ended.elapsed());
    }
    println!("{}", within_a_second("after lost connections", times));
}

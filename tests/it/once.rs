//! `Idempotency-Key` on conversation calls: what changes something is sent once, however often it is asked for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::support::gateway::{Session, TestGateway, refusal};
use crate::support::redis::TestRedis;
use crate::support::vendor::{Answer, TestVendor, streamed, whole};
use crate::support::{eventually, wire};

const KEY: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

fn say(gateway: &TestGateway, session: &Session, text: &str) -> RequestBuilder {
    let call = gateway.post(&format!("/sessions/{}/say", session.id)).bearer_auth(&session.token);
    call.header("idempotency-key", KEY).json(&json!({"text": text}))
}

async fn told(answer: Response) -> (u16, bool, String) {
    let is_replay = answer.headers().contains_key("idempotent-replayed");
    (answer.status().as_u16(), is_replay, answer.text().await.unwrap())
}

async fn said(gateway: &TestGateway, session: &Session) -> (u16, bool, String) {
    told(say(gateway, session, "hi").send().await.unwrap()).await
}

/// A vendor that counts its calls, and the gateway in front of it.
fn counting() -> (TestVendor, TestGateway) {
    let count = Mutex::new(0);
    let vendor = TestVendor::answering(move |_| {
        let mut count = count.lock();
        *count += 1;
        whole(200, "application/json", json!({"call": *count}).to_string())
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    (vendor, gateway)
}

/// A vendor with these answers in a row, and the gateway in front of it.
fn answering(answers: impl Into<VecDeque<Answer>>) -> (TestVendor, TestGateway) {
    let answers = Mutex::new(answers.into());
    let more = || whole(200, "application/json", "{\"more\":true}");
    let vendor = TestVendor::answering(move |_| answers.lock().pop_front().unwrap_or_else(more));
    let limits = "limits = { mint_per_ip = \"30/1m\", per_bot = \"100000/1m\", per_session = \"100000/1m\" }";
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();
    (vendor, gateway)
}

#[tokio::test]
async fn the_same_call_with_the_same_key_is_sent_once_and_answered_alike() {
    let (vendor, gateway) = counting();
    let session = gateway.mint("support").await;

    let first = say(&gateway, &session, "hi").send().await.unwrap();
    assert_eq!(first.headers()["keystile-expires-in"], "3600");
    assert_eq!(told(first).await, (200, false, "{\"call\":1}".to_owned()));
    gateway.clock.advance(Duration::from_secs(300));
    let again = say(&gateway, &session, "hi").send().await.unwrap();
    assert_eq!(again.headers()["keystile-expires-in"], "3300", "what is true now");
    assert_eq!(told(again).await, (200, true, "{\"call\":1}".to_owned()));
    assert_eq!(vendor.seen().len(), 1);
    gateway.clock.advance(Duration::from_secs(301));
    assert_eq!(said(&gateway, &session).await, (200, false, "{\"call\":2}".to_owned()), "after ten minutes");
}

#[tokio::test]
async fn what_streams_through_is_sent_whole_and_once() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    for is_replay in [false, true] {
        let call = gateway.post("/echo").bearer_auth(&session.token).header("idempotency-key", KEY);
        let answer = call.header("content-type", "text/plain").body("any text").send().await.unwrap();
        assert_eq!(told(answer).await, (200, is_replay, "any text".to_owned()));
    }
    assert_eq!(vendor.seen().len(), 1);
    let long = gateway.post("/echo").bearer_auth(&session.token).header("idempotency-key", "long");
    let answer = long.body(vec![b'x'; (256 << 10) + 1]).send().await.unwrap();
    assert_eq!(refusal(answer).await, (413, "body_too_large".to_owned()), "such a body is held");
}

#[tokio::test]
async fn another_call_with_the_same_key_is_refused_and_another_sessions_key_is_its_own() {
    let (vendor, gateway) = counting();
    let (session, other) = (gateway.mint("support").await, gateway.mint("support").await);

    assert_eq!(said(&gateway, &session).await.0, 200);
    let different = say(&gateway, &session, "bye").send().await.unwrap();
    assert_eq!(refusal(different).await, (422, "key_reused".to_owned()));
    let paged = gateway.post(&format!("/sessions/{}/say?page=2", session.id)).bearer_auth(&session.token);
    let paged = paged.header("idempotency-key", KEY).json(&json!({"text": "hi"})).send().await.unwrap();
    assert_eq!(refusal(paged).await, (422, "key_reused".to_owned()));

    assert_eq!(said(&gateway, &other).await, (200, false, "{\"call\":2}".to_owned()));
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test]
async fn a_call_goes_on_when_its_caller_leaves_and_the_next_gets_its_answer() {
    let (answer, sender) = streamed("application/json");
    let (vendor, gateway) = answering([answer]);
    let session = gateway.mint("support").await;
    let client = reqwest::Client::new();
    let call = client.post(format!("{}/sessions/{}/say", gateway.url, session.id)).bearer_auth(&session.token);
    let first = tokio::spawn(call.header("idempotency-key", KEY).json(&json!({"text": "hi"})).send());
    eventually("the vendor's call", || vendor.seen().len() == 1).await;

    let meanwhile = say(&gateway, &session, "hi").send().await.unwrap();
    assert_eq!(meanwhile.headers()["retry-after"], "1");
    assert_eq!(refusal(meanwhile).await, (409, "in_flight".to_owned()));

    first.abort();
    drop((first.await, client));
    gateway.record(|record| record["complete"] == false).await;
    sender.send(Bytes::from_static(b"{\"late\":true}")).await.unwrap();
    drop(sender);

    let end = Instant::now() + Duration::from_secs(10);
    let answer = loop {
        let told = said(&gateway, &session).await;
        if told.0 != 409 {
            break told;
        }
        assert!(Instant::now() < end, "it is in flight for ever");
    };
    assert_eq!((answer, vendor.seen().len()), ((200, true, "{\"late\":true}".to_owned()), 1));
}

#[tokio::test]
async fn of_a_stream_is_only_kept_that_the_call_was_made() {
    for (media, part) in [("text/event-stream", "data: one\n\n".to_owned()), ("text/plain", "one".to_owned())] {
        let (answer, sender) = streamed(media);
        let (vendor, gateway) = answering([answer]);
        let session = gateway.mint("support").await;
        let mut first = say(&gateway, &session, "hi").send().await.unwrap();
        sender.send(part.clone().into()).await.unwrap();
        assert_eq!(first.chunk().await.unwrap().unwrap(), part, "each part as it comes");

        let again = say(&gateway, &session, "hi").send().await.unwrap();
        assert_eq!(refusal(again).await, (409, "maybe_sent".to_owned()));
        assert_eq!(vendor.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_longer_answer_than_can_be_kept_passes_whole() {
    let long = json!({"text": "x".repeat(3 << 20)}).to_string();
    let (vendor, gateway) = answering([whole(200, "application/json", long.clone())]);
    let session = gateway.mint("support").await;

    assert_eq!(said(&gateway, &session).await, (200, false, long));
    let again = say(&gateway, &session, "hi").send().await.unwrap();
    assert_eq!(refusal(again).await, (409, "maybe_sent".to_owned()));
    assert_eq!(vendor.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_too_long_by_its_last_bytes_passes_whole() {
    let (answer, sender) = streamed("application/json");
    let (_vendor, gateway) = answering([answer]);
    let session = gateway.mint("support").await;
    // What may be the beginning of the key is held back, and goes out when the vendor has ended.
    let parts = ["x".repeat(1 << 20), "sk-real-".to_owned()];
    let whole = parts.concat();

    let sending = async move {
        for part in parts {
            sender.send(part.into()).await.unwrap();
        }
    };
    let (told, ()) = tokio::join!(said(&gateway, &session), sending);

    assert!(told == (200, false, whole), "{} and {} bytes", told.0, told.2.len());
}

#[tokio::test]
async fn what_was_read_to_see_whether_it_can_be_kept_goes_out_in_parts() {
    let (answer, sender) = streamed("application/json");
    let (_vendor, gateway) = answering([answer]);
    let session = gateway.mint("support").await;
    let key = format!("idempotency-key: {KEY}");
    let headers = [key.as_str(), "connection: close", "content-type: application/json", "content-length: 2"];
    let call = wire::head(&session, &format!("POST /sessions/{}/say", session.id), &headers) + "{}";
    let mut client = wire::send(&gateway, call).await;
    let sending = async move {
        for _ in 0..3 {
            sender.send("x".repeat(1 << 20).into()).await.unwrap();
        }
    };
    let mut answer = String::new();
    let (read, ()) = tokio::join!(client.read_to_string(&mut answer), sending);
    read.unwrap();

    let (_, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    let mut all = 0;
    while let Some((length, part)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        assert!(length < 256 << 10, "{length} at once");
        (all, rest) = (all + length, &part[length + 2..]);
    }
    assert_eq!(all, 3 << 20);
}

#[tokio::test]
async fn what_the_vendor_refused_is_its_answer_unless_it_was_too_busy() {
    let refused = || whole(422, "application/json", "{\"wrong\":1}");
    let busy = |status| whole(status, "application/json", "{\"busy\":1}");
    let (vendor, gateway) = answering([busy(429), busy(503), refused()]);
    let session = gateway.mint("support").await;
    for (status, is_replay) in [(429, false), (503, false), (422, false), (422, true)] {
        let (told, replayed, _) = said(&gateway, &session).await;
        assert_eq!((told, replayed), (status, is_replay));
    }
    assert_eq!(vendor.seen().len(), 3);
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_is_never_sent_again_and_one_that_was_not_sent_is() {
    let calls = std::sync::Arc::new(Mutex::new(0));
    let count = std::sync::Arc::clone(&calls);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let count = std::sync::Arc::clone(&count);
        async move {
            // Reads something of the call, and goes.
            let _some = stream.read(&mut [0; 1024]).await;
            *count.lock() += 1;
        }
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    for _ in 0..2 {
        let answer = say(&gateway, &session, "hi").send().await.unwrap();
        assert_eq!(refusal(answer).await, (409, "maybe_sent".to_owned()));
    }
    assert_eq!(*calls.lock(), 1);

    let (_vendor, gateway) = counting();
    let session = gateway.mint("support").await;
    let wrong = say(&gateway, &session, "hi").json(&json!({"unknown": 1})).send().await.unwrap();
    assert_eq!(wrong.status(), 200, "what is not allowed is left out");
    let broken = say(&gateway, &session, "hi").header("idempotency-key", "second").send().await.unwrap();
    assert_eq!(refusal(broken).await, (400, "bad_request".to_owned()), "two keys");
    let call = gateway.post(&format!("/sessions/{}/say", session.id)).bearer_auth(&session.token);
    let call = call.header("idempotency-key", "third").header("content-type", "application/json");
    let malformed = call.try_clone().unwrap().body("{").send().await.unwrap();
    assert_eq!(malformed.status(), 400);
    let mended = call.body("{").send().await.unwrap();
    assert_eq!(mended.status(), 400, "it was not sent, and is judged again");
}

#[tokio::test]
async fn what_only_reads_needs_no_key() {
    let (vendor, gateway) = counting();
    let session = gateway.mint("support").await;
    for call in 1..=2 {
        let read = gateway.call(Method::GET, "/read").bearer_auth(&session.token).header("idempotency-key", KEY);
        assert_eq!(told(read.send().await.unwrap()).await, (200, false, json!({"call": call}).to_string()));
    }
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test]
async fn a_replica_answers_what_another_was_answered_and_without_the_store_no_such_call_is_made() {
    let mut redis = TestRedis::start();
    let vendor = TestVendor::echo();
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let one = TestGateway::in_front_of(&vendor).sections(&store).start();
    let two = TestGateway::in_front_of(&vendor).sections(&store).in_place_of(&one).start();
    let session = one.mint("support").await;
    let (status, _, body) = said(&one, &session).await;
    assert_eq!((status, said(&two, &session).await), (200, (200, true, body.clone())));
    let keys = redis.ask(&["KEYS", "*answer*"]);
    let kept: Vec<&str> = keys.lines().filter(|line| line.contains("answer")).collect();
    assert_eq!(kept.len(), 1, "{keys}");
    let text: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(text["text"], "hi");
    assert!(!redis.ask(&["HGETALL", kept[0]]).contains("text"), "it is sealed");

    redis.stop();
    let refused = say(&one, &session, "hi").send().await.unwrap();
    assert_eq!(refusal(refused).await, (503, "store_unavailable".to_owned()));
    let plain = one.post(&format!("/sessions/{}/say", session.id)).bearer_auth(&session.token);
    assert_eq!(plain.json(&json!({"text": "hi"})).send().await.unwrap().status(), 200);
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test]
async fn who_may_not_call_any_more_gets_no_kept_answer_however_late_the_body_comes() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let call = gateway.post("/echo").bearer_auth(&session.token).header("idempotency-key", KEY);
    assert_eq!(call.header("content-type", "application/json").body("{}").send().await.unwrap().status(), 200);

    let key = format!("idempotency-key: {KEY}");
    let headers = [key.as_str(), "content-type: application/json", "content-length: 2", "expect: 100-continue"];
    let mut client = wire::send(&gateway, wire::head(&session, "POST /echo", &headers)).await;
    // The call was granted by then.
    wire::read_until(&mut client, "100 Continue").await;
    gateway.end(&session).await;

    wire::write(&mut client, "{}").await;
    let answer = wire::read_until(&mut client, "\"}").await;
    assert!(answer.contains("HTTP/1.1 401 ") && answer.contains("token_revoked"), "{answer}");
}

#[tokio::test]
async fn a_call_that_the_store_holds_up_past_the_end_of_its_token_is_not_sent() {
    let redis = TestRedis::start();
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).sections(&format!("[store]\nurl = \"{}\"", redis.url())).start();
    let session = gateway.mint_with("support", json!({"durationInSeconds": 1800})).await;
    // Half a second is left, of the five that clocks may be apart.
    let left = Duration::from_millis(500);
    gateway.clock.advance(Duration::from_secs(1805) - left);
    let key = format!("idempotency-key: {KEY}");
    let headers = [key.as_str(), "content-type: application/json", "content-length: 2", "expect: 100-continue"];
    let mut client = wire::send(&gateway, wire::head(&session, "POST /echo", &headers)).await;
    // The call was granted by then, and its time runs.
    wire::read_until(&mut client, "100 Continue").await;

    redis.signal("STOP");
    wire::write(&mut client, "{}").await;
    tokio::time::sleep(left).await;
    redis.signal("CONT");

    let answer = wire::read_until(&mut client, "\"}").await;
    assert!(answer.contains("HTTP/1.1 401 ") && answer.contains("token_expired"), "{answer}");
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn one_session_does_not_fill_the_store_with_its_answers() {
    let long = json!({"text": "x".repeat(500 << 10)}).to_string();
    let answers: Vec<Answer> = (0..10).map(|_| whole(200, "application/json", long.clone())).collect();
    let (vendor, gateway) = answering(answers);
    let (greedy, modest) = (gateway.mint("support").await, gateway.mint("support").await);
    let say = |session: &Session, key: usize| {
        let call = gateway.post(&format!("/sessions/{}/say", session.id)).bearer_auth(&session.token);
        call.header("idempotency-key", key.to_string()).json(&json!({"text": "hi"})).send()
    };
    for key in 0..9 {
        assert_eq!(say(&greedy, key).await.unwrap().status(), 200, "{key}");
    }
    assert_eq!(say(&modest, 0).await.unwrap().status(), 200);
    assert_eq!(say(&greedy, 0).await.unwrap().status(), 200, "it is kept");
    assert_eq!(refusal(say(&greedy, 8).await.unwrap()).await, (409, "maybe_sent".to_owned()));
    assert_eq!(say(&modest, 0).await.unwrap().status(), 200, "another's is kept");
    assert_eq!(vendor.seen().len(), 10);
}

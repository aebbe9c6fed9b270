//! Calls without an answer yet, and what ends them before their time.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::support::gateway::{PAGE, TestGateway, refusal};
use crate::support::redis::TestRedis;
use crate::support::vendor::{TestVendor, streaming};
use crate::support::{eventually, wire};

/// A vendor that listens and never answers. Of each call it says what it heard first, and all once that has ended.
fn mute() -> (TestVendor, mpsc::UnboundedReceiver<String>) {
    let (heard, all) = mpsc::unbounded_channel();
    let vendor = TestVendor::raw(move |_, mut stream| {
        let heard = heard.clone();
        async move {
            let mut text = Vec::new();
            // A call that says that it has a body has some of it, too.
            while !text.windows(4).any(|end| end == b"\r\n\r\n")
                || (text.windows(7).any(|name| name == b"chunked")
                    && !text.windows(3).any(|word| word == b"one")
                    && !text.ends_with(b"\r\n0\r\n\r\n"))
            {
                let _whole = stream.read_buf(&mut text).await.unwrap();
            }
            let _listening = heard.send(String::from_utf8_lossy(&text).into_owned());
            let _broken_off = stream.read_to_end(&mut text).await;
            let _listening = heard.send(String::from_utf8_lossy(&text).into_owned());
        }
    });
    (vendor, all)
}

/// The status that the client of a call hears, with this `code`, when its session is ended while the vendor has it.
async fn cut(
    gateway: &TestGateway,
    heard: &mut mpsc::UnboundedReceiver<String>,
    (call, headers, body): (&str, &[&str], &str),
    code: &str,
) -> u16 {
    let session = gateway.mint("support").await;
    let mut client = wire::send(gateway, wire::head(&session, call, headers) + body).await;
    assert!(heard.recv().await.is_some(), "the vendor has the call");
    gateway.end(&session).await;
    let answer = wire::read_until(&mut client, code).await;
    assert!(heard.recv().await.unwrap().starts_with(call), "the vendor's call has ended");
    wire::status(&answer)
}

#[tokio::test]
async fn a_call_that_waits_for_its_answer_is_cut_when_its_session_is_ended() {
    // One that is there with its head, and one that is an upload.
    for (framing, body) in [("content-length: 2", "{}"), ("transfer-encoding: chunked", "2\r\n{}\r\n0\r\n\r\n")] {
        let (vendor, mut heard) = mute();
        let gateway = TestGateway::in_front_of(&vendor).start();
        let call = ("POST /echo", &[framing, "content-type: application/json"][..], body);
        // A client that takes a new token and repeats what was refused with 401 could have it carried out twice.
        assert_eq!(cut(&gateway, &mut heard, call, "maybe_sent").await, 409, "{framing}");
        gateway.record(|record| record["code"] == "maybe_sent").await;
    }
}

#[tokio::test]
async fn a_call_that_only_reads_is_401_when_its_session_is_ended() {
    let (vendor, mut heard) = mute();
    let gateway = TestGateway::in_front_of(&vendor).start();
    assert_eq!(cut(&gateway, &mut heard, ("GET /read", &[], ""), "token_revoked").await, 401);
}

#[tokio::test]
async fn a_call_that_only_reads_and_waits_at_the_end_of_its_token_is_401() {
    let (vendor, mut heard) = mute();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    // The token is good for its leeway of five seconds.
    gateway.clock.advance(Duration::from_secs(3600));
    let mut client = wire::send(&gateway, wire::head(&session, "GET /read", &[])).await;
    assert!(heard.recv().await.is_some(), "the vendor has the call");

    let answer = tokio::time::timeout(Duration::from_secs(30), wire::read_until(&mut client, "token_expired"));

    let answer = answer.await.expect("the call goes on");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(heard.recv().await.unwrap().starts_with("GET /read"), "the vendor's call has ended");
    gateway.record(|record| record["fault"] == "client").await;
}

#[tokio::test]
async fn a_call_of_a_renewed_session_waits_on_past_the_end_of_its_token() {
    for head in ["GET /read", "POST /echo"] {
        let vendor = TestVendor::raw(|_, mut stream| async move {
            wire::read_until(&mut stream, "\r\n\r\n").await;
            // For longer than a token is good after its end.
            tokio::time::sleep(Duration::from_secs(7)).await;
            wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        });
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;
        gateway.clock.advance(Duration::from_secs(3600 - 1));
        let mut client = wire::send(&gateway, wire::head(&session, head, &["content-length: 1"]) + "x").await;
        let renew = gateway.post(&format!("/v1/sessions/{}/renew", session.id)).bearer_auth(&session.token);
        assert_eq!(renew.send().await.unwrap().status(), 200);

        let answer = wire::read_until(&mut client, "\r\n\r\n").await;
        assert_eq!(wire::status(&answer), 200, "{head} {answer}");
    }
}

#[tokio::test]
async fn a_handshake_that_waits_is_cut_when_its_session_is_ended() {
    let (vendor, mut heard) = mute();
    let profile = "title = \"Own\"\n[[route]]\ncall = \"GET /talk\"\nallow = { header = [\"Upgrade\"] }\n";
    let gateway = TestGateway::with_profile(&vendor, profile).start();
    let version = "sec-websocket-version: 13";
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let headers = ["connection: Upgrade", "upgrade: websocket", version, key];
    assert_eq!(cut(&gateway, &mut heard, ("GET /talk", &headers, ""), "token_revoked").await, 401);
}

#[tokio::test]
async fn an_upload_is_cut_when_its_session_is_ended() {
    let (vendor, mut heard) = mute();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let mut client = wire::send(&gateway, wire::head(&session, "POST /echo", &["transfer-encoding: chunked"])).await;
    client.write_all(b"3\r\none\r\n").await.unwrap();

    assert!(heard.recv().await.is_some(), "the vendor has the call");
    let path = format!("/v1/sessions/{}", session.id);
    let ended = gateway.call(Method::DELETE, &path).bearer_auth(gateway.owner.expose()).send().await.unwrap();
    assert_eq!(ended.status(), 204);

    let answer = wire::read_until(&mut client, "token_revoked").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let sent = heard.recv().await.unwrap();
    assert!(sent.contains("one") && !sent.ends_with("0\r\n\r\n"), "the vendor sees that it is not whole: {sent}");
}

#[tokio::test]
async fn sessions_opened_right_after_an_end_of_all_are_good() {
    let gateway = TestGateway::chatbotkit().start();
    let ada = json!({"contact": {"email": "ada@example.com"}});
    for query in ["contact=ada@example.com", "bot=support"] {
        let before = gateway.mint_with("support", ada.clone()).await;
        let all = format!("/v1/sessions?{query}");
        let ended = gateway.call(Method::DELETE, &all).bearer_auth(gateway.owner.expose()).send().await.unwrap();
        assert!(ended.status().is_success());
        // In the same second.
        gateway.clock.advance(Duration::from_millis(1));
        let after = gateway.mint_with("support", ada.clone()).await;

        let mut statuses = Vec::new();
        for session in [before, after] {
            let path = format!("/v1/sessions/{}", session.id);
            statuses.push(gateway.call(Method::GET, &path).bearer_auth(&session.token).send().await.unwrap().status());
        }
        assert_eq!(statuses, [401, 200], "{query}");
    }
}

#[tokio::test]
async fn no_session_is_answered_that_has_ended_already() {
    let gateway = TestGateway::chatbotkit().start();
    let all = gateway.call(Method::DELETE, "/v1/sessions?bot=support").bearer_auth(gateway.owner.expose());
    assert!(all.send().await.unwrap().status().is_success());
    // The clock stands: the new session would be of the very moment of the end.
    let opening = gateway.post("/v1/bots/support/sessions").header("origin", PAGE).json(&json!({}));
    let answer = opening.send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(refusal(answer).await, (409, "session_ending".to_owned()));
}

#[tokio::test]
async fn a_strict_bots_open_streams_end_when_the_store_was_away_for_too_long() {
    let (vendor, senders) = streaming("text/event-stream");
    let mut redis = TestRedis::start();
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let strict = TestGateway::in_front_of(&vendor).sections(&store).bot("strict_revocation = true").start();
    let plain = TestGateway::in_front_of(&vendor).sections(&store).in_place_of(&strict).start();
    let session = strict.mint("support").await;
    let mut streams = Vec::new();
    for gateway in [&strict, &plain] {
        let stream = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
        streams.push((stream, senders.lock().pop().unwrap()));
    }
    redis.stop();
    for gateway in [&strict, &plain] {
        gateway.clock.advance(Duration::from_secs(310));
    }

    let (mut of_strict, _open) = streams.remove(0);
    let mut told = String::new();
    while let Ok(Some(part)) = of_strict.chunk().await {
        told += &String::from_utf8_lossy(&part);
    }
    assert!(told.contains("store_unavailable"), "{told}");
    let (mut of_plain, sender) = streams.remove(0);
    sender.send("data: still\n\n".into()).await.unwrap();
    assert_eq!(of_plain.chunk().await.unwrap().unwrap(), "data: still\n\n");
}

#[tokio::test]
async fn a_stream_ends_with_its_token_where_the_store_cannot_say_that_its_session_goes_on() {
    let (vendor, senders) = streaming("text/event-stream");
    let mut redis = TestRedis::start();
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let gateway = TestGateway::in_front_of(&vendor).sections(&store).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_millis(3_599_000));
    let mut stream = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    let sender = senders.lock().pop().unwrap();
    let renew = gateway.post(&format!("/v1/sessions/{}/renew", session.id)).bearer_auth(&session.token);
    assert_eq!(renew.send().await.unwrap().status(), 200);

    redis.stop();
    let (mut told, began) = (String::new(), Instant::now());
    while let Some(part) = stream.chunk().await.unwrap() {
        told += &String::from_utf8_lossy(&part);
    }

    assert!(told.contains("token_expired"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(1 + 5 + 1));
    eventually("the end of the vendor's call", || sender.is_closed()).await;
}

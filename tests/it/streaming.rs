//! Bodies in both directions as they come: at once, no faster than they are read, no longer than the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::{Method, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;

use crate::support::gateway::{Session, TestGateway};
use crate::support::vendor::{TestVendor, streaming};
use crate::support::{eventually, wire};

const HOUR: Duration = Duration::from_secs(3600);

/// A call whose answer streams, its head, and what sends the parts.
struct Scene {
    vendor: TestVendor,
    gateway: TestGateway,
    answer: Response,
    sender: Sender<Bytes>,
}

/// Begins a call of a session whose token has `left` to live.
async fn begin(media: &'static str, left: Duration) -> Scene {
    let (vendor, senders) = streaming(media);
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(HOUR - left);
    let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let sender = senders.lock().pop().unwrap();
    Scene { vendor, gateway, answer, sender }
}

/// All that still comes, and whether it came to its end.
async fn rest(mut answer: Response) -> (String, bool) {
    let mut text = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(part)) => text.extend_from_slice(&part),
            ended => return (String::from_utf8(text).unwrap(), ended.is_ok()),
        }
    }
}

#[tokio::test]
async fn each_part_leaves_when_it_arrives_whatever_the_format() {
    for media in ["text/event-stream", "application/jsonl", "text/plain; charset=utf-8", "application/octet-stream"] {
        let Scene { mut answer, sender, vendor, gateway: _running } = begin(media, HOUR).await;
        assert_eq!(answer.headers()["content-type"], media);
        for part in ["d", "ata: a\n\n", "{}\n", "日本"] {
            sender.send(Bytes::from(part)).await.unwrap();
            // The next part is sent only when this one is here.
            assert_eq!(answer.chunk().await.unwrap().unwrap(), part, "{media}");
        }
        drop(sender);
        assert_eq!(answer.chunk().await.unwrap(), None);
        assert_eq!(vendor.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_body_ends_the_vendors_call() {
    let Scene { mut answer, sender, gateway, .. } = begin("text/event-stream", HOUR).await;
    sender.send(Bytes::from("data: a\n\n")).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "data: a\n\n");

    drop(answer);

    eventually("the end of the vendor's call", || sender.is_closed()).await;
    gateway.record(|record| record["route"] == "GET /read").await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_ends_the_vendors_call() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let count = Arc::clone(&count);
        async move {
            wire::read_until(&mut stream, "\r\n\r\n{}").await;
            count.fetch_add(1, Ordering::SeqCst);
            while stream.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {}
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let client = wire::send(&gateway, wire::head(&session, "POST /echo", &["content-length: 2"]) + "{}").await;
    eventually("the vendor's call", || ended.load(Ordering::SeqCst) == 1).await;
    drop(client);

    eventually("the end of the vendor's call", || ended.load(Ordering::SeqCst) == 2).await;
}

/// A vendor that writes so many bytes, a count of them that it wrote, and when it last did.
fn writing(most: usize) -> (TestVendor, Arc<AtomicUsize>, Arc<Mutex<Instant>>) {
    let (written, last) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Instant::now())));
    let (count, when) = (Arc::clone(&written), Arc::clone(&last));
    let vendor = TestVendor::raw(move |_, mut stream| {
        let (count, when) = (Arc::clone(&count), Arc::clone(&when));
        async move {
            wire::read_until(&mut stream, "\r\n\r\n").await;
            wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n").await;
            while count.load(Ordering::SeqCst) < most
                && let Ok(length) = stream.write(&[b'~'; 65_536]).await
            {
                count.fetch_add(length, Ordering::SeqCst);
                *when.lock() = Instant::now();
            }
        }
    });
    (vendor, written, last)
}

/// Who has written nothing for half a second is stuck: it would have written gigabytes in ten.
async fn standstill(last: &Mutex<Instant>) {
    eventually("the vendor's standstill", || last.lock().elapsed() > Duration::from_millis(500)).await;
}

#[tokio::test]
async fn a_slow_client_slows_the_vendor_and_not_memory() {
    let (vendor, written, last) = writing(usize::MAX);
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let client = wire::send(&gateway, wire::head(&session, "GET /read", &[])).await;
    client.readable().await.unwrap();

    standstill(&last).await;
    let written = written.load(Ordering::SeqCst);
    assert!(written < 32 << 20, "{written} bytes are held by two sockets and the gateway");
    drop(client);
}

#[tokio::test]
async fn an_answer_that_waited_for_its_client_goes_on_to_its_end() {
    let (vendor, written, last) = writing(48 << 20);
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let head = wire::head(&session, "GET /read", &["connection: close"]);
    let mut client = wire::send(&gateway, head).await;
    client.readable().await.unwrap();
    standstill(&last).await;
    assert!(written.load(Ordering::SeqCst) < 48 << 20, "nobody had to wait");

    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();

    assert!(answer.ends_with(b"\r\n0\r\n\r\n"));
    let body = answer.iter().filter(|byte| **byte == b'~').count();
    assert_eq!(body, written.load(Ordering::SeqCst));
}

/// What a stream with an hour of events says once the token has ended.
async fn expired(media: &'static str, before: &'static str, half: &'static str, other: &'static str) -> (String, bool) {
    let Scene { mut answer, sender, gateway, vendor } = begin(media, Duration::from_millis(150)).await;
    sender.send(Bytes::from(before)).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), before);
    sender.send(Bytes::from(half)).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), half);
    tokio::time::sleep(Duration::from_millis(250)).await;
    // The vendor goes on after the end of the token: the rest of the event, and another one.
    sender.send(Bytes::from(other)).await.unwrap();
    let said = rest(answer).await;
    eventually("the end of the vendor's call", || sender.is_closed()).await;
    let recorded = |record: &serde_json::Value| record["code"] == "token_expired" && record["complete"] == said.1;
    gateway.record(recorded).await;
    drop((gateway, vendor));
    said
}

#[tokio::test]
async fn at_expiry_an_event_stream_ends_at_an_events_border_with_an_error_event() {
    let (text, is_whole) = expired("text/event-stream", "data: a\n\n", "data: b", "c\n\ndata: never\n\n").await;

    let (border, last) = text.split_at(3);
    assert_eq!(border, "c\n\n");
    assert!(last.starts_with("event: error\ndata: {") && last.ends_with("}\n\n"), "{text:?}");
    assert!(last.contains("token_expired") && !text.contains("never") && is_whole, "{text:?}");
}

#[tokio::test]
async fn at_expiry_json_lines_end_at_a_line_with_an_error_line() {
    let (text, is_whole) = expired("application/jsonl", "{\"a\":1}\n", "{\"b\":", "2}\n{\"never\":1}\n").await;

    let (border, last) = text.split_at(3);
    assert_eq!(border, "2}\n");
    let last: serde_json::Value = serde_json::from_str(last.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!((&last["type"], &last["data"]["code"]), (&"error".into(), &"token_expired".into()));
    assert!(is_whole);
}

#[tokio::test]
async fn at_expiry_lines_whose_vendor_gave_a_length_end_with_a_whole_error_line() {
    let vendor = TestVendor::raw(|_, mut stream| async move {
        wire::read_until(&mut stream, "\r\n\r\n").await;
        wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-type: application/jsonl\r\ncontent-length: 9\r\n\r\n{}\n")
            .await;
        std::future::pending::<()>().await;
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(HOUR - Duration::from_millis(100));
    let began = Instant::now();
    let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();

    let (text, is_whole) = rest(answer).await;

    assert!(began.elapsed() < Duration::from_secs(3), "it is at a border");
    let error = text.strip_prefix("{}\n").and_then(|text| text.strip_suffix('\n')).unwrap();
    assert!(is_whole && serde_json::from_str::<serde_json::Value>(error).unwrap()["type"] == "error", "{text}");
}

#[tokio::test]
async fn at_expiry_a_silent_stream_ends_without_the_vendor() {
    for (media, part) in [("text/event-stream", "data: a\n\n"), ("application/jsonl", "{}\n")] {
        let began = Instant::now();
        let Scene { mut answer, sender, gateway: _running, .. } = begin(media, Duration::from_millis(100)).await;
        sender.send(Bytes::from(part)).await.unwrap();
        assert_eq!(answer.chunk().await.unwrap().unwrap(), part);

        let (text, is_whole) = rest(answer).await;

        assert!(text.contains("token_expired") && is_whole, "{text}");
        assert!(began.elapsed() < Duration::from_secs(3), "it is at a border");
        eventually("the end of the vendor's call", || sender.is_closed()).await;
    }
}

#[tokio::test]
async fn at_expiry_other_bodies_are_cut_five_seconds_later_at_most() {
    let began = Instant::now();
    let Scene { mut answer, sender, gateway: _running, .. } = begin("text/plain", Duration::from_millis(100)).await;
    sender.send(Bytes::from("half a sen")).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "half a sen");

    let (text, is_whole) = rest(answer).await;

    assert_eq!((text.as_str(), is_whole), ("", false), "cut, without a last chunk");
    assert!(began.elapsed() < Duration::from_secs(7));
    eventually("the end of the vendor's call", || sender.is_closed()).await;
}

#[tokio::test]
async fn a_renewed_session_keeps_its_streams_past_the_end_of_their_token() {
    for (media, part) in [("text/event-stream", "data: a\n\n"), ("application/jsonl", "{}\n"), ("text/plain", "a")] {
        let (vendor, senders) = streaming(media);
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;
        gateway.clock.advance(HOUR - Duration::from_millis(300));
        let mut answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
        let sender = senders.lock().pop().unwrap();
        let renew = gateway.post(&format!("/v1/sessions/{}/renew", session.id)).bearer_auth(&session.token);
        assert_eq!(renew.send().await.unwrap().status(), 200);

        // In silence past its end, and past what it is given to come to a border; then in the midst of parts.
        let (ends, latest) =
            (Instant::now() + Duration::from_millis(400), Instant::now() + Duration::from_millis(5500));
        tokio::time::sleep_until(ends.into()).await;
        while Instant::now() < latest {
            sender.send(part.into()).await.unwrap();
            assert_eq!(answer.chunk().await.unwrap().unwrap(), part, "{media}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let end = gateway.call(Method::DELETE, &format!("/v1/sessions/{}", session.id)).bearer_auth(&session.token);
        assert_eq!(end.send().await.unwrap().status(), 204);
        let (text, is_whole) = rest(answer).await;
        assert_eq!(
            (text.contains("token_revoked"), is_whole),
            (media != "text/plain", media != "text/plain"),
            "{media} {text}"
        );
    }
}

#[tokio::test]
async fn a_slow_reader_of_a_renewed_session_reads_on() {
    let vendor = TestVendor::raw(|_, mut stream| async move {
        wire::read_until(&mut stream, "\r\n\r\n").await;
        wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
        let event = format!("data: {}\n\n", "x".repeat(65_536));
        while stream.write_all(event.as_bytes()).await.is_ok() {}
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(HOUR - Duration::from_millis(300));
    let mut client = wire::send(&gateway, wire::head(&session, "GET /read", &[])).await;
    wire::read_until(&mut client, "\r\n\r\n").await;
    let renew = gateway.post(&format!("/v1/sessions/{}/renew", session.id)).bearer_auth(&session.token);
    assert_eq!(renew.send().await.unwrap().status(), 200);
    // Nothing is asked of the stream until it is later than it would be cut.
    tokio::time::sleep(Duration::from_secs(6)).await;

    // More than all that waited on the way.
    let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
    while read < 64 << 20 {
        let part = client.read(&mut buffer).await.unwrap();
        assert!(part > 0, "it ended after {read} bytes");
        read += part;
    }
}

#[tokio::test]
async fn what_comes_late_in_the_five_seconds_after_a_tokens_end_gets_no_five_of_its_own() {
    let began = Instant::now();
    let (vendor, senders) = streaming("text/plain");
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(HOUR + Duration::from_millis(4_500));

    let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    assert_eq!(answer.status(), 200);

    assert_eq!(rest(answer).await, (String::new(), false), "cut, without a last chunk");
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(senders.lock().len(), 1, "the vendor did not end it");
}

#[tokio::test]
async fn at_expiry_an_event_that_never_ends_is_cut_five_seconds_later_at_most() {
    let began = Instant::now();
    let Scene { answer, sender, gateway: _running, .. } = begin("text/event-stream", Duration::from_millis(100)).await;
    let endless = tokio::spawn(async move {
        while sender.send(Bytes::from("data: more of the same event\n")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });

    let (text, is_whole) = rest(answer).await;

    assert!(!text.contains("token_expired") && !is_whole, "there was no border to say it at");
    assert!(began.elapsed() < Duration::from_secs(7));
    endless.await.unwrap();
}

/// A vendor that answers with the caller's own chunks, as they come.
fn mirror() -> TestVendor {
    TestVendor::raw(|_, mut stream| async move {
        let head = wire::read_until(&mut stream, "\r\n\r\n").await;
        let (_, early) = head.split_once("\r\n\r\n").unwrap();
        wire::write(&mut stream, &format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{early}")).await;
        let (mut from, mut to) = stream.split();
        let _gone = tokio::io::copy(&mut from, &mut to).await;
    })
}

async fn upload(gateway: &TestGateway, session: &Session) -> TcpStream {
    wire::send(gateway, wire::head(session, "POST /echo", &["transfer-encoding: chunked"])).await
}

#[tokio::test]
async fn an_upload_streams_in_both_directions_at_once() {
    let vendor = mirror();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let mut client = upload(&gateway, &session).await;
    for (word, chunk) in [("one", "3\r\none\r\n"), ("two", "3\r\ntwo\r\n"), ("three", "5\r\nthree\r\n")] {
        client.write_all(chunk.as_bytes()).await.unwrap();
        wire::read_until(&mut client, word).await;
    }
    client.write_all(b"0\r\nx-trailer: never\r\n\r\n").await.unwrap();

    let end = wire::read_until(&mut client, "0\r\n\r\n").await;
    assert!(!end.contains("x-trailer"), "{end:?}");
}

#[tokio::test]
async fn a_client_that_breaks_its_upload_off_ends_the_vendors_call_unfinished() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let mut client = upload(&gateway, &session).await;
    client.write_all(b"3\r\none\r\n").await.unwrap();
    drop(client);

    gateway.record(|record| record["route"] == "POST /echo").await;
    assert!(vendor.seen().is_empty(), "a body that broke off is no call");
}

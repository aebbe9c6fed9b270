//! Uploads that go on behind their answer: they count, and they end with the right to the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use parking_lot::Mutex;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::authority::Authority;
use crate::support::gateway::{Session, TestGateway, refusal};
use crate::support::secure::SecureVendor;
use crate::support::vendor::{TestVendor, whole};
use crate::support::{eventually, wire};

const ONE: &str = r#"limits = { streams = 1, per_session = "off", per_bot = "100000/1m", mint_per_ip = "30/1m" }"#;

/// A vendor that answers at the head of a call and reads what comes after it; how much, and whether it has ended.
fn early() -> (TestVendor, Arc<AtomicUsize>, Arc<AtomicBool>) {
    let (read, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, end) = (Arc::clone(&read), Arc::clone(&ended));
    let vendor = TestVendor::raw(move |_, mut stream| {
        let (count, end) = (Arc::clone(&count), Arc::clone(&end));
        async move {
            wire::read_until(&mut stream, "\r\n\r\n").await;
            wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            while let Ok(length @ 1..) = stream.read(&mut [0; 4096]).await {
                count.fetch_add(length, Ordering::SeqCst);
            }
            end.store(true, Ordering::SeqCst);
        }
    });
    (vendor, read, ended)
}

/// An upload whose answer has come.
async fn answered(gateway: &TestGateway, session: &Session) -> TcpStream {
    let head = wire::head(session, "POST /echo", &["transfer-encoding: chunked"]);
    let mut client = wire::send(gateway, head + "1\r\nx\r\n").await;
    wire::read_until(&mut client, "\r\n\r\nok").await;
    client
}

#[tokio::test]
async fn an_upload_that_goes_on_behind_its_answer_is_no_head_that_is_waited_for() {
    let (vendor, read, ended) = early();
    let gateway = TestGateway::in_front_of(&vendor).server(r#"timeouts = { head = "500ms" }"#).start();
    let session = gateway.mint("support").await;
    let mut client = answered(&gateway, &session).await;
    for more in 1..=4 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        client.write_all(b"1\r\nx\r\n").await.unwrap();
        eventually("what comes after it", || read.load(Ordering::SeqCst) >= more * b"1\r\nx\r\n".len()).await;
    }
    assert!(!ended.load(Ordering::SeqCst));
}

/// That the session's only call is open until its upload ends.
async fn counts_until_its_end(gateway: &TestGateway) {
    let session = gateway.mint("support").await;
    let read = async || gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    let mut client = answered(gateway, &session).await;

    assert_eq!(refusal(read().await).await, (429, "too_many_streams".to_owned()));
    client.write_all(b"1\r\nx\r\n").await.unwrap();
    assert_eq!(refusal(read().await).await.0, 429);

    client.write_all(b"0\r\n\r\n").await.unwrap();
    // The last chunk has to come to the vendor first.
    let mut status = 0;
    for _ in 0..500 {
        status = read().await.status().as_u16();
        if status == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_upload_that_goes_on_behind_its_answer_counts_as_an_open_call() {
    let (vendor, ..) = early();
    let gateway = TestGateway::in_front_of(&vendor).bot(ONE).start();
    counts_until_its_end(&gateway).await;
}

/// The same over HTTP/2; it reads nothing.
fn early_http2() -> SecureVendor {
    let authority = Authority::new();
    let config = authority.server(&["h2"], |_| {});
    let bodies = Arc::new(Mutex::new(Vec::new()));
    SecureVendor::serving(authority, config, move |_, request| {
        // Held, so that the vendor does not ask for an end of the upload.
        bodies.lock().push(request.into_body());
        async { whole(200, "text/plain", "ok").map(|body| body.map_err(|never| match never {}).boxed()) }
    })
}

#[tokio::test]
async fn an_upload_that_goes_on_behind_its_http2_answer_counts_as_an_open_call() {
    let vendor = early_http2();
    let gateway = vendor.gateway().bot(ONE).start();
    counts_until_its_end(&gateway).await;
    assert_eq!(vendor.connections(), 1);
}

#[tokio::test]
async fn an_upload_that_goes_on_behind_its_answer_ends_with_the_token() {
    let (vendor, read, ended) = early();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_secs(3600));
    let client = answered(&gateway, &session).await;
    let (_answers, mut client) = client.into_split();
    let endless = tokio::spawn(async move {
        while client.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });

    // The token was good for its leeway of five seconds.
    eventually("the end of the vendor's call", || ended.load(Ordering::SeqCst)).await;

    assert!(read.load(Ordering::SeqCst) > 0);
    endless.abort();
}

async fn end(gateway: &TestGateway, session: &Session) {
    let end = gateway.call(Method::DELETE, &format!("/v1/sessions/{}", session.id)).bearer_auth(&session.token);
    assert_eq!(end.send().await.unwrap().status(), 204);
}

/// That the call does not go on.
async fn is_cut(mut client: TcpStream) {
    let ended = async { while let Ok(1..) = client.read(&mut [0; 64]).await {} };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the call goes on, which was ended");
}

/// That an end of its session ends an upload whose answer was read, whether it comes or is silent.
async fn ends_with_its_session(gateway: &TestGateway, is_silent: bool) {
    let session = gateway.mint("support").await;
    let mut client = answered(gateway, &session).await;
    if !is_silent {
        client.write_all(b"1\r\nx\r\n").await.unwrap();
    }

    end(gateway, &session).await;

    is_cut(client).await;
}

#[tokio::test]
async fn an_upload_that_goes_on_behind_its_answer_ends_with_its_session() {
    for is_silent in [true, false] {
        let (vendor, _, ended) = early();
        let gateway = TestGateway::in_front_of(&vendor).start();
        ends_with_its_session(&gateway, is_silent).await;
        eventually("the end of the vendor's call", || ended.load(Ordering::SeqCst)).await;
    }
}

#[tokio::test]
async fn an_upload_that_goes_on_behind_its_http2_answer_ends_with_its_session() {
    for is_silent in [true, false] {
        let gateway = early_http2().gateway().start();
        ends_with_its_session(&gateway, is_silent).await;
    }
}

/// An upload of a session that is renewed, past all that its first token is good for; then its session ends.
async fn goes_on(gateway: &TestGateway, session: &Session, mut client: TcpStream, read: impl Fn() -> usize) {
    let renew = gateway.post(&format!("/v1/sessions/{}/renew", session.id)).bearer_auth(&session.token);
    assert_eq!(renew.send().await.unwrap().status(), 200);
    let latest = Instant::now() + Duration::from_secs(7);
    while Instant::now() < latest {
        client.write_all(b"1\r\nx\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let before = read();
    client.write_all(b"1\r\nx\r\n").await.unwrap();
    eventually("what is sent past its first token", || read() > before).await;

    end(gateway, session).await;
    while let Ok(1..) = client.read(&mut [0; 64]).await {}
}

#[tokio::test]
async fn an_upload_of_a_renewed_session_goes_on_past_the_end_of_its_token_behind_its_answer() {
    let (vendor, read, ended) = early();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_secs(3600 - 1));
    let client = answered(&gateway, &session).await;

    goes_on(&gateway, &session, client, || read.load(Ordering::SeqCst)).await;

    eventually("the end of the vendor's call", || ended.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn an_upload_of_a_renewed_session_goes_on_past_the_end_of_its_token_before_its_answer() {
    let (read, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, end) = (Arc::clone(&read), Arc::clone(&ended));
    let vendor = TestVendor::raw(move |_, mut stream| {
        let (count, end) = (Arc::clone(&count), Arc::clone(&end));
        async move {
            while let Ok(length @ 1..) = stream.read(&mut [0; 4096]).await {
                count.fetch_add(length, Ordering::SeqCst);
            }
            end.store(true, Ordering::SeqCst);
        }
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_secs(3600 - 1));
    let head = wire::head(&session, "POST /echo", &["transfer-encoding: chunked"]);
    let client = wire::send(&gateway, head + "1\r\nx\r\n").await;

    goes_on(&gateway, &session, client, || read.load(Ordering::SeqCst)).await;

    eventually("the end of the vendor's call", || ended.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn an_upload_of_a_renewed_session_outlasts_a_vendor_that_reads_nothing_at_the_end_of_its_token() {
    const LENGTH: usize = 8 << 20;
    let vendor = TestVendor::raw(|_, mut stream| async move {
        let begun = wire::read_until(&mut stream, "\r\n\r\n").await;
        // For longer than what is given to an answer of the store.
        tokio::time::sleep(Duration::from_secs(7)).await;
        // The beginning of the body may have come with the head.
        let (_, body) = begun.split_once("\r\n\r\n").unwrap();
        let (mut read, mut buffer) = (body.len(), vec![0; 1 << 16]);
        while read < LENGTH {
            match stream.read(&mut buffer).await {
                Ok(length @ 1..) => read += length,
                Ok(0) | Err(_) => return,
            }
        }
        wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole").await;
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_secs(3600 - 1));
    let head = wire::head(&session, "POST /echo", &[&format!("content-length: {LENGTH}")]);
    let (mut answers, mut client) = wire::send(&gateway, head).await.into_split();
    // Whoever ends its side of a connection has left.
    let sending = tokio::spawn(async move { client.write_all(&vec![b'x'; LENGTH]).await.map(|()| client) });
    let renew = gateway.post(&format!("/v1/sessions/{}/renew", session.id)).bearer_auth(&session.token);
    assert_eq!(renew.send().await.unwrap().status(), 200);

    let answer = wire::read_until(&mut answers, "\r\n\r\n").await;
    assert_eq!(wire::status(&answer), 200, "{answer}");
    let _whole = sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_event_stream_whose_upload_is_open_says_that_its_session_was_ended() {
    let vendor = TestVendor::raw(|_, mut stream| async move {
        wire::read_until(&mut stream, "\r\n\r\n").await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        wire::write(&mut stream, &format!("{head}data: a\n\n")).await;
        while let Ok(1..) = stream.read(&mut [0; 4096]).await {}
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let head = wire::head(&session, "POST /echo", &["transfer-encoding: chunked"]);
    let mut client = wire::send(&gateway, head + "1\r\nx\r\n").await;
    wire::read_until(&mut client, "data: a").await;

    end(&gateway, &session).await;

    wire::read_until(&mut client, "token_revoked").await;
}

#[tokio::test]
async fn an_upload_that_had_not_begun_when_its_session_was_ended_sends_nothing() {
    let (vendor, read, ended) = early();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let mut client = wire::send(&gateway, wire::head(&session, "POST /echo", &["content-length: 1"])).await;
    wire::read_until(&mut client, "\r\n\r\nok").await;
    end(&gateway, &session).await;

    // All of it in one part: nothing is asked about a second.
    client.write_all(b"x").await.unwrap();

    eventually("the end of the vendor's call", || ended.load(Ordering::SeqCst)).await;
    assert_eq!(read.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_upload_that_its_http2_vendor_does_not_read_ends_with_its_session() {
    let gateway = early_http2().gateway().start();
    let session = gateway.mint("support").await;
    let mut client = answered(&gateway, &session).await;
    // More than all windows and buffers on the way.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    let more = |sent: Result<std::io::Result<()>, _>| sent.is_ok_and(|sent| sent.is_ok());
    while more(tokio::time::timeout(Duration::from_millis(300), client.write_all(chunk.as_bytes())).await) {}

    end(&gateway, &session).await;

    is_cut(client).await;
}

#[tokio::test]
async fn an_answer_that_ends_with_the_token_of_its_upload_is_on_record_as_expired() {
    let vendor = TestVendor::raw(|_, mut stream| async move {
        wire::read_until(&mut stream, "\r\n\r\n").await;
        wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nhalf a sen").await;
        while let Ok(1..) = stream.read(&mut [0; 4096]).await {}
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_secs(3600));
    let head = wire::head(&session, "POST /echo", &["transfer-encoding: chunked"]);
    let mut client = wire::send(&gateway, head + "1\r\nx\r\n").await;

    while let Ok(1..) = client.read(&mut [0; 64]).await {}

    let record = gateway.record(|record| record["route"] == "POST /echo").await;
    assert_eq!((&record["code"], &record["complete"]), (&"token_expired".into(), &false.into()), "{record}");
}

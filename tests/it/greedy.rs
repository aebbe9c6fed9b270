//! Clients that are slow, take more than their share, or leave without a word: each costs a bounded time and a bounded
//! amount, and the others do not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::gateway::{PAGE, Session, TestGateway};
use crate::support::vendor::{TestVendor, streaming, whole};
use crate::support::{eventually, until, wire};

/// All that the gateway still sends, until it closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end as well.
    let _end = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// A vendor whose answers never end, and how many of them are being written.
fn endless() -> (TestVendor, Arc<AtomicUsize>) {
    let open = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&open);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let count = Arc::clone(&count);
        async move {
            wire::read_until(&mut stream, "\r\n\r\n").await;
            count.fetch_add(1, Ordering::SeqCst);
            wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n").await;
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
            count.fetch_sub(1, Ordering::SeqCst);
        }
    });
    (vendor, open)
}

async fn is_served(gateway: &TestGateway, session: &Session) -> u16 {
    let call = gateway.call(Method::GET, "/read").bearer_auth(&session.token);
    call.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_client_that_leaves_behind_a_pipelined_byte_ends_the_vendors_call() {
    let (vendor, senders) = streaming("text/event-stream");
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let mut client = wire::send(&gateway, wire::head(&session, "GET /read", &[]) + "G").await;
    wire::read_until(&mut client, "\r\n\r\n").await;
    let sender = senders.lock().pop().unwrap();
    assert!(!sender.is_closed());
    drop(client);

    eventually("the end of the vendor's call", || sender.is_closed()).await;
}

#[tokio::test]
async fn a_half_close_counts_as_leaving() {
    for pipelined in ["", "GET /read HTTP/1.1\r\nhost: gateway\r\n\r\n"] {
        let (vendor, senders) = streaming("text/event-stream");
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;

        let mut client = wire::send(&gateway, wire::head(&session, "GET /read", &[]) + pipelined).await;
        wire::read_until(&mut client, "\r\n\r\n").await;
        let sender = senders.lock().pop().unwrap();
        client.shutdown().await.unwrap();

        eventually("the end of the vendor's call", || sender.is_closed()).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_keeps_neither_the_vendors_call_nor_its_place() {
    let (vendor, open) = endless();
    let gateway = TestGateway::in_front_of(&vendor)
        .server(r#"timeouts = { send = "250ms" }"#)
        .bot("limits = { streams = 1 }")
        .start();
    let session = gateway.mint("support").await;

    let client = wire::send(&gateway, wire::head(&session, "GET /read", &[])).await;
    eventually("the vendor's call", || open.load(Ordering::SeqCst) == 1).await;
    assert_eq!(is_served(&gateway, &session).await, 429);

    eventually("the end of the vendor's call", || open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(is_served(&gateway, &session).await, 200);
    drop(client);
}

#[tokio::test]
async fn a_stream_whose_window_stays_closed_is_given_up_and_its_connection_is_not() {
    let (vendor, open) = endless();
    let gateway = TestGateway::in_front_of(&vendor).server(r#"timeouts = { send = "250ms" }"#).start();
    let session = gateway.mint("support").await;
    let stream = wire::connect(&gateway).await;
    let (mut sender, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let call = |path: &str| {
        let request = Request::get(format!("{}{path}", gateway.url));
        request.header("authorization", format!("Bearer {}", session.token)).body(Empty::<Bytes>::new()).unwrap()
    };

    let unread = sender.send_request(call("/read")).await.unwrap();

    eventually("the vendor's call", || open.load(Ordering::SeqCst) == 1).await;
    eventually("the end of the vendor's call", || open.load(Ordering::SeqCst) == 0).await;
    assert!(!connection.is_finished());
    assert_eq!(sender.send_request(call("/nothing")).await.unwrap().status(), 404);
    drop(unread);
}

#[tokio::test]
async fn an_answer_that_was_written_into_counts_until_it_is_taken_and_is_given_up_as_others_are() {
    let long = format!(r#"{{"id": "theirs", "text": "{}"}}"#, "x".repeat(1 << 20));
    let vendor = TestVendor::answering(move |_| whole(200, "application/json", long.clone()));
    let profile = "title = \"Own\"\n[[route]]\ncall = \"GET /read\"\nanswer.json = { id = \"{session}\" }\n";
    let gateway = TestGateway::with_profile(&vendor, profile)
        .server(r#"timeouts = { send = "1s" }"#)
        .bot("limits = { streams = 1 }")
        .start();
    let session = gateway.mint("support").await;
    let stream = wire::connect(&gateway).await;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.initial_stream_window_size(1).handshake(TokioIo::new(stream)).await.unwrap();
    let _connection = tokio::spawn(connection);
    let call = || {
        let request = Request::get(format!("{}/read", gateway.url));
        request.header("authorization", format!("Bearer {}", session.token)).body(Empty::<Bytes>::new()).unwrap()
    };
    let unread = sender.send_request(call()).await.unwrap();
    assert_eq!(unread.status(), 200);

    assert_eq!(sender.send_request(call()).await.unwrap().status(), 429);

    let place = async || (sender.send_request(call()).await.unwrap().status() == 200).then_some(());
    until("its place is free again", place).await;
    drop(unread);
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_408_and_the_connection_ends() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).server(r#"timeouts = { body = "150ms" }"#).start();
    let session = gateway.mint("support").await;
    let json = ["content-type: application/json", "content-length: 20"];
    let call = wire::head(&session, &format!("POST /sessions/{}/say", session.id), &json);
    let mint = format!(
        "POST /v1/bots/support/sessions HTTP/1.1\r\nhost: gateway\r\norigin: {PAGE}\r\n{}\r\n\r\n",
        json.join("\r\n")
    );
    for head in [call, mint] {
        let mut client = wire::send(&gateway, head + "{").await;
        let answer = rest(&mut client).await;
        assert_eq!(wire::status(&answer), 408, "{answer}");
        assert!(answer.contains("request_timeout") && answer.contains("connection: close"), "{answer}");
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn an_upload_that_stops_is_408_and_ends_the_vendors_call() {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let flag = Arc::clone(&flag);
        async move {
            while stream.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {}
            flag.store(true, Ordering::SeqCst);
        }
    });
    let gateway = TestGateway::in_front_of(&vendor).server(r#"timeouts = { body = "150ms" }"#).start();
    let session = gateway.mint("support").await;
    for framing in ["content-length: 20", "transfer-encoding: chunked"] {
        let head = wire::head(&session, "POST /echo", &["content-type: text/plain", framing]);
        let mut client = wire::send(&gateway, head + "5\r\nhello\r\n").await;
        let answer = rest(&mut client).await;
        assert_eq!(wire::status(&answer), 408, "{answer}");
        eventually("the end of the vendor's call", || ended.swap(false, Ordering::SeqCst)).await;
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_ends_the_connection() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).server(r#"timeouts = { head = "150ms" }"#).start();
    for begun in ["", "P", "PRI * HTTP/2.0", "GET /read HTTP/1.1\r\nhost: gateway\r\nx-slow: "] {
        let mut client = wire::send(&gateway, begun).await;
        let answer = rest(&mut client).await;
        assert!(!answer.contains("200") && !answer.contains("404"), "{begun:?}: {answer}");
    }
    for begun in ["", "GET /read HTT"] {
        let mut client = wire::send(&gateway, format!("GET /nothing HTTP/1.1\r\nhost: gateway\r\n\r\n{begun}")).await;
        let answer = rest(&mut client).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "after a call, {begun:?}: {answer}");
    }
}

#[tokio::test]
async fn the_time_for_a_head_is_each_ones_own_and_not_a_calls() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).server(r#"timeouts = { head = "3s" }"#).start();
    let session = gateway.mint("support").await;
    let mut client =
        wire::send(&gateway, wire::head(&session, "POST /echo", &["content-type: text/plain", "content-length: 5"]))
            .await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    wire::write(&mut client, "hello").await;
    assert_eq!(wire::status(&wire::next_message(&mut client).await.unwrap()), 200, "a call that is open for longer");
    for call in 2..4 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        wire::write(&mut client, &wire::head(&session, "GET /read", &[])).await;
        assert_eq!(wire::status(&wire::next_message(&mut client).await.unwrap()), 200, "call {call}");
    }
}

#[tokio::test]
async fn an_http2_connection_without_calls_is_ended() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).server(r#"timeouts = { head = "150ms" }"#).start();
    let stream = wire::connect(&gateway).await;
    let (mut sender, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("{}/nothing", gateway.url)).body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 404);

    assert!(connection.await.unwrap().is_ok(), "it is told to go, and goes");
}

#[tokio::test]
async fn a_head_that_is_too_long_or_has_too_many_fields_is_431() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).server(r#"limits = { head = "8KiB", headers = 20 }"#).start();
    let session = gateway.mint("support").await;
    let long = format!("x-long: {}", "x".repeat(9000));
    let many: Vec<String> = (0..20).map(|number| format!("x-{number}: y")).collect();
    for headers in [vec![long.as_str()], many.iter().map(String::as_str).collect()] {
        let mut client = wire::send(&gateway, wire::head(&session, "GET /read", &headers)).await;
        assert_eq!(wire::status(&rest(&mut client).await), 431);
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn a_connection_beyond_the_bound_is_closed_and_one_that_ends_makes_room() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).server("limits = { connections = 3 }").start();
    let kept: Vec<TcpStream> = futures_util::future::join_all((0..3).map(|_| wire::connect(&gateway))).await;
    let get = "GET /nothing HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n";
    let mut one_more = wire::connect(&gateway).await;
    wire::write(&mut one_more, get).await;
    assert_eq!(rest(&mut one_more).await, "");

    drop(kept);

    let is_served = AtomicBool::new(false);
    while !is_served.load(Ordering::Relaxed) {
        let mut client = wire::connect(&gateway).await;
        wire::write(&mut client, get).await;
        is_served.store(rest(&mut client).await.contains("404"), Ordering::Relaxed);
    }
}

#[tokio::test]
async fn bodies_that_are_held_together_have_a_bound_and_leave_it_with_their_calls() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor)
        .server(r#"limits = { bodies = "100KiB" }"#)
        .bot(r#"limits = { body = "100KiB" }"#)
        .start();
    let session = gateway.mint("support").await;
    let body = json!({"text": "x".repeat(60 << 10)}).to_string();
    let length = format!("content-length: {}", body.len());
    let headers = ["content-type: application/json", "connection: close", &length];
    let call = wire::head(&session, &format!("POST /sessions/{}/say", session.id), &headers) + &body;
    let (all_but_one, last) = call.split_at(call.len() - 1);

    // Each has sent all but one byte, and there is no room for both.
    let mut clients = [wire::send(&gateway, all_but_one).await, wire::send(&gateway, all_but_one).await];
    let [first, second] = &mut clients;
    let refused = tokio::select! {
        _answered = first.readable() => 0,
        _answered = second.readable() => 1,
    };
    let answer = rest(&mut clients[refused]).await;
    assert_eq!(wire::status(&answer), 503);
    assert!(answer.contains("overloaded") && answer.contains("retry-after: 1\r\n"), "{answer}");

    let other = &mut clients[1 - refused];
    wire::write(other, last).await;
    assert_eq!(wire::status(&rest(other).await), 200);
    assert_eq!(vendor.seen().len(), 1);
    // All of it is free again.
    let mut again = wire::send(&gateway, &call).await;
    assert_eq!(wire::status(&rest(&mut again).await), 200);
}

#[tokio::test]
async fn an_upload_that_a_vendor_answers_and_does_not_read_ends_without_either() {
    let vendor = TestVendor::raw(move |_, mut stream| async move {
        wire::read_until(&mut stream, "\r\n\r\n").await;
        // By now the upload is stuck.
        tokio::time::sleep(Duration::from_secs(1)).await;
        wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        std::future::pending::<()>().await;
    });
    let limits = r#"limits = { streams = 1, per_session = "off", per_bot = "100000/1m", mint_per_ip = "30/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).vendor(r#"timeouts = { idle = "2s" }"#).bot(limits).start();
    let session = gateway.mint("support").await;
    let head = wire::head(&session, "POST /echo", &["content-type: text/plain", "transfer-encoding: chunked"]);
    let mut client = wire::send(&gateway, head).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    let more = |sent: Result<std::io::Result<()>, _>| sent.is_ok_and(|sent| sent.is_ok());
    // Until nobody takes more of it.
    while more(tokio::time::timeout(Duration::from_millis(100), client.write_all(chunk.as_bytes())).await) {}
    wire::read_until(&mut client, "\r\n\r\nok").await;
    client.set_zero_linger().unwrap();
    drop(client);
    let end = Instant::now() + Duration::from_secs(8);
    while wire::status(&wire::call(&gateway, &session, "GET /read", &[], "").await) != 200 {
        assert!(Instant::now() < end, "the upload counts as open for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

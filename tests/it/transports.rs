//! What clients speak: HTTP/1.1 and HTTP/2, in plain text and over TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use reqwest::{Client, Method};
use rustls::{ClientConfig, HandshakeKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::authority::Authority;
use crate::support::front::Secure;
use crate::support::gateway::{KEY, TestGateway};
use crate::support::secure::SecureVendor;
use crate::support::vendor::{TestVendor, streaming, whole};
use crate::support::{eventually, wire};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// What is heard last on a connection.
const END: &str = " (the end)";

/// A vendor that answers so once it has heard this, and all that it hears on its only connection.
fn hearing(words: &'static str, answer: &'static str) -> (TestVendor, Arc<Mutex<String>>) {
    let heard = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&heard);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let log = Arc::clone(&log);
        async move {
            let (mut part, mut is_answered) = ([0; 4096], false);
            while let Ok(length @ 1..) = stream.read(&mut part).await {
                log.lock().push_str(&String::from_utf8_lossy(&part[..length]));
                if !is_answered && log.lock().contains(words) {
                    is_answered = true;
                    wire::write(&mut stream, answer).await;
                }
            }
            log.lock().push_str(END);
        }
    });
    (vendor, heard)
}

fn http2() -> Client {
    Client::builder().http2_prior_knowledge().build().unwrap()
}

#[tokio::test]
async fn http2_by_prior_knowledge_takes_the_same_checks_and_rewriting() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let client = http2();
    let call = |token: &str| {
        let call = client.post(format!("{}/sessions/{}/say", gateway.url, session.id)).bearer_auth(token);
        call.header("cookie", "a=b")
            .header("cookie", "c=d")
            .header("te", "trailers")
            .json(&json!({"session_id": "evil", "text": "hi"}))
    };

    let (answer, refused) = (call(&session.token).send().await.unwrap(), call("forged").send().await.unwrap());

    assert_eq!((answer.version(), answer.status().as_u16(), refused.status().as_u16()), (Version::HTTP_2, 200, 401));
    assert_eq!(vendor.seen().len(), 1);
    let seen = vendor.last();
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!((&body["session_id"], &body["api_key"]), (&json!(session.id), &json!(KEY)));
    assert!(!seen.headers.contains_key("cookie") && !seen.headers.contains_key("te") && !seen.contains(&session.token));
    assert_eq!(seen.headers["host"], vendor.url.trim_start_matches("http://"));
}

#[tokio::test]
async fn http2_streams_as_it_comes_and_a_reset_ends_the_vendors_call() {
    let (vendor, senders) = streaming("text/event-stream");
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let client = http2();
    let open = async || client.get(format!("{}/read", gateway.url)).bearer_auth(&session.token).send().await.unwrap();

    let (mut left, mut kept) = (open().await, open().await);
    for (answer, number) in [(&mut left, 0), (&mut kept, 1)] {
        let sender = senders.lock()[number].clone();
        sender.send(Bytes::from("data: a\n\n")).await.unwrap();
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "data: a\n\n");
    }
    drop(left);

    let [first, second] = [0, 1].map(|number: usize| senders.lock()[number].clone());
    eventually("the end of the call that was reset", || first.is_closed()).await;
    assert!(!second.is_closed(), "the connection's other stream goes on");
    second.send(Bytes::from("data: b\n\n")).await.unwrap();
    assert_eq!(kept.chunk().await.unwrap().unwrap(), "data: b\n\n");
}

#[tokio::test]
async fn at_expiry_an_http2_stream_without_borders_is_reset() {
    let (vendor, senders) = streaming("text/plain");
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_millis(3_599_900));
    let mut answer = http2().get(format!("{}/read", gateway.url)).bearer_auth(&session.token).send().await.unwrap();
    let sender = senders.lock().pop().unwrap();
    sender.send(Bytes::from("half")).await.unwrap();

    assert_eq!(answer.chunk().await.unwrap().unwrap(), "half");
    assert!(answer.chunk().await.is_err());
    eventually("the end of the vendor's call", || sender.is_closed()).await;
}

#[tokio::test]
async fn an_http2_upload_that_is_cancelled_never_looks_complete_to_the_vendor() {
    let (vendor, came) = hearing("the whole of it", "");
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let (sender, parts) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let parts = futures_util::stream::unfold(parts, async |mut parts| parts.recv().await.map(|part| (part, parts)));
    let client = http2();
    let call = client.post(format!("{}/echo", gateway.url)).bearer_auth(&session.token);
    let call = tokio::spawn(call.body(reqwest::Body::wrap_stream(parts)).send());
    sender.send(Ok(Bytes::from("half"))).await.unwrap();
    eventually("the first half", || came.lock().contains("half")).await;

    // The client resets the stream with CANCEL.
    call.abort();

    eventually("the end of the vendor's call", || came.lock().ends_with(END)).await;
    let came = came.lock();
    assert!(!came.contains("\r\n0\r\n"), "{came:?}");
}

/// Sends the head of a call and a part of its body in HTTP/2, and then resets the stream as if nothing were wrong, once `is_due`.
/// What comes later on the connection is read after that.
async fn break_off(
    gateway: &TestGateway,
    head: http::request::Builder,
    part: &'static str,
    is_due: impl AsyncFnOnce(),
) {
    let socket = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (_answer, mut body) = client.send_request(head.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(part.as_bytes()), false).unwrap();
    is_due().await;
    body.send_reset(h2::Reason::NO_ERROR);
    let ping = Request::get(format!("{}/nothing", gateway.url)).body(()).unwrap();
    let answer = client.ready().await.unwrap().send_request(ping, true).unwrap().0.await.unwrap();
    assert_eq!(answer.status(), 404);
}

/// As a proxy in front of the gateway may reset it when its own client has left.
#[tokio::test]
async fn a_body_whose_stream_is_reset_with_no_error_is_not_taken_for_whole() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let post = |path: &str, token: &str| {
        let call = Request::post(format!("{}{path}", gateway.url)).header("authorization", format!("Bearer {token}"));
        call.header("content-type", "application/json")
    };
    // One that is made once, and so read first; one that is rewritten; one that opens a session.
    let once = post("/echo", &session.token).header("idempotency-key", "6f1a54b7-0001");
    break_off(&gateway, once, "{\"n\":1", async || ()).await;
    break_off(&gateway, post(&format!("/sessions/{}/say", session.id), &session.token), "{}", async || ()).await;
    break_off(&gateway, post("/v1/bots/support/sessions", gateway.owner.expose()), "{}", async || ()).await;

    let broken = || gateway.records().iter().filter(|record| record["code"] == "bad_request").count();
    eventually("the records of all three", || broken() == 3).await;
    assert_eq!(vendor.seen().len(), 0);
    let sessions = gateway.call(Method::GET, "/v1/sessions").bearer_auth(gateway.owner.expose()).send().await.unwrap();
    assert_eq!(sessions.json::<Value>().await.unwrap()["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_upload_whose_stream_is_reset_with_no_error_behind_its_answer_never_looks_complete_to_the_vendor() {
    let (vendor, came) =
        hearing("half", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{");
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let token = format!("Bearer {}", session.token);
    let call = Request::post(format!("{}/echo", gateway.url)).header("authorization", token);

    let answered = async || eventually("the first half", || came.lock().contains("half")).await;
    break_off(&gateway, call, "half", answered).await;

    eventually("the end of the vendor's call", || came.lock().ends_with(END)).await;
    let came = came.lock();
    assert!(!came.contains("\r\n0\r\n"), "{came:?}");
}

#[tokio::test]
async fn a_body_of_which_a_part_came_with_its_head_comes_to_the_vendor_whole_and_with_its_length() {
    let (vendor, came) = hearing("\r\n\r\n{\"n\":12}", OK);
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let head = wire::head(&session, "POST /echo", &["content-length: 8"]);
    let mut client = wire::send(&gateway, head + "{\"n\":").await;
    eventually("the first part", || came.lock().ends_with("{\"n\":")).await;

    client.write_all(b"12}").await.unwrap();

    let answer = wire::read_until(&mut client, "\r\n\r\nok").await;
    assert_eq!(wire::status(&answer), 200, "{answer}");
    assert!(came.lock().to_ascii_lowercase().contains("\r\ncontent-length: 8\r\n"), "{}", came.lock());
}

#[tokio::test]
async fn a_body_that_came_in_part_with_its_head_comes_to_an_http2_vendor_whole_and_with_its_length() {
    let authority = Authority::new();
    let config = authority.server(&["h2"], |_| {});
    let began = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&began);
    let vendor = SecureVendor::serving(authority, config, move |_, request| {
        begins.store(true, Ordering::SeqCst);
        async {
            let length = request.headers()["content-length"].to_str().unwrap().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let answer = whole(200, "text/plain", format!("{length} {}", String::from_utf8_lossy(&body)));
            answer.map(|body| body.map_err(|never| match never {}).boxed())
        }
    });
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;
    let head = wire::head(&session, "POST /echo", &["content-length: 8"]);
    let mut client = wire::send(&gateway, head + "{\"n\":").await;
    eventually("the call", || began.load(Ordering::SeqCst)).await;

    client.write_all(b"12}").await.unwrap();

    let answer = wire::read_until(&mut client, "8 {\"n\":12}").await;
    assert_eq!(wire::status(&answer), 200, "{answer}");
}

/// All that was declared is there, but for the word that no more comes: of more, the call would be malformed.
#[tokio::test]
async fn a_body_of_an_http2_client_is_whole_once_its_stream_has_ended_and_not_before() {
    for is_ended_well in [true, false] {
        let (vendor, came) = hearing("\r\n\r\n{\"n\":12}", OK);
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;
        let socket = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.unwrap();
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let head = Request::post(format!("{}/echo", gateway.url)).header("content-length", "8");
        let head = head.header("authorization", format!("Bearer {}", session.token)).body(()).unwrap();
        let (answer, mut body) = client.ready().await.unwrap().send_request(head, false).unwrap();
        body.send_data(Bytes::from_static(b"{\"n\":12}"), false).unwrap();
        eventually("the head", || came.lock().contains("\r\n\r\n")).await;
        assert!(came.lock().ends_with("\r\n\r\n"), "{}", came.lock());

        if is_ended_well {
            body.send_data(Bytes::new(), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
            assert!(came.lock().to_ascii_lowercase().contains("\r\ncontent-length: 8\r\n"), "{}", came.lock());
        } else {
            body.send_reset(h2::Reason::NO_ERROR);
            eventually("the end of the vendor's call", || came.lock().ends_with(&format!("\r\n\r\n{END}"))).await;
        }
    }
}

#[tokio::test]
async fn a_request_is_read_however_its_bytes_arrive() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let call = wire::head(&session, "POST /echo", &["content-length: 2", "connection: close"]) + "{}";

    let mut client = wire::connect(&gateway).await;
    client.set_nodelay(true).unwrap();
    for byte in call.bytes() {
        client.write_all(&[byte]).await.unwrap();
        // Each byte is a segment of its own.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let answer = wire::read_until(&mut client, "\r\n\r\n{}").await;
    assert_eq!(wire::status(&answer), 200);
}

#[tokio::test]
async fn calls_in_a_row_share_a_connection_and_nothing_else() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let (first, second) = (gateway.mint("support").await, gateway.mint("support").await);
    let mut client = wire::connect(&gateway).await;
    for (session, body) in [(&first, "{\"n\":1}"), (&second, "{\"n\":2}"), (&first, "{\"n\":3}")] {
        let call = wire::head(session, "POST /echo", &["content-length: 7"]) + body;
        client.write_all(call.as_bytes()).await.unwrap();
        let answer = wire::read_until(&mut client, body).await;
        assert_eq!(wire::status(&answer), 200);
    }
    let anonymous = "POST /echo HTTP/1.1\r\nhost: gateway\r\ncontent-length: 2\r\n\r\n{}";
    client.write_all(anonymous.as_bytes()).await.unwrap();
    assert_eq!(wire::status(&wire::read_until(&mut client, "credential_required").await), 401);
    assert_eq!(vendor.seen().len(), 3);
}

#[tokio::test]
async fn tls_1_2_and_1_3_speak_http2_and_http1_by_alpn() {
    let vendor = TestVendor::echo();
    let secure = Secure::in_front_of(&vendor);
    for tls in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (alpn, version) in [
            (&["h2", "http/1.1"][..], Version::HTTP_2),
            (&["http/1.1", "h2"], Version::HTTP_2),
            (&["http/1.1"], Version::HTTP_11),
            (&[], Version::HTTP_11),
        ] {
            let stream = secure.connect(tls, alpn, Some("localhost")).await;
            let owner = secure.gateway.owner.expose();
            let (spoken, status, minted) =
                secure.post(stream, "localhost", "/v1/bots/support/sessions", owner, "{}").await;
            assert_eq!((spoken, status), (version, 201), "{tls:?} {alpn:?}");
            let minted: Value = serde_json::from_slice(&minted).unwrap();

            let stream = secure.connect(tls, alpn, Some("localhost")).await;
            let token = minted["token"].as_str().unwrap();
            let (_, status, echoed) = secure.post(stream, "localhost", "/echo", token, "{\"a\":1}").await;
            assert_eq!((status, echoed.as_ref()), (200, &b"{\"a\":1}"[..]));
        }
    }
    assert_eq!(vendor.seen().len(), 8);
}

#[tokio::test]
async fn a_tls_session_is_taken_up_again_however_many_others_there_were() {
    let vendor = TestVendor::echo();
    let secure = Secure::in_front_of(&vendor);
    let token = secure.token().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let call = async |client: &Arc<ClientConfig>, host| {
            let stream = secure.connect_as(client, "localhost").await;
            let kind = stream.get_ref().1.handshake_kind();
            let (_, status, _) = secure.post(stream, host, "/echo", &token, "{}").await;
            (kind, status)
        };
        let visitor = Arc::new(secure.client(version, &["http/1.1"]));
        assert_eq!(call(&visitor, "localhost").await, (Some(HandshakeKind::Full), 200), "{version:?}");
        // More than a server that keeps a list of them usually remembers.
        for _ in 0..300 {
            secure.connect(version, &["http/1.1"], Some("localhost")).await;
        }
        assert_eq!(call(&visitor, "localhost").await, (Some(HandshakeKind::Resumed), 200), "{version:?}");
        // It is for the host that it was for.
        assert_eq!(call(&visitor, "example.com").await, (Some(HandshakeKind::Resumed), 421), "{version:?}");
    }
}

#[tokio::test]
async fn plain_http_is_not_answered_where_tls_is_spoken() {
    let vendor = TestVendor::echo();
    let secure = Secure::in_front_of(&vendor);

    let answer = secure.gateway.call(Method::GET, "/read").bearer_auth("x").send().await;

    assert!(answer.is_err());
    assert!(vendor.seen().is_empty());
}

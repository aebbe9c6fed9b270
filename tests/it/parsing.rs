//! What can be read in two ways is refused: hosts, targets, lengths, codings, chunks; over HTTP/1.1, HTTP/2 and TLS.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::front::Secure;
use crate::support::gateway::{PAGE, Session, TestGateway};
use crate::support::vendor::TestVendor;
use crate::support::wire;

/// All that comes back for these bytes, until the gateway closes.
async fn answer(gateway: &TestGateway, bytes: impl AsRef<[u8]>) -> String {
    let mut answer = Vec::new();
    let mut stream = wire::send(gateway, bytes).await;
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// A refusal of this code that closes the connection, and that a page may read.
fn assert_refused(answer: &str, code: &str, what: &str) {
    assert_eq!(wire::status(answer), 400, "{what}: {answer}");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{what}: {answer}");
    for part in [&format!("\"code\":\"{code}\""), "connection: close\r\n", "x-request-id: ", "vary: Origin"] {
        assert!(answer.contains(part), "{what}: {part} is not in {answer}");
    }
    assert!(answer.contains(&format!("access-control-allow-origin: {PAGE}\r\n")), "{what}: {answer}");
}

/// Sends a call as `session` that is one of a page, and another behind it.
async fn refused(gateway: &TestGateway, session: &Session, call: &str, lines: &[&str], code: &str) {
    let token = &session.token;
    let head =
        |call: &str, lines: &str| format!("{call}\r\norigin: {PAGE}\r\nauthorization: Bearer {token}\r\n{lines}\r\n");
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let bytes = head(call, &lines) + &head("GET /read HTTP/1.1", "host: gateway\r\n");
    assert_refused(&answer(gateway, bytes).await, code, call);
}

#[tokio::test]
async fn host_that_is_missing_doubled_or_not_a_host_is_400_and_nothing_behind_it_is_read() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    for lines in [
        &[][..],
        &["host:"],
        &["host: gateway", "host: gateway"],
        &["host: gateway", "Host: other"],
        &["host: user@gateway"],
        &["host: gateway/path"],
        &["host: gateway, other"],
        &["host: gateway:80:80"],
        &["host: gate%77ay"],
    ] {
        refused(&gateway, &session, "GET /read HTTP/1.1", lines, "bad_host").await;
    }
    refused(&gateway, &session, "GET /read HTTP/1.0", &[], "bad_host").await;
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn target_that_is_no_path_is_400() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    for call in ["OPTIONS *", "GET *", "GET gateway:443", "CONNECT gateway:443", "GET ftp://gateway/read"] {
        refused(&gateway, &session, &format!("{call} HTTP/1.1"), &["host: gateway"], "bad_request").await;
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn absolute_target_agrees_with_host_but_for_case_default_port_and_trailing_dot_or_is_400() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    for (target, host) in [("http://Gateway:80/read", "gateway."), ("https://gateway/read", "gateway:443")] {
        let call = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer ");
        let answer = answer(&gateway, format!("{call}{}\r\n\r\n", session.token)).await;
        assert_eq!(wire::status(&answer), 200, "{target} {host}: {answer}");
    }
    assert_eq!(vendor.seen().len(), 2);
    for lines in [&["host: other"][..], &["host: gateway:8080"], &[]] {
        refused(&gateway, &session, "GET http://gateway/read HTTP/1.1", lines, "bad_host").await;
    }
    refused(&gateway, &session, "GET http://u@gateway/read HTTP/1.1", &["host: gateway"], "bad_host").await;
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test]
async fn length_that_is_not_plain_digits_is_400() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    for length in ["005", "00", "0000000000000000000000"] {
        let line = format!("content-length: {length}");
        refused(&gateway, &session, "POST /echo HTTP/1.1", &["host: gateway", &line], "bad_request").await;
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn transfer_coding_that_is_not_chunked_alone_is_400() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    for coding in
        ["gzip, chunked", ", chunked", "chunked, chunked", "Chunked", "identity\r\ntransfer-encoding: chunked"]
    {
        let line = format!("transfer-encoding: {coding}");
        refused(&gateway, &session, "POST /echo HTTP/1.1", &["host: gateway", &line], "bad_request").await;
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn preflight_that_can_be_read_in_two_ways_is_400() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint("support").await;
    let asks = "access-control-request-method: POST";
    refused(&gateway, &session, "OPTIONS /echo HTTP/1.1", &[asks], "bad_host").await;
    refused(&gateway, &session, "OPTIONS * HTTP/1.1", &["host: gateway", asks], "bad_request").await;
}

#[tokio::test]
async fn of_content_length_and_chunked_the_vendor_gets_one_and_the_connection_closes() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    for lines in
        [["content-length: 3", "transfer-encoding: chunked"], ["transfer-encoding: chunked", "content-length: 3"]]
    {
        let call = wire::head(&session, "POST /echo", &lines) + "2\r\nok\r\n0\r\n\r\n";
        let answer = answer(&gateway, call.clone() + &wire::head(&session, "GET /read", &[])).await;
        assert_eq!((wire::status(&answer), answer.matches("HTTP/1.1 ").count()), (200, 1), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        let seen = vendor.last();
        assert_eq!((&seen.body[..], seen.headers.get("content-length")), (&b"ok"[..], None));
    }
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test]
async fn malformed_chunk_is_400_to_the_client_wherever_the_body_is_read() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let kit = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    let say = format!("POST /sessions/{}/say", session.id);
    let as_owner = |gateway: &TestGateway| Session {
        token: gateway.owner.expose().to_owned(),
        id: String::new(),
        conversation: String::new(),
    };
    let calls = [
        (&gateway, &session, "POST /echo"),
        (&gateway, &session, &say),
        (&gateway, &as_owner(&gateway), "POST /v1/bots/support/sessions"),
        (&kit, &as_owner(&kit), "POST /api/v1/bot/bot_1/session/create"),
    ];
    let lines = ["content-type: application/json", "transfer-encoding: chunked", &format!("origin: {PAGE}")];
    for (gateway, caller, call) in calls {
        // An owner's secret is no page's.
        let lines = if caller.id.is_empty() { &lines[..2] } else { &lines[..] };
        for chunk in
            ["x\r\n{}\r\n0\r\n\r\n", "2\r\n{}x\r\n0\r\n\r\n", "ffffffffffffffff0\r\n{}", "-2\r\n{}\r\n0\r\n\r\n"]
        {
            let answer = answer(gateway, wire::head(caller, call, lines) + chunk).await;
            assert_eq!(wire::status(&answer), 400, "{call} {chunk:?}: {answer}");
            assert!(answer.contains("connection: close\r\n") && answer.contains("x-request-id: "), "{answer}");
        }
    }
    assert!(vendor.seen().is_empty(), "a body that breaks off is no call");
}

#[tokio::test]
async fn chunk_that_is_malformed_once_the_vendor_has_the_first_is_400_and_ends_the_vendors_call() {
    let came = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&came);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let log = Arc::clone(&log);
        async move {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut part).await {
                log.lock().push_str(&String::from_utf8_lossy(&part[..length]));
            }
            log.lock().push_str("<closed>");
        }
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let mut client =
        wire::send(&gateway, wire::head(&session, "POST /echo", &["transfer-encoding: chunked"]) + "4\r\nhalf\r\n")
            .await;
    crate::support::eventually("the first chunk", || came.lock().contains("half")).await;

    client.write_all(b"+4\r\nhalf\r\n0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();

    assert_eq!(wire::status(&answer), 400, "{answer}");
    crate::support::eventually("the end of the vendor's call", || came.lock().ends_with("<closed>")).await;
    assert!(!came.lock().contains("\r\n0\r\n"), "the body never looks complete");
}

/// An HTTP/2 call with this target and these headers: its status and code, or nothing if its stream was reset.
async fn http2_call(
    gateway: &TestGateway,
    session: &Session,
    call: (Method, &str),
    headers: &[(&str, &str)],
    body: &'static str,
) -> Option<(u16, String)> {
    let io = TokioIo::new(wire::connect(gateway).await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().version(Version::HTTP_2).method(call.0).uri(call.1);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request =
        request.header("authorization", format!("Bearer {}", session.token)).body(Full::new(Bytes::from(body)));
    let answer = sender.send_request(request.unwrap()).await.ok()?;
    let status = answer.status().as_u16();
    assert!(answer.headers().contains_key("x-request-id") && !answer.headers().contains_key("connection"));
    let body: Value = serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).unwrap_or_default();
    Some((status, body["code"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test]
async fn http2_authority_agrees_with_host_or_is_400() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let get = async |target: &str, hosts: &[(&str, &str)]| {
        http2_call(&gateway, &session, (Method::GET, target), hosts, "").await.unwrap()
    };
    for hosts in [&[][..], &[("host", "gateway")], &[("host", "GATEWAY.:80")]] {
        assert_eq!(get("http://gateway/read", hosts).await.0, 200, "{hosts:?}");
    }
    let bad = (400, "bad_host".to_owned());
    for hosts in [&[("host", "other")][..], &[("host", "gateway"), ("host", "gateway")], &[("host", "")]] {
        assert_eq!(get("http://gateway/read", hosts).await, bad, "{hosts:?}");
    }
    assert_eq!(get("http://gateway:8080/read", &[("host", "gateway")]).await, bad);
    assert_eq!(get("http://gate,way/read", &[]).await, bad);
    assert_eq!(vendor.seen().len(), 3);
}

#[tokio::test]
async fn http2_connect_is_400() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer = http2_call(&gateway, &session, (Method::CONNECT, "gateway:443"), &[], "").await;

    assert_eq!(answer, Some((400, "bad_request".to_owned())));
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn http2_body_that_is_not_as_long_as_its_content_length_is_no_call() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let say = format!("http://gateway/sessions/{}/say", session.id);
    for target in ["http://gateway/echo", &say] {
        let post = async |length: &str, body| {
            let headers = [("content-type", "application/json"), ("content-length", length)];
            http2_call(&gateway, &session, (Method::POST, target), &headers, body).await
        };
        assert_eq!(post("2", "{}").await.unwrap().0, 200);
        for (length, body) in [("1", "{}"), ("3", "{}"), ("0", "{}"), ("2", "")] {
            let answer = post(length, body).await;
            assert!(answer.as_ref().is_none_or(|(status, _)| *status == 400), "{target} {length} {body:?}: {answer:?}");
        }
        assert_eq!(post("002", "{}").await, Some((400, "bad_request".to_owned())));
    }
    assert_eq!(vendor.seen().len(), 2, "the two that were right");
}

#[tokio::test]
async fn http2_body_that_grows_past_its_content_length_was_not_forwarded_whole_before() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    for (length, parts) in [("1", ["x", "y"]), ("0", ["", "y"]), ("2", ["xx", "yy"])] {
        let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        let call = |path: &str| client.post(format!("{}{path}", gateway.url)).bearer_auth(&session.token);
        let (sender, body) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let body = futures_util::stream::unfold(body, async |mut body| body.recv().await.map(|part| (part, body)));
        let call_of = call("/echo").header("content-length", length).body(reqwest::Body::wrap_stream(body)).send();
        let answer = tokio::spawn(call_of);
        sender.send(Ok(Bytes::from(parts[0]))).await.unwrap();
        // Behind it on the same connection: the gateway has the first part when it answers this.
        assert_eq!(call("/echo").body("other").send().await.unwrap().text().await.unwrap(), "other");

        sender.send(Ok(Bytes::from(parts[1]))).await.unwrap();

        let answer = answer.await.unwrap();
        assert!(answer.as_ref().map_or(true, |answer| answer.status() == 400), "{length}: {answer:?}");
    }
    assert!(vendor.seen().iter().all(|call| call.body == "other"), "{:?}", vendor.seen());
}

#[tokio::test]
async fn host_outside_the_certificate_of_a_tls_name_is_421() {
    let vendor = TestVendor::echo();
    let secure = Secure::in_front_of(&vendor);
    let token = secure.token().await;
    for alpn in [&["h2"][..], &["http/1.1"]] {
        let post = async |name, host| {
            let stream = secure.connect(&rustls::version::TLS13, alpn, name).await;
            let (_, status, body) = secure.post(stream, host, "/echo", &token, "{}").await;
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        for host in ["localhost", "LOCALHOST.", "localhost:8443", "chat.example.com"] {
            assert_eq!(post(Some("localhost"), host).await, (200, "{}".to_owned()), "{alpn:?} {host}");
        }
        for host in ["example.com", "a.b.example.com", "127.0.0.1", "[::1]"] {
            let (status, body) = post(Some("localhost"), host).await;
            assert!(status == 421 && body.contains("misdirected_request"), "{alpn:?} {host}: {status} {body}");
        }
        assert_eq!(post(None, "example.com").await.0, 200, "a client that asks for no name is not judged");
    }
}

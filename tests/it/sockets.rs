//! WebSocket: the same checks as any call, then messages both ways, scanned, bounded, and no longer than the token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Method, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::Request;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use crate::support::gateway::{KEY, Session, TestGateway};
use crate::support::node::NodeClient;
use crate::support::vendor::{TestVendor, whole};
use crate::support::{eventually, wire};

/// A vendor with a WebSocket, and one call without.
const PROFILE: &str = r#"
title = "Sockets"

[[route]]
call       = "GET /sessions/{session}/stream"
to         = "/stream"
set.header = { Authorization = "Bearer {key}" }
set.query  = { session = "{session}" }
allow      = { header = ["Upgrade", "X-Note"], query = ["since"] }

[[route]]
call       = "GET /read"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*" }
"#;

/// The handshake of RFC 6455 §1.3.
const ASK: [&str; 4] = [
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
];

type Client = WebSocketStream<TcpStream>;
type Asked = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// A vendor whose WebSockets answer each message with itself, and take the protocol `v2` where it is offered.
fn echo() -> (TestVendor, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let vendor = TestVendor::raw(move |_, stream| {
        let log = Arc::clone(&log);
        async move {
            #[expect(clippy::result_large_err, reason = "the library's own signature")]
            let seen = |request: &Request, mut response: Response<()>| {
                log.lock().push((request.uri().to_string(), request.headers().clone()));
                let offered = request.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap());
                if offered.is_some_and(|offered| offered.split(", ").any(|word| word == "v2")) {
                    response.headers_mut().insert("sec-websocket-protocol", "v2".parse().unwrap());
                }
                Ok(response)
            };
            let Ok(mut socket) = accept_hdr_async(stream, seen).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    });
    (vendor, asked)
}

/// A vendor that accepts as it should, and then does this with the connection.
fn accepting<F: Future<Output = ()> + Send + 'static>(
    speak: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> TestVendor {
    let speak = Arc::new(speak);
    TestVendor::raw(move |_, mut stream| {
        let speak = Arc::clone(&speak);
        async move {
            let head = wire::read_until(&mut stream, "\r\n\r\n").await;
            let key = head.split("sec-websocket-key: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
            );
            wire::write(&mut stream, &answer).await;
            speak(stream).await;
        }
    })
}

fn path(session: &Session) -> String {
    format!("/sessions/{}/stream", session.id)
}

/// Asks for a WebSocket with the token as a header, and with these protocols.
async fn ask(gateway: &TestGateway, session: &Session, protocols: &[&str]) -> Result<(Client, HeaderMap), Error> {
    let mut request = format!("{}{}?since=5&other=6", gateway.url.replace("http", "ws"), path(session))
        .into_client_request()
        .unwrap();
    if !protocols.contains(&"keystile.bearer") {
        request.headers_mut().insert("authorization", format!("Bearer {}", session.token).parse().unwrap());
    }
    if !protocols.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocols.join(", ").parse().unwrap());
    }
    let (socket, answer) = client_async(request, wire::connect(gateway).await).await?;
    Ok((socket, answer.headers().clone()))
}

async fn open(gateway: &TestGateway, session: &Session) -> Client {
    ask(gateway, session, &[]).await.unwrap().0
}

/// The end of a WebSocket as the client gets it: its code and its reason.
async fn closed(socket: &mut Client) -> (u16, String) {
    loop {
        match socket.next().await.expect("a close frame comes first").expect("the frames are right") {
            Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
            Message::Close(None) => return (1005, String::new()),
            _other => {}
        }
    }
}

/// Asks for a WebSocket as bytes, with `behind` directly after it.
async fn ask_raw(gateway: &TestGateway, session: &Session, behind: &str) -> TcpStream {
    let call = format!("GET {}", path(session));
    wire::send(gateway, wire::head(session, &call, &ASK) + behind).await
}

#[tokio::test]
async fn messages_go_both_ways_with_the_real_key_put_in() {
    let (vendor, asked) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;

    let (mut socket, headers) = ask(&gateway, &session, &[]).await.unwrap();
    let long = "日本".repeat(50_000);
    for message in [Message::text("hello"), Message::binary(vec![0, 255]), Message::text(""), Message::text(long)] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}

    let (target, seen) = asked.lock().pop().unwrap();
    assert_eq!(target, format!("/stream?since=5&session={}", session.id));
    assert_eq!(seen["authorization"], format!("Bearer {KEY}"));
    assert!(!format!("{seen:?}").contains(&session.token));
    assert!(!headers.contains_key("sec-websocket-protocol"));
    let record = gateway.record(|record| record["status"] == 101).await;
    assert_eq!(record["route"], "GET /sessions/{session}/stream");
    assert_eq!(record["session"], session.id);
    assert!(record["bytes_out"].as_u64().unwrap() > 300_000, "{record}");
    assert!(record["bytes_in"].as_u64().unwrap() > 300_000, "{record}");
}

#[tokio::test]
async fn the_ws_client_of_npm_and_the_websocket_of_browsers_talk_through_the_gateway() {
    let client = NodeClient::install("websocket");
    let (vendor, _) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let url = format!("{}{}", gateway.url.replace("http", "ws"), path(&session));

    let said = client.run(&["socket.mjs"], &[("KEYSTILE_SOCKET", &url), ("KEYSTILE_TOKEN", &session.token)]);

    let said: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(said, json!({"server": 1000, "page": 1000, "protocol": "keystile.bearer", "refused": 401}));
}

#[tokio::test]
async fn a_token_as_subprotocol_is_never_echoed_and_never_sent_on() {
    let (vendor, asked) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;

    for (protocols, answered, passed) in [
        (vec!["keystile.bearer", &session.token], "keystile.bearer", None),
        (vec!["v1", "keystile.bearer", &session.token, "v2"], "v2", Some("v1, v2")),
        (vec!["keystile.bearer", &session.token, "v1"], "keystile.bearer", Some("v1")),
    ] {
        let (_socket, headers) = ask(&gateway, &session, &protocols).await.unwrap();
        assert_eq!(headers["sec-websocket-protocol"], answered);
        assert!(!format!("{headers:?}").contains(&session.token));
        let (_, seen) = asked.lock().pop().unwrap();
        assert_eq!(seen.get("sec-websocket-protocol").map(|value| value.to_str().unwrap()), passed);
    }
}

#[tokio::test]
async fn a_token_as_subprotocol_may_stand_in_lines_of_its_own() {
    let (vendor, asked) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let (session, other) = (gateway.mint("support").await, gateway.mint("support").await);
    let ours = session.token.as_str();

    for (lines, status, passed) in [
        (vec!["v1, keystile.bearer", ours, "v3"], 101, Some("v1, v3")),
        (vec!["keystile.bearer", "", ours], 101, None),
        (vec!["keystile.bearer", ours, "keystile.bearer", ours], 101, None),
        (vec!["keystile.bearer", ours, "keystile.bearer", &other.token], 400, None),
        (vec!["v1", ours], 401, None),
        (vec!["keystile.bearer", ours, "v1, keystile.bearer"], 401, None),
        (vec!["keystile.bearer", ours, "v\u{e9}"], 401, None),
    ] {
        let offered: String = lines.iter().map(|line| format!("sec-websocket-protocol: {line}\r\n")).collect();
        let head = format!("GET {} HTTP/1.1\r\nhost: gateway\r\n{}\r\n{offered}\r\n", path(&session), ASK.join("\r\n"));
        let mut client = wire::send(&gateway, head).await;
        let answer = wire::read_until(&mut client, "\r\n\r\n").await;
        assert_eq!(wire::status(&answer), status, "{lines:?}: {answer}");
        assert!(!answer.contains(ours), "{answer}");
        let seen = asked.lock().pop();
        assert_eq!(seen.is_some(), status == 101, "{lines:?}");
        let (_, seen) = seen.unwrap_or_default();
        assert_eq!(seen.get("sec-websocket-protocol").map(|value| value.to_str().unwrap()), passed, "{lines:?}");
    }
}

#[tokio::test]
async fn a_websocket_takes_the_same_checks_as_any_call() {
    let (vendor, asked) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).bot("limits = { streams = 1 }").start();
    let (session, other) = (gateway.mint("support").await, gateway.mint("support").await);
    let status = async |session: &Session, protocols: &[&str]| match ask(&gateway, session, protocols).await {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        asked => panic!("{asked:?}"),
    };

    assert_eq!(status(&session, &["keystile.bearer", "forged"]).await, 401);
    assert_eq!(status(&session, &["keystile.bearer", &other.token]).await, 403);
    let foreign = Session { id: other.id.clone(), conversation: String::new(), token: session.token.clone() };
    assert_eq!(status(&foreign, &[]).await, 403);
    let open = open(&gateway, &session).await;
    assert_eq!(status(&session, &[]).await, 429);
    assert_eq!(asked.lock().len(), 1);
    drop(open);
    // An open WebSocket is an open call, until it ends.
    while ask(&gateway, &session, &[]).await.is_err() {}
}

#[tokio::test]
async fn nothing_behind_the_request_is_forwarded_before_the_vendors_own_101() {
    let vendor = TestVendor::raw(|_, mut stream| async move {
        let head = wire::read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.ends_with("\r\n\r\n"), "{head:?}");
        // What came with the request would come at once.
        let early = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 64])).await;
        assert!(early.is_err(), "the vendor got {early:?} before its answer");
        wire::write(&mut stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone").await;
        let rest = stream.read(&mut [0; 64]).await;
        assert!(matches!(rest, Ok(0) | Err(_)), "the vendor got {rest:?} after its refusal");
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let smuggled = wire::head(&session, "GET /read", &[]);

    let mut client = ask_raw(&gateway, &session, &smuggled).await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();

    // A refused upgrade closes: one answer, and the second request is none.
    assert_eq!(wire::status(&answer), 404);
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn frames_behind_the_request_arrive_after_the_vendors_101() {
    let vendor = accepting(|mut stream| async move {
        assert_eq!(wire::read_until(&mut stream, "hi").await.as_bytes(), b"\x81\x82\0\0\0\0hi");
        wire::write(&mut stream, "\u{1}\u{2}ok").await;
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let mut client = wire::connect(&gateway).await;
    let head = wire::head(&session, &format!("GET {}", path(&session)), &ASK);
    let frame = b"\x81\x82\0\0\0\0hi";
    tokio::io::AsyncWriteExt::write_all(&mut client, &[head.as_bytes(), frame].concat()).await.unwrap();
    wire::read_until(&mut client, "ok").await;
}

#[tokio::test]
async fn a_route_without_websocket_answers_as_always_and_closes() {
    let vendor = TestVendor::answering(|_| whole(200, "text/plain", "plain"));
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;

    let mut client = wire::send(&gateway, wire::head(&session, "GET /read", &ASK)).await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();

    assert!(answer.contains("connection: close") && answer.ends_with("plain"), "{answer}");
    let seen = vendor.last();
    assert!(seen.headers.keys().all(|name| !name.as_str().starts_with("sec-") && name != "upgrade"), "{seen:?}");
}

#[tokio::test]
async fn a_request_that_is_not_rfc_6455_is_refused_and_its_connection_ends() {
    let (vendor, asked) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    for (changed, by, status) in [
        ("sec-websocket-version: 13", "sec-websocket-version: 8", 426),
        ("sec-websocket-version: 13", "x-nothing: 1", 426),
        ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-key: c2hvcnQ=", 400),
        ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "x-nothing: 1", 400),
        ("connection: Upgrade", "connection: keep-alive", 400),
        ("connection: Upgrade", "connection: Upgrade\r\ncontent-length: 2", 400),
        ("connection: Upgrade", "connection: Upgrade\r\ntransfer-encoding: chunked", 400),
    ] {
        let lines = ASK.map(|line| if line == changed { by } else { line });
        let mut client = wire::send(&gateway, wire::head(&session, &format!("GET {}", path(&session)), &lines)).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(wire::status(&answer), status, "{by}: {answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert_eq!(answer.contains("sec-websocket-version: 13"), status == 426, "{answer}");
    }
    assert!(asked.lock().is_empty());
}

#[tokio::test]
async fn a_101_that_is_not_for_our_key_is_502() {
    for lines in [
        "upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "upgrade: websocket",
        "upgrade: h2c\r\nsec-websocket-accept: ACCEPT",
        "upgrade: websocket\r\nsec-websocket-accept: ACCEPT\r\nsec-websocket-extensions: permessage-deflate",
        "upgrade: websocket\r\nsec-websocket-accept: ACCEPT\r\nsec-websocket-protocol: sk-real",
    ] {
        let vendor = TestVendor::raw(move |_, mut stream| async move {
            let head = wire::read_until(&mut stream, "\r\n\r\n").await;
            let key = head.split("sec-websocket-key: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
            let lines = lines.replace("ACCEPT", &accept);
            wire::write(&mut stream, &format!("HTTP/1.1 101 Ok\r\nconnection: upgrade\r\n{lines}\r\n\r\n")).await;
            let _end = stream.read(&mut [0; 64]).await;
        });
        let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
        let session = gateway.mint("support").await;
        match ask(&gateway, &session, &[]).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 502, "{lines}"),
            asked => panic!("{lines}: {asked:?}"),
        }
    }
}

#[tokio::test]
async fn a_key_is_masked_in_messages_fragments_pings_and_reasons_of_closing() {
    let vendor = accepting(|mut stream| async move {
        let (one, two) = KEY.split_at(17);
        for (first, payload) in [
            (0x81, format!("<{KEY}>").into_bytes()),
            (0x01, format!("<{one}").into_bytes()),
            (0x89, KEY.into()),
            (0x80, format!("{two}>").into_bytes()),
            (0x82, KEY.into()),
            (0x88, [&1000_u16.to_be_bytes(), KEY.as_bytes()].concat()),
        ] {
            let frame = [&[first, u8::try_from(payload.len()).unwrap()], &payload[..]].concat();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &frame).await.unwrap();
        }
        while stream.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {}
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let mut socket = open(&gateway, &session).await;
    let stars = "*".repeat(KEY.len());
    let mut got = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        got.push(message);
    }
    let Some(Message::Close(Some(close))) = got.pop() else { panic!("{got:?} has no close") };
    assert_eq!((close.code, close.reason.as_str()), (CloseCode::Normal, stars.as_str()));
    let text = Message::text(format!("<{stars}>"));
    assert_eq!(got, [text.clone(), Message::Ping(stars.clone().into()), text, Message::binary(stars)]);
}

#[tokio::test]
async fn a_websocket_ends_with_its_token_by_4401() {
    let (vendor, _) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_secs(3600) - Duration::from_millis(200));
    let mut socket = open(&gateway, &session).await;
    assert_eq!(closed(&mut socket).await.0, 4401);
    eventually("the record", || gateway.records().iter().any(|record| record["code"] == "token_expired")).await;
}

#[tokio::test]
async fn a_websocket_of_a_renewed_session_goes_on_past_the_end_of_its_token() {
    let (vendor, _) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_secs(3600) - Duration::from_millis(300));
    let mut socket = open(&gateway, &session).await;
    let renew = gateway.post(&format!("/v1/sessions/{}/renew", session.id)).bearer_auth(&session.token);
    assert_eq!(renew.send().await.unwrap().status(), 200);
    let latest = Instant::now() + Duration::from_millis(5500);
    tokio::time::sleep(Duration::from_millis(500)).await;
    while Instant::now() < latest {
        socket.send("still here".into()).await.unwrap();
        let said = socket.next().await.unwrap().unwrap();
        assert_eq!(said.into_text().unwrap(), "still here");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let end = gateway.call(Method::DELETE, &format!("/v1/sessions/{}", session.id)).bearer_auth(&session.token);
    assert_eq!(end.send().await.unwrap().status(), 204);
    assert_eq!(closed(&mut socket).await.0, 4401);
}

#[tokio::test]
async fn a_frame_that_does_not_end_is_cut_five_seconds_after_the_token() {
    let vendor = accepting(|mut stream| async move {
        // A message of 100 bytes, of which one comes a second.
        wire::write(&mut stream, "\u{1}d").await;
        while tokio::io::AsyncWriteExt::write_all(&mut stream, b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    // In the last moment of the token's leeway.
    gateway.clock.advance(Duration::from_secs(3604));
    let mut client = ask_raw(&gateway, &session, "").await;
    let answer = wire::read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(wire::status(&answer), 101);
    let mut rest = Vec::new();
    let _end = client.read_to_end(&mut rest).await;
    assert!(rest.len() < 100, "{} bytes of a frame that had 102", rest.len());
}

#[tokio::test]
async fn from_the_end_of_its_session_on_a_client_says_nothing_more_and_a_frame_that_does_not_end_is_cut() {
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let log = Arc::clone(&heard);
    let vendor = accepting(move |mut stream| {
        let log = Arc::clone(&log);
        async move {
            // The beginning of a message of 100 bytes.
            wire::write(&mut stream, "\u{1}dxxx").await;
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut part).await {
                log.lock().extend_from_slice(&part[..length]);
            }
        }
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let mut client = ask_raw(&gateway, &session, "").await;
    wire::read_until(&mut client, "dxxx").await;
    let end = gateway.call(Method::DELETE, &format!("/v1/sessions/{}", session.id)).bearer_auth(&session.token);
    assert_eq!(end.send().await.unwrap().status(), 204);
    let ended = Instant::now();

    let message = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    while tokio::io::AsyncWriteExt::write_all(&mut client, &message).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(ended.elapsed() < Duration::from_secs(4), "it goes on");
    }

    // What the vendor is told is that nobody is there any more.
    let heard = heard.lock();
    assert!(heard.is_empty() || heard[0] == 0x88, "{heard:?}");
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_websocket() {
    let (vendor, _) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).bot(r#"limits = { message = "1KiB" }"#).start();
    let session = gateway.mint("support").await;
    let mut socket = open(&gateway, &session).await;
    socket.send(Message::text("x".repeat(1024))).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().len(), 1024);
    socket.send(Message::text("x".repeat(1025))).await.unwrap();
    assert_eq!(closed(&mut socket).await.0, 1009);

    let vendor = accepting(|mut stream| async move {
        // In two frames, of which neither is too long.
        let frame =
            |head: [u8; 2], length: u16| [&head[..], &length.to_be_bytes(), &vec![b'x'; length.into()]].concat();
        let message = [frame([0x01, 126], 600), frame([0x80, 126], 425)].concat();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &message).await.unwrap();
        let _end = stream.read(&mut [0; 64]).await;
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).bot(r#"limits = { message = "1KiB" }"#).start();
    let session = gateway.mint("support").await;
    assert_eq!(closed(&mut open(&gateway, &session).await).await.0, 1009);
}

#[tokio::test]
async fn a_vendors_frame_that_two_readers_could_read_in_two_ways_is_not_passed_on() {
    let vendor = accepting(|mut stream| async move {
        // A reserved bit: a compressed message, which nobody agreed to.
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"\x81\x02ok\xc1\x02no").await.unwrap();
        let _end = stream.read(&mut [0; 64]).await;
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let mut socket = open(&gateway, &session).await;
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("ok"));
    assert_eq!(closed(&mut socket).await.0, 1011);
    eventually("the record", || gateway.records().iter().any(|record| record["code"] == "vendor_failed")).await;
}

#[tokio::test]
async fn a_silent_client_is_asked_for_a_sign_of_life_and_given_up() {
    let (vendor, _) = echo();
    let gateway =
        TestGateway::with_profile(&vendor, PROFILE).server(r#"timeouts = { websocket_ping = "150ms" }"#).start();
    let session = gateway.mint("support").await;
    let mut client = ask_raw(&gateway, &session, "").await;
    wire::read_until(&mut client, "\r\n\r\n").await;
    let mut frames = Vec::new();
    let _end = client.read_to_end(&mut frames).await;
    // Besides ours there is at most what the vendor answers to the same question.
    assert_eq!(frames.iter().filter(|byte| **byte == 0x89).count(), 1, "{frames:x?}");
}

#[tokio::test]
async fn a_client_that_gives_signs_of_life_stays_until_nothing_was_said_for_too_long() {
    let (vendor, _) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE)
        .server(r#"timeouts = { websocket_ping = "100ms", websocket_idle = "1s" }"#)
        .start();
    let session = gateway.mint("support").await;
    let mut socket = open(&gateway, &session).await;
    let mut pings = 0;
    let code = loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Ping(_) => pings += 1,
            // The vendor's sign of life.
            Message::Pong(_) => {}
            Message::Close(Some(frame)) => break u16::from(frame.code),
            other => panic!("{other:?}"),
        }
    };
    assert!(pings >= 3, "{pings}");
    assert_eq!(code, 1001);
}

#[tokio::test]
async fn one_message_too_many_waits() {
    let (vendor, _) = echo();
    // The request is one, and so is each message.
    let gateway = TestGateway::with_profile(&vendor, PROFILE).bot(r#"limits = { per_session = "3/1h" }"#).start();
    let session = gateway.mint("support").await;
    let mut socket = open(&gateway, &session).await;
    for _ in 0..3 {
        socket.send(Message::text("hello")).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    }
    let third = tokio::time::timeout(Duration::from_millis(200), socket.next()).await;
    assert!(third.is_err(), "{third:?} came although the session has no more calls");
}

#[tokio::test]
async fn a_message_that_waits_for_its_bot_takes_from_its_session_once() {
    let (vendor, _) = echo();
    // The opening, the request and the first message are all of the bot's; the clock stands still.
    let limits = r#"limits = { per_session = "4/1h", per_bot = "3/60ms" }"#;
    let gateway = TestGateway::with_profile(&vendor, PROFILE).bot(limits).start();
    let session = gateway.mint("support").await;
    let mut socket = open(&gateway, &session).await;
    for _ in 0..2 {
        socket.send(Message::text("hello")).await.unwrap();
    }
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    // It asks again every 20 ms.
    let second = tokio::time::timeout(Duration::from_millis(200), socket.next()).await;
    assert!(second.is_err(), "{second:?} came although the bot has no more calls");

    gateway.clock.advance(Duration::from_secs(1));
    let second = tokio::time::timeout(Duration::from_secs(10), socket.next()).await;
    assert_eq!(second.expect("the session has calls left").unwrap().unwrap(), Message::text("hello"));
}

#[tokio::test]
async fn frames_that_are_no_messages_arrive_all_the_same() {
    let (vendor, _) = echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let mut client = ask_raw(&gateway, &session, "").await;
    wire::read_until(&mut client, "\r\n\r\n").await;
    let pings = b"\x89\x80\0\0\0\0".repeat(150);
    tokio::io::AsyncWriteExt::write_all(&mut client, &pings).await.unwrap();
    // Each is answered; those beyond a hundred a second later.
    let mut pongs = vec![0; 300];
    client.read_exact(&mut pongs[..200]).await.unwrap();
    client.read_exact(&mut pongs[200..]).await.unwrap();
    assert_eq!(pongs, b"\x8a\x00".repeat(150));
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_vendors_side() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&said);
    let vendor = TestVendor::raw(move |_, stream| {
        let log = Arc::clone(&log);
        async move {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                log.lock().push(message);
            }
        }
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let mut client = ask_raw(&gateway, &session, "").await;
    wire::read_until(&mut client, "\r\n\r\n").await;
    drop(client);
    eventually(
        "the vendor's close",
        || matches!(said.lock().first(), Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1001),
    )
    .await;
}

#[tokio::test]
async fn a_slow_client_slows_the_vendor() {
    let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let vendor = TestVendor::raw(move |_, stream| {
        let count = Arc::clone(&count);
        async move {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
            while socket.send(Message::binary(vec![0; 65_536])).await.is_ok() {
                count.fetch_add(65_536, std::sync::atomic::Ordering::SeqCst);
            }
        }
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let client = ask_raw(&gateway, &session, "").await;
    client.readable().await.unwrap();
    let (mut before, load) = (1, || written.load(std::sync::atomic::Ordering::SeqCst));
    while before != load() {
        before = load();
        // Stuck is who has written nothing for half a second.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(before < 32 << 20, "{before} bytes are held by two sockets and the gateway");
    drop(client);
}

//! A vendor that tries to give the key, or its own token, away in another writing or another place.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{KEY, PAGE, TestGateway};
use crate::support::vendor::{TestVendor, whole};
use crate::support::wire;

/// A vendor's token for a session: with characters that encoders escape, and bits that make `/` and `+` in base64.
const TOKEN: &str = "vt/???~~~>>>+0123456789abcdefghijklmnopqrstuvwxyz";

const PROFILE: &str = r#"
title = "Tokens"
[open]
call         = "POST /open"
session      = "/id"
vendor_token = "/token"
[[route]]
call       = "GET /read"
set.header = { Authorization = "Bearer {vendor_token}" }
allow      = { header = "*" }
"#;

const UNLIMITED: &str = r#"limits = { per_session = "off", per_bot = "1000000/1m", mint_per_ip = "1000/1m" }"#;

/// A gateway in front of a vendor that opens sessions with [`TOKEN`] and answers each call with what `tell` makes of
/// its headers; and the token of a session.
async fn told(tell: impl Fn(&http::HeaderMap) -> String + Send + Sync + 'static) -> (TestVendor, TestGateway, String) {
    let vendor = TestVendor::answering(move |seen| {
        if seen.target == "/open" {
            return whole(200, "application/json", json!({"id": "s1", "token": TOKEN}).to_string());
        }
        let asked = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let status = asked("x-status").map_or(200, |status| status.parse().unwrap());
        let text = tell(&seen.headers);
        let mut answer = whole(status, &asked("x-type").unwrap_or_default(), text.clone());
        for name in ["etag", "content-language", "location", "x-key", "set-cookie"] {
            answer.headers_mut().insert(name, text.replace(['\r', '\n'], " ").parse().unwrap());
        }
        answer
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).bot(UNLIMITED).start();
    let minted: Value = gateway.ask("support", json!({})).await.json().await.unwrap();
    let token = minted["token"].as_str().unwrap().to_owned();
    (vendor, gateway, token)
}

/// How `secret` can be written: each writing with the name that tells which it is.
fn writings(secret: &str) -> Vec<(&'static str, String)> {
    let each = |write: &dyn Fn(usize, u8) -> String| {
        secret.bytes().enumerate().map(|(at, byte)| write(at, byte)).collect::<String>()
    };
    let some = |at: usize, byte: u8, escape: String| if at % 3 == 1 { escape } else { char::from(byte).to_string() };
    let mut writings = vec![
        ("raw", secret.to_owned()),
        ("percent", each(&|_, byte| format!("%{byte:02x}"))),
        ("PERCENT", each(&|_, byte| format!("%{byte:02X}"))),
        ("some percent", each(&|at, byte| some(at, byte, format!("%{byte:02X}")))),
        ("JSON", each(&|_, byte| format!("\\u{byte:04x}"))),
        ("some JSON", each(&|at, byte| some(at, byte, format!("\\u{byte:04X}")))),
        ("slashes", secret.replace('/', "\\/")),
        ("hex", each(&|_, byte| format!("{byte:02x}"))),
        ("HEX", each(&|_, byte| format!("{byte:02X}"))),
    ];
    for before in 0..3 {
        for (engine, name) in [(&STANDARD, "base64"), (&URL_SAFE, "base64url")] {
            let encoded = engine.encode("?".repeat(before) + secret);
            // What the secret alone determines.
            let encoded = &encoded[(before * 8).div_ceil(6)..(before + secret.len()) * 8 / 6];
            writings.push((name, encoded.to_owned()));
            writings.push((name, encoded.replace('/', "\\/")));
            writings.push((name, encoded.replace('/', "%2F").replace('+', "%2b")));
        }
    }
    writings
}

/// Both secrets in all writings.
fn all_writings() -> Vec<(&'static str, String)> {
    [KEY, TOKEN].into_iter().flat_map(writings).collect()
}

#[tokio::test]
async fn no_writing_of_a_secret_passes_in_a_header_or_a_body_of_any_status_and_type() {
    let written = all_writings();
    let (_vendor, gateway, token) = told(move |asked| {
        let number: usize = asked["x-writing"].to_str().unwrap().parse().unwrap();
        format!("data: {{\"a\":\"<{}>\"}}", written[number].1)
    })
    .await;
    let kinds = [
        (200, "text/plain"),
        (200, "text/event-stream"),
        (200, "application/jsonl"),
        (404, "application/json"),
        (500, "text/html"),
    ];
    for (number, (name, writing)) in all_writings().iter().enumerate() {
        let (status, media) = kinds[number % kinds.len()];
        let call = gateway.call(Method::GET, "/read").bearer_auth(&token).header("x-status", status);
        let answer = call.header("x-type", media).header("x-writing", number).send().await.unwrap();

        let expected = format!("data: {{\"a\":\"<{}>\"}}", "*".repeat(writing.len()));
        assert_eq!(answer.status(), status, "{name}");
        assert_eq!(answer.headers()["etag"], expected, "{name}");
        assert_eq!(answer.headers()["content-language"], expected, "{name}");
        for never in ["location", "x-key", "set-cookie"] {
            assert!(!answer.headers().contains_key(never), "{never}");
        }
        assert_eq!(answer.text().await.unwrap(), expected, "{name}");
    }
}

#[tokio::test]
async fn no_writing_of_a_secret_passes_wherever_chunks_cut_it() {
    let bodies: Vec<String> =
        all_writings().into_iter().map(|(_, writing)| format!("data: {{\"a\":\"{writing}\"}}\n\n")).collect();
    let served = bodies.clone();
    let vendor = TestVendor::raw(move |_, mut stream| {
        let bodies = served.clone();
        async move {
            while let Some(call) = wire::next_message(&mut stream).await {
                let answer = if call.starts_with("POST /open ") {
                    let body = json!({"id": "s1", "token": TOKEN}).to_string();
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                } else {
                    let asked = |name: &str| -> usize {
                        call.split(&format!("{name}: ")).nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap()
                    };
                    let (body, at) = (&bodies[asked("x-writing")], asked("x-cut"));
                    let parts = [&body[..at], &body[at..at + 1], &body[at + 1..]];
                    let chunks = parts.iter().filter(|part| !part.is_empty());
                    let chunks: String = chunks.map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
                    format!("{head}\r\n\r\n{chunks}0\r\nx-key: {KEY}\r\n\r\n")
                };
                wire::write(&mut stream, &answer).await;
            }
        }
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).bot(UNLIMITED).start();
    let minted: Value = gateway.ask("support", json!({})).await.json().await.unwrap();
    let token = minted["token"].as_str().unwrap();
    for (number, body) in bodies.iter().enumerate() {
        let expected = format!("data: {{\"a\":\"{}\"}}\n\n", "*".repeat(body.len() - 16));
        // Each offset of some writing, and some offset of each.
        let step = if number < 9 { 1 } else { 7 };
        for at in (number % step..body.len()).step_by(step) {
            let call = gateway.call(Method::GET, "/read").bearer_auth(token).header("x-writing", number);
            let answer = call.header("x-cut", at).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), expected, "{body} cut at {at}");
        }
    }
}

#[tokio::test]
async fn no_secret_passes_in_a_reason_phrase_an_interim_answer_or_a_trailer() {
    for place in [
        format!("HTTP/1.1 200 {KEY}\r\ncontent-length: 2\r\n\r\nok"),
        format!("HTTP/1.1 103 {KEY}\r\nlink: <{KEY}>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-key: {KEY}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;{KEY}\r\nok\r\n0\r\netag: {KEY}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{KEY}: a\r\ncontent-length: 2\r\n\r\nok"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2, {KEY}\r\n\r\nok"),
        format!("HTTP/9.9 {KEY}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: {KEY}\r\ncontent-length: 2\r\n\r\nok"),
    ] {
        let written = place.clone();
        let vendor = TestVendor::raw(move |_, mut stream| {
            let answer = written.clone();
            async move {
                let _call = wire::next_message(&mut stream).await;
                wire::write(&mut stream, &answer).await;
            }
        });
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;

        let answer = wire::call(&gateway, &session, "GET /read", &["te: trailers"], "").await;

        assert!(!answer.contains(KEY), "{place}: {answer}");
        let is_whole = answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("ok");
        assert!(is_whole || wire::status(&answer) == 502, "{place}: {answer}");
    }
}

#[tokio::test]
async fn two_ranges_do_not_make_a_secret_of_two_halves() {
    let (vendor, gateway, token) = told(|asked| {
        // What a vendor does that serves ranges.
        let first = asked.get("range").map_or(0, |range| usize::from(range == "bytes=20-") * 20);
        KEY[first..].to_owned()
    })
    .await;
    for range in ["bytes=0-19", "bytes=20-"] {
        let call = gateway.call(Method::GET, "/read").bearer_auth(&token).header("range", range);
        let answer = call.header("if-range", "\"a\"").send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "*".repeat(KEY.len()));
        let seen = vendor.last();
        assert!(!seen.headers.contains_key("range") && !seen.headers.contains_key("if-range"));
        assert_eq!(seen.headers["accept-encoding"], "identity");
    }
}

#[tokio::test]
async fn no_writing_of_a_secret_passes_as_the_id_of_a_session() {
    for (name, writing) in all_writings() {
        let id = format!("c-{writing}");
        let vendor = TestVendor::answering(move |_| {
            whole(200, "application/json", json!({"id": id, "token": TOKEN}).to_string())
        });
        let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
        let answer = gateway.ask("support", json!({})).await;
        assert_eq!(answer.status(), 502, "{name} {writing}");
        assert!(!answer.text().await.unwrap().contains(&writing), "{name}");
        assert!(!Value::from(gateway.records_of(1).await).to_string().contains(&writing));
    }
}

#[tokio::test]
async fn no_writing_of_a_secret_comes_out_of_an_escape_that_the_gateway_resolves() {
    let written = |text: &str| format!("\\u0025{:02x}{}", text.as_bytes()[0], &text[1..]);
    let own = "title = \"Own\"\n[[route]]\ncall = \"GET /read\"\nanswer.json = { id = \"{session}\" }\n";
    let hidden = format!("{{\"sessionId\":\"s1\",\"{0}\":\"a\",\"b\":\"{0}\"}}", written(KEY));
    let vendor = TestVendor::answering(move |_| whole(200, "application/json", hidden.clone()));
    let gateway = TestGateway::with_profile(&vendor, own).start();
    let session = gateway.mint("support").await;
    let rewritten = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();

    let genesys = TestGateway::built_in(&vendor, "genesys").start();
    let opened = genesys.call(Method::PUT, "/sessions/new").header("origin", PAGE).send().await.unwrap();

    let percent = format!("%{:02x}{}", KEY.as_bytes()[0], &KEY[1..]);
    for answer in [rewritten, opened] {
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success() && !text.contains(&percent), "{status} {text}");
    }
}

//! Secrets do not come back: a vendor that tells its key or token is masked, whatever the borders of the chunks.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{KEY, TestGateway};
use crate::support::vendor::{TestVendor, streaming, whole};
use crate::support::wire;

const UNLIMITED: &str = r#"limits = { per_session = "off", per_bot = "1000000/1m", mint_per_ip = "1000/1m" }"#;
/// A vendor's token for a session.
const VENDOR_TOKEN: &str = "vt-0123456789abcdefghijklmnopqrstuvwxyz";

fn mask(secret: &str) -> String {
    "*".repeat(secret.len())
}

#[tokio::test]
async fn a_key_in_a_plain_body_is_masked_at_the_same_length() {
    let vendor = TestVendor::answering(|_| whole(200, "text/plain", format!("a{KEY}{KEY}b{}", &KEY[..20])));
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();

    let expected = format!("a{0}{0}b{1}", mask(KEY), &KEY[..20]);
    assert_eq!(answer.headers()["content-length"], expected.len().to_string());
    assert_eq!(answer.text().await.unwrap(), expected);
}

#[tokio::test]
async fn a_key_in_a_header_is_masked() {
    let vendor = TestVendor::answering(|_| {
        let mut answer = whole(200, "text/plain", "ok");
        for (name, value) in [
            ("etag", format!("\"{KEY}\"")),
            ("retry-after", KEY.to_owned()),
            ("content-disposition", format!("x={KEY}")),
        ] {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        answer.headers_mut().append("etag", KEY.parse().unwrap());
        answer
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();

    assert!(!format!("{:?}", answer.headers()).contains(KEY), "{:?}", answer.headers());
    let etags: Vec<_> = answer.headers().get_all("etag").iter().cloned().collect();
    assert_eq!(etags, [format!("\"{}\"", mask(KEY)), mask(KEY)]);
}

#[tokio::test]
async fn a_key_that_is_cut_at_any_offset_is_masked() {
    for length in [true, false] {
        let vendor = TestVendor::raw(move |_, mut stream| async move {
            let text = format!("<{KEY}>");
            loop {
                let head = wire::read_until(&mut stream, "\r\n\r\n").await;
                let at: usize = head.split("x-cut: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
                let (first, second) = text.split_at(at);
                let (framing, parts) = if length {
                    (format!("content-length: {}", text.len()), [first.to_owned(), second.to_owned()])
                } else {
                    let chunk = |part: &str| {
                        if part.is_empty() { String::new() } else { format!("{:x}\r\n{part}\r\n", part.len()) }
                    };
                    ("transfer-encoding: chunked".to_owned(), [chunk(first), chunk(second) + "0\r\n\r\n"])
                };
                wire::write(
                    &mut stream,
                    &format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{framing}\r\n\r\n{}", parts[0]),
                )
                .await;
                // Without it both parts would often come in one read. That the mask holds does not hang on it.
                tokio::time::sleep(Duration::from_millis(3)).await;
                wire::write(&mut stream, &parts[1]).await;
            }
        });
        let gateway = TestGateway::in_front_of(&vendor).bot(UNLIMITED).start();
        let session = gateway.mint("support").await;
        for at in 0..=KEY.len() + 2 {
            let call = gateway.call(Method::GET, "/read").bearer_auth(&session.token).header("x-cut", at.to_string());
            assert_eq!(call.send().await.unwrap().text().await.unwrap(), format!("<{}>", mask(KEY)), "cut at {at}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_dripped_byte_by_byte_is_masked() {
    let (vendor, senders) = streaming("text/event-stream");
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    let sender = senders.lock().pop().unwrap();
    let text = format!("data: sk-{KEY}\n\n");

    for byte in text.bytes() {
        sender.send(Bytes::from(vec![byte])).await.unwrap();
    }
    drop(sender);

    assert_eq!(answer.text().await.unwrap(), format!("data: sk-{}\n\n", mask(KEY)));
}

#[tokio::test]
async fn a_key_that_is_dripped_with_long_pauses_is_not_told_as_a_whole() {
    let (vendor, senders) = streaming("text/plain");
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    let sender = senders.lock().pop().unwrap();

    for part in [&KEY[..5], &KEY[5..9], &KEY[9..]] {
        sender.send(Bytes::copy_from_slice(part.as_bytes())).await.unwrap();
        // Longer than anything is held back.
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    drop(sender);

    let text = answer.text().await.unwrap();
    assert_eq!(text.len(), KEY.len());
    assert!(text[7..].bytes().all(|byte| byte == b'*'), "{text}");
}

#[tokio::test]
async fn what_only_begins_like_a_key_arrives_within_the_pause() {
    let (vendor, senders) = streaming("text/event-stream");
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let mut answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    let sender = senders.lock().pop().unwrap();

    sender.send(Bytes::from(format!("data: {}", &KEY[..3]))).await.unwrap();
    let mut text = Vec::new();
    // The vendor is silent now; nothing but the end of the pause brings the last bytes.
    while text.len() < 9 {
        let part = tokio::time::timeout(Duration::from_secs(5), answer.chunk()).await.unwrap();
        text.extend_from_slice(&part.unwrap().unwrap());
    }

    assert_eq!(text, format!("data: {}", &KEY[..3]).as_bytes());
    drop(sender);
}

#[tokio::test]
async fn a_beginning_of_a_key_at_the_end_of_a_body_arrives() {
    for end in 1..KEY.len() {
        let vendor = TestVendor::answering(move |_| whole(200, "text/plain", format!("a {}", &KEY[..end])));
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;
        let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), format!("a {}", &KEY[..end]));
    }
}

#[tokio::test]
async fn a_vendors_token_is_masked_in_headers_and_bodies() {
    const PROFILE: &str = r#"
title = "Tokens"
[open]
call         = "POST /open"
session      = "/id"
vendor_token = "/token"
[[route]]
call       = "GET /read"
set.header = { Authorization = "Bearer {vendor_token}" }
"#;
    let vendor = TestVendor::answering(|seen| match seen.target.as_str() {
        "/open" => whole(200, "application/json", json!({"id": "s1", "token": VENDOR_TOKEN}).to_string()),
        _ => {
            let mut answer = whole(200, "text/plain", format!("{:?}", seen.headers["authorization"]));
            answer.headers_mut().insert("etag", seen.headers["authorization"].clone());
            answer
        }
    });
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let minted = gateway.ask("support", json!({})).await.text().await.unwrap();
    assert!(!minted.contains(VENDOR_TOKEN), "{minted}");
    let token = serde_json::from_str::<serde_json::Value>(&minted).unwrap()["token"].as_str().unwrap().to_owned();

    let answer = gateway.call(Method::GET, "/read").bearer_auth(&token).send().await.unwrap();

    assert_eq!(vendor.last().headers["authorization"], format!("Bearer {VENDOR_TOKEN}"));
    assert_eq!(answer.headers()["etag"], format!("Bearer {}", mask(VENDOR_TOKEN)));
    assert_eq!(answer.text().await.unwrap(), format!("\"Bearer {}\"", mask(VENDOR_TOKEN)));
}

#[tokio::test]
async fn a_vendor_that_refuses_with_the_key_in_its_words_tells_nobody() {
    for status in [401, 403, 302, 400, 500] {
        let vendor = TestVendor::answering(move |_| {
            let mut answer = whole(status, "application/json", json!({"error": format!("bad key {KEY}")}).to_string());
            answer.headers_mut().insert("location", format!("https://other.example/{KEY}").parse().unwrap());
            answer.headers_mut().insert("www-authenticate", format!("Bearer realm=\"{KEY}\"").parse().unwrap());
            answer
        });
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;

        let answer = wire::call(&gateway, &session, "POST /echo", &[], "{}").await;

        assert!(!answer.contains(KEY), "{answer}");
        assert!(!Value::from(gateway.records_of(2).await).to_string().contains(KEY));
    }
}

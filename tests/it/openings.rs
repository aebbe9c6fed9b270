//! A vendor that misbehaves when it is to open a session: each caller is told so, gets no token, and the next one finds
//! everything as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::gateway::KEY;
use crate::support::openings::{Kind, Opening, fails, gateway_of, succeeds};
use crate::support::vendor::{Answer, TestVendor, whole};
use crate::support::wire;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

fn with_header(kind: Kind, status: u16, name: &'static str, value: &'static str) -> Answer {
    let mut answer = whole(status, "application/json", kind.good());
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

#[tokio::test]
async fn statuses_that_are_no_success_open_nothing() {
    for kind in Kind::ALL {
        let opening = Opening::of(kind);
        for status in [400, 404, 409, 422, 500, 502, 503, 504, 599] {
            opening.answer(move |_| whole(status, "application/json", kind.good()));
            opening.fails_with(502, "vendor_failed", &status.to_string()).await;
            opening.answer(move |_| whole(status, "text/html", format!("<h1>{KEY}</h1>")));
            opening.fails_with(502, "vendor_failed", &format!("a page with {status}")).await;
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_an_empty_or_encoded_answer_is_none() {
    for kind in Kind::ALL {
        let opening = Opening::of(kind);
        for status in [301, 302, 307, 308] {
            let url = opening.vendor.url.clone();
            opening.answer(move |_| {
                let mut answer = with_header(kind, status, "x-note", "moved");
                answer.headers_mut().insert("location", HeaderValue::try_from(format!("{url}/elsewhere")).unwrap());
                answer
            });
            opening.fails_with(502, "vendor_failed", &status.to_string()).await;
        }
        assert!(opening.vendor.seen().iter().all(|seen| !seen.target.contains("elsewhere")));
        for coding in ["gzip", "br", "x-secret"] {
            opening.answer(move |_| with_header(kind, 200, "content-encoding", coding));
            opening.fails_with(502, "vendor_failed", coding).await;
        }
        opening.answer(|_| Response::builder().status(204).body(http_body_util::Empty::new().boxed()).unwrap());
        opening.fails_with(502, "vendor_failed", "no content").await;
    }
}

#[tokio::test]
async fn an_answer_of_another_shape_opens_nothing() {
    let long = " ".repeat(64 << 10);
    for kind in Kind::ALL {
        let opening = Opening::of(kind);
        let good = kind.good();
        let mut wrong = vec![
            String::new(),
            "  \r\n".to_owned(),
            "<!doctype html><title>Sign in</title>".to_owned(),
            "Over quota, sorry.".to_owned(),
            "{}".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            "true".to_owned(),
            "undefined".to_owned(),
            json!({"ok": true, "session": {"id": "a"}}).to_string(),
            format!("[{good}]"),
            format!("{good} {good}"),
            format!("{good}{long}"),
            "[".repeat(10_000),
        ];
        if kind != Kind::Superseek {
            wrong.extend([good[..good.len() - 1].to_owned(), format!("\u{feff}{good}"), good.replace(':', "=")]);
        }
        for body in wrong {
            opening.says(body.clone());
            opening.fails_with(502, "vendor_failed", &body.chars().take(60).collect::<String>()).await;
        }
        opening.answer(move |_| whole(200, "application/json", vec![0xff, 0xfe, b'a']));
        opening.fails_with(502, "vendor_failed", "no UTF-8").await;
    }
}

#[tokio::test]
async fn an_id_that_is_none_opens_nothing() {
    let never = [
        json!(""),
        json!(null),
        json!(true),
        json!(1.5),
        json!([1]),
        json!({"id": 1}),
        json!("a b"),
        json!("a\u{0}b"),
        json!("a\r\nx: y"),
        json!("é"),
        json!("."),
        json!(".."),
        json!("a".repeat(300)),
        json!(KEY),
        json!(format!("s-{KEY}-s")),
    ];
    for kind in Kind::ALL {
        let opening = Opening::of(kind);
        let mut wrong = never.to_vec();
        match kind {
            Kind::Superseek => {
                // As text, a fraction looks like an id, and as the vendor says no type it is one.
                wrong.retain(|id| *id != json!(1.5));
                wrong.extend([json!("a/b"), json!("../a"), json!("a?b"), json!("%2e%2e")]);
            }
            // A vendor's zero stands for a session that it does not have, and all that got it would share one.
            Kind::HotTask => {
                wrong.extend([json!("7"), json!("a"), json!(7.0), json!(0), json!(-7), json!(1e300), json!(u64::MAX)]);
            }
            _ => wrong.extend([json!(7), json!(-7)]),
        }
        for id in wrong {
            opening.says(kind.with_id(&id));
            opening.fails_with(502, "vendor_failed", &id.to_string()).await;
        }
    }
}

#[tokio::test]
async fn an_id_with_a_slash_stays_in_its_segment_and_is_not_shown_as_one() {
    let opening = Opening::of(Kind::ChatBotKit);
    opening.says(Kind::ChatBotKit.with_id(&json!("../bot/7?a=b#c")));
    let session = opening.gateway.mint("support").await;
    assert_eq!(session.conversation, session.id, "ours stands where the vendor's could stand in no path");
    opening.says("{}");

    let call = opening.gateway.post(&format!("/api/v1/conversation/{}/complete", session.conversation));
    let answer = call.bearer_auth(&session.token).json(&json!({"text": "hi"})).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(opening.vendor.last().target, "/v1/conversation/..%2Fbot%2F7%3Fa%3Db%23c/complete");
}

#[tokio::test]
async fn a_session_that_has_ended_or_has_no_proper_token_opens_nothing() {
    for (kind, end) in [(Kind::ChatBotKit, "expiresAt"), (Kind::DirectLine, "expires_in")] {
        has_no_proper_end_or_token(kind, end).await;
    }
}

async fn has_no_proper_end_or_token(kind: Kind, end: &str) {
    let opening = Opening::of(kind);
    let now = opening.gateway.clock.now().millis();
    let said = |name: &str, value: Value| {
        let mut answer: Value = serde_json::from_str(&kind.good()).unwrap();
        answer[name] = value;
        answer.to_string()
    };
    for ends in [
        json!(0),
        json!(59),
        json!(now),
        json!(now - 1),
        json!(now / 1000 + 30),
        json!(-1),
        json!(1800.5),
        json!("soon"),
        json!("1969-07-20T20:17:40Z"),
        json!("2020-01-01T00:00:00Z"),
        json!({}),
    ] {
        opening.says(said(end, ends.clone()));
        opening.fails_with(502, "vendor_failed", &format!("ends {ends}")).await;
    }
    for token in [
        json!(null),
        json!(""),
        json!("short"),
        json!(1_234_567_890_123_456_u64),
        json!("vendor-token 0123456789"),
        json!("vendor-token-0123456789\r\nx: y"),
    ] {
        opening.says(said("token", token.clone()));
        opening.fails_with(502, "vendor_failed", &format!("token {token}")).await;
    }
    opening.says(said("conversationId", json!("vendor-token-0123456789")));
    opening.fails_with(502, "vendor_failed", "the token as the id").await;
}

/// What a raw vendor does with each call on a connection.
async fn misbehave(stream: &mut TcpStream, how: usize, good: &str) {
    let length = good.len();
    let head = format!("{OK}content-length: {length}\r\n\r\n");
    match how {
        // Silence before the head, inside of it, and inside of the body.
        0 => std::future::pending().await,
        1 => {
            wire::write(stream, OK).await;
            std::future::pending().await
        }
        2 => {
            wire::write(stream, &format!("{head}{}", &good[..length / 2])).await;
            std::future::pending().await
        }
        // The connection ends at the same places.
        3 => {}
        4 => wire::write(stream, OK).await,
        5 => wire::write(stream, &format!("{head}{}", &good[..length / 2])).await,
        6 => {
            stream.set_zero_linger().unwrap();
        }
        // What is not HTTP.
        7 => wire::write(stream, "220 mail.example.com ESMTP\r\n").await,
        8 => wire::write(stream, &format!("{OK}transfer-encoding: chunked\r\n\r\nzz\r\n{good}\r\n0\r\n\r\n")).await,
        _ => {
            let answer = format!("{head}{good}");
            let _gone = stream.write_all(answer.as_bytes()).await;
        }
    }
}

/// A vendor of this kind that does each of these in turn, and is good in between.
async fn goes_through_all(kind: Kind) {
    const GOOD: usize = 99;
    let how = Arc::new(AtomicUsize::new(GOOD));
    let mood = Arc::clone(&how);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let mood = Arc::clone(&mood);
        async move {
            while wire::next_message(&mut stream).await.is_some() {
                let how = mood.load(Ordering::SeqCst);
                misbehave(&mut stream, how, &kind.good()).await;
                if how != GOOD {
                    return;
                }
            }
        }
    });
    let gateway = gateway_of(kind, &vendor).vendor("timeouts = { header = \"500ms\", idle = \"500ms\" }").start();
    let all = [
        "no head",
        "half a head",
        "half a body",
        "end",
        "end in the head",
        "end in the body",
        "reset",
        "mail",
        "chunk",
    ];
    for (number, what) in all.into_iter().enumerate() {
        how.store(number, Ordering::SeqCst);
        let (status, code) = if number < 3 { (504, "vendor_timeout") } else { (502, "vendor_failed") };
        fails(kind, &gateway, status, code, what).await;
        how.store(GOOD, Ordering::SeqCst);
        succeeds(kind, &gateway, what).await;
    }
}

#[tokio::test]
async fn silence_is_a_timeout_and_a_broken_connection_a_failure() {
    futures_util::future::join_all(Kind::ALL.map(goes_through_all)).await;
}

#[tokio::test]
async fn a_vendor_that_is_not_there_is_told_as_that() {
    for kind in Kind::ALL {
        let mut vendor = TestVendor::echo();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        vendor.url = format!("http://{}", socket.local_addr().unwrap());
        drop(socket);
        let gateway = gateway_of(kind, &vendor).start();

        fails(kind, &gateway, 502, "vendor_unreachable", "nobody listens").await;
    }
}

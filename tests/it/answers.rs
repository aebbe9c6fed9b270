//! A vendor's answer on its way back: what of its head passes.

use serde_json::Value;

use crate::support::gateway::{KEY, PAGE, TestGateway};
use crate::support::vendor::{TestVendor, whole};
use crate::support::wire;

/// A gateway before a vendor that answers each call so, and its answer to a call.
async fn answered(answer: &'static str) -> String {
    let vendor = TestVendor::raw(move |_, mut stream| async move {
        wire::read_until(&mut stream, "\r\n\r\n").await;
        wire::write(&mut stream, answer).await;
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    wire::call(&gateway, &session, "GET /read", &[], "").await
}

fn code(answer: &str) -> String {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    body["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_answers_headers_pass_by_allow_list() {
    const DROPPED: &[&str] = &[
        "set-cookie",
        "location",
        "refresh",
        "link",
        "alt-svc",
        "clear-site-data",
        "strict-transport-security",
        "nel",
        "report-to",
        "access-control-allow-credentials",
        "access-control-allow-methods",
        "server",
        "via",
        "www-authenticate",
        "x-internal",
        "keystile-token",
        "keep-alive",
        "trailer",
        "content-location",
        "service-worker-allowed",
        "x-request-id-of-vendor",
    ];
    const KEPT: &[&str] = &["content-disposition", "etag", "cache-control", "retry-after", "ratelimit-remaining"];
    let vendor = TestVendor::answering(|_| {
        let mut answer = whole(200, "text/html", "<script>alert(1)</script>");
        for name in DROPPED.iter().chain(KEPT) {
            answer.headers_mut().insert(*name, "x".parse().unwrap());
        }
        for (name, value) in [("access-control-allow-origin", "*"), ("content-security-policy", "default-src *")] {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        answer
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let call = gateway.call(reqwest::Method::GET, "/read").bearer_auth(&session.token).header("origin", PAGE);
    let answer = call.send().await.unwrap();

    for name in DROPPED {
        assert!(!answer.headers().contains_key(*name), "{name}");
    }
    assert!(KEPT.iter().all(|name| answer.headers()[*name] == "x"));
    let all = |name: &str| {
        answer.headers().get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(all("access-control-allow-origin"), [PAGE]);
    assert_eq!(all("content-security-policy"), ["sandbox"]);
    assert_eq!(all("x-content-type-options"), ["nosniff"]);
    assert_eq!(all("referrer-policy"), ["no-referrer"]);
    assert_eq!(all("content-type"), ["text/html"]);
    assert_eq!(all("keystile-expires-in"), ["3600"]);
    assert_eq!(all("x-request-id").len(), 1);
}

#[tokio::test]
async fn the_vendors_reason_phrase_and_interim_answers_do_not_pass() {
    let answer = answered(
        "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 sk-phrase\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
    )
    .await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok") && !answer.contains("link"), "{answer}");
}

#[tokio::test]
async fn a_redirect_is_502_also_where_it_would_be_written_into() {
    let vendor = TestVendor::answering(|_| whole(302, "application/json", "{}"));
    let profile = "title = \"Own\"\n[[route]]\ncall = \"POST /say\"\nanswer.json = { id = \"{session}\" }\n";
    let gateway = TestGateway::with_profile(&vendor, profile).start();
    let session = gateway.mint("support").await;

    let answer = wire::call(&gateway, &session, "POST /say", &[], "").await;

    assert_eq!((wire::status(&answer), code(&answer)), (502, "vendor_failed".to_owned()));
}

#[tokio::test]
async fn a_vendors_redirect_is_502() {
    for status in [300, 301, 302, 303, 305, 307, 308] {
        let vendor = TestVendor::answering(move |_| {
            let mut answer = whole(status, "text/plain", "elsewhere");
            answer.headers_mut().insert("location", format!("https://evil.example/?key={KEY}").parse().unwrap());
            answer
        });
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;

        let answer = wire::call(&gateway, &session, "GET /read", &[], "").await;

        assert_eq!((wire::status(&answer), code(&answer).as_str()), (502, "vendor_failed"), "{status}");
        assert!(!answer.contains("evil") && !answer.contains(KEY));
        assert_eq!(vendor.seen().len(), 1, "no redirect is followed");
    }
}

#[tokio::test]
async fn a_vendors_401_or_403_is_502_vendor_refused_key() {
    for status in [401, 403] {
        let vendor = TestVendor::answering(move |_| whole(status, "text/plain", format!("bad key {KEY}")));
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;

        let answer = wire::call(&gateway, &session, "POST /echo", &[], "{}").await;

        assert_eq!((wire::status(&answer), code(&answer).as_str()), (502, "vendor_refused_key"));
        assert!(!answer.contains(KEY) && !answer.to_lowercase().contains("www-authenticate"), "{answer}");
    }
}

#[tokio::test]
async fn other_statuses_of_the_vendor_pass_with_their_bodies() {
    for status in [200, 201, 202, 400, 404, 409, 422, 429, 500, 503] {
        let vendor = TestVendor::answering(move |_| whole(status, "application/json", r#"{"a":1}"#));
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;

        let answer = wire::call(&gateway, &session, "POST /echo", &[], "{}").await;

        assert_eq!(wire::status(&answer), status);
        assert!(answer.ends_with("\r\n\r\n{\"a\":1}") && answer.contains("content-length: 7\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn an_encoded_answer_is_502() {
    for coding in [
        "content-encoding: gzip",
        "Content-Encoding: identity, gzip",
        "content-encoding: identity\r\ncontent-encoding: gzip",
        "content-encoding: x-unknown",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{coding}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nsafe");
        let answer = answered(answer.leak()).await;
        assert_eq!((wire::status(&answer), code(&answer).as_str()), (502, "vendor_failed"), "{coding}");
    }
    let plain = answered("HTTP/1.1 200 OK\r\ncontent-encoding: Identity\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(wire::status(&plain), 200);
}

#[tokio::test]
async fn a_vendors_trailers_do_not_pass() {
    let answer = answered(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-secret\r\n\r\n2\r\nok\r\n0\r\nx-secret: leaked\r\n\r\n",
    )
    .await;

    assert_eq!(wire::status(&answer), 200);
    assert!(answer.contains("ok") && answer.ends_with("0\r\n\r\n") && !answer.contains("leaked"), "{answer}");
}

#[tokio::test]
async fn an_answer_with_a_transfer_coding_besides_chunked_is_502() {
    for coding in ["gzip, chunked", "gzip\r\ntransfer-encoding: chunked"] {
        let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        let answer = answered(head.leak()).await;
        assert_eq!((wire::status(&answer), code(&answer).as_str()), (502, "vendor_failed"), "{coding:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_502_and_shows_nothing_of_it() {
    let answer = answered("SSH-2.0-OpenSSH_9.9 secret\r\n\r\n").await;

    assert_eq!(wire::status(&answer), 502, "{answer}");
    assert!(!answer.contains("SSH"));
}

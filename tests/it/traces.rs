//! Traces: what a collector is told of calls, whose word counts of which trace they are, and that no call waits for it.

mod collector;

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use self::collector::{Collector, Told};
use crate::support::authority::Authority;
use crate::support::gateway::{KEY, OTHER_KEY, Session, TestGateway};
use crate::support::secure::SecureVendor;
use crate::support::vendor::{Seen, TestVendor, streaming, whole};
use crate::support::{PATIENCE, eventually};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRUST: &str = "trusted_proxies = [\"127.0.0.1\"]";
const SAY: &str = "POST /sessions/{session}/say";

const OPENING_PROFILE: &str = r#"
title = "Opening"
[open]
call       = "POST /open"
set.header = { Authorization = "Bearer {key}" }
session    = "/id"
[[route]]
call       = "GET /things/{thing}"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*" }
"#;

/// The trace and the span that a vendor was told of, and whether they are recorded.
fn told(seen: &Seen) -> (String, String, bool) {
    let parent = seen.headers["traceparent"].to_str().unwrap();
    let [version, trace, span, flags] = parent.split('-').collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(version, "00");
    (trace.to_owned(), span.to_owned(), flags == "01")
}

async fn say(gateway: &TestGateway, session: &Session, headers: &[(&str, &str)]) {
    let path = format!("/sessions/{}/say", session.conversation);
    let mut call = gateway.post(&path).bearer_auth(&session.token).json(&json!({"text": "hi"}));
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    assert_eq!(call.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_call_is_a_trace_of_its_parts() {
    let (vendor, collector) = (TestVendor::echo(), Collector::start());
    let more = "service_name = \"chat\"\nheaders = { authorization = { env = \"OTHER_KEY\" } }";
    let gateway = TestGateway::in_front_of(&vendor).sections(&collector.section("100%", more)).start();
    let session = gateway.mint("support").await;
    say(&gateway, &session, &[]).await;

    let spans = collector.spans(6).await;
    let request = Told::one(&spans, SAY);
    assert_eq!((request.kind, request.parent.as_str(), request.is_error), ("server", "", false));
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/sessions/{session}/say"),
        ("http.response.status_code", "200"),
        ("keystile.bot", "support"),
        ("keystile.session", &session.id),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(request.attributes[name], value, "{name}");
    }
    let of_it: Vec<&Told> = spans.iter().filter(|span| span.parent == request.id).collect();
    assert!(of_it.iter().all(|part| part.trace == request.trace && part.starts >= request.starts));
    assert!(of_it.iter().all(|part| part.ends <= request.ends));
    let [verify, call] = of_it.try_into().expect("two parts");
    assert_eq!(
        (verify.name.as_str(), verify.kind, call.name.as_str(), call.kind),
        ("verify", "internal", "vendor", "client")
    );
    assert_eq!(
        (&call.attributes["server.address"], &call.attributes["http.response.status_code"]),
        (&"127.0.0.1".into(), &"200".into())
    );
    // What the vendor would hang on it belongs below the call to it.
    assert_eq!(told(&vendor.last()), (call.trace.clone(), call.id.clone(), true));

    let opening = Told::one(&spans, "POST /v1/bots/{bot}/sessions");
    assert_ne!(opening.trace, request.trace);
    assert_eq!(Told::one(&spans, "mint").parent, opening.id);
    let message = collector.messages().remove(0);
    assert_eq!(
        (message.target.as_str(), &message.headers["authorization"]),
        ("/v1/traces", &OTHER_KEY.parse().unwrap())
    );
    assert_eq!(collector.services(), ["chat"]);
}

#[tokio::test]
async fn an_opening_with_the_vendor_is_a_part_of_its_mint() {
    let vendor = TestVendor::answering(|_| whole(200, "application/json", "{\"id\": \"s-1\"}"));
    let collector = Collector::start();
    let gateway = TestGateway::with_profile(&vendor, OPENING_PROFILE).sections(&collector.section("100%", "")).start();
    gateway.mint("support").await;

    let spans = collector.spans(4).await;
    let (mint, call) = (Told::one(&spans, "mint"), Told::one(&spans, "vendor"));
    assert_eq!((&call.parent, &call.trace), (&mint.id, &mint.trace));
    assert_eq!(told(&vendor.last()), (call.trace.clone(), call.id.clone(), true));
}

#[tokio::test]
async fn no_span_holds_a_secret_a_contact_or_what_a_caller_wrote() {
    let vendor = TestVendor::answering(|seen| match seen.target.as_str() {
        "/open" => whole(200, "application/json", "{\"id\": \"s-1\"}"),
        _ => whole(500, "text/plain", format!("{KEY} {:?}", seen.headers)),
    });
    let collector = Collector::start();
    let profile = TestGateway::with_profile(&vendor, OPENING_PROFILE).sections(&collector.section("100%", ""));
    let gateway = profile.server(TRUST).start();
    let contact = json!({"name": "Ada Canary", "email": "ada@canary.example", "phone": "+4930901820"});
    let session = gateway.mint_with("support", json!({"contact": contact})).await;
    let forged = format!("{}canary", session.token);
    for (path, token) in
        [("/things/canary-1", &session.token), ("/things/canary-2?q=canary", &forged), ("/canary", &session.token)]
    {
        for method in ["GET", "CANARY"] {
            let call = gateway.call(method.parse().unwrap(), path).bearer_auth(token);
            let call = call.header("x-canary", "canary").header("baggage", "who=canary").body("canary");
            let _whatever = call.send().await.unwrap();
        }
    }

    let spans = collector.spans(4 + 9).await;
    assert!(spans.iter().any(|span| span.name == "GET /things/{thing}" && span.is_error), "{spans:?}");
    let refused = spans.iter().find(|span| span.name == "verify" && span.is_error).expect("a forged token");
    assert_eq!(refused.attributes["error.type"], "invalid_token");
    let text: String =
        collector.messages().iter().map(|seen| String::from_utf8_lossy(&seen.body).to_ascii_lowercase()).collect();
    for secret in ["canary", "4930901820", KEY, gateway.owner.expose(), &session.token] {
        assert!(!text.contains(&secret.to_ascii_lowercase()), "{secret}: {spans:#?}");
    }
    let signature = session.token.rsplit('.').next().unwrap();
    assert!(!text.contains(&signature.to_ascii_lowercase()));
}

#[tokio::test]
async fn what_a_stranger_says_of_a_trace_is_not_heard() {
    let (vendor, collector) = (TestVendor::echo(), Collector::start());
    let gateway = TestGateway::in_front_of(&vendor).sections(&collector.section("100%", "")).start();
    let session = gateway.mint("support").await;
    say(&gateway, &session, &[("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "a=1")]).await;
    let spans = collector.spans(6).await;
    let request = Told::one(&spans, SAY);
    assert!(request.parent.is_empty() && request.trace != TRACE, "{request:?}");
    let seen = vendor.last();
    assert_eq!(told(&seen).0, request.trace);
    assert!(!seen.headers.contains_key("tracestate") && !seen.headers.contains_key("baggage"));

    // Nor whether it is recorded.
    let none = Collector::start();
    let gateway = TestGateway::in_front_of(&vendor).sections(&none.section("0%", "")).start();
    let session = gateway.mint("support").await;
    say(&gateway, &session, &[("traceparent", PARENT)]).await;
    let (trace, _, is_recorded) = told(&vendor.last());
    assert!(trace != TRACE && !is_recorded);
    drop(gateway);
    assert!(none.messages().is_empty());
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_a_trace_is_followed() {
    let (vendor, collector) = (TestVendor::echo(), Collector::start());
    let gateway = TestGateway::in_front_of(&vendor).server(TRUST).sections(&collector.section("0%", "")).start();
    let session = gateway.mint("support").await;
    say(&gateway, &session, &[("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "a=1")]).await;

    let spans = collector.spans(3).await;
    let request = Told::one(&spans, SAY);
    assert_eq!((request.trace.as_str(), request.parent.as_str()), (TRACE, "00f067aa0ba902b7"));
    let seen = vendor.last();
    assert_eq!(told(&seen), (TRACE.to_owned(), Told::one(&spans, "vendor").id.clone(), true));
    assert_eq!(seen.headers["tracestate"], "a=1");
    assert!(!seen.headers.contains_key("baggage"));
    // One that it does not record is not recorded, whatever the share.
    let all = Collector::start();
    let gateway = TestGateway::in_front_of(&vendor).server(TRUST).sections(&all.section("100%", "")).start();
    let parent = PARENT.replace("-01", "-00");
    let answer = gateway.post("/v1/bots/support/sessions").bearer_auth(gateway.owner.expose());
    assert_eq!(answer.header("traceparent", &parent).json(&json!({})).send().await.unwrap().status(), 201);
    drop(gateway);
    assert!(all.messages().is_empty());
}

#[tokio::test]
async fn without_a_collector_no_header_is_added_and_a_trusted_proxys_passes() {
    let vendor = TestVendor::echo();
    for (server, passes) in [("", false), (TRUST, true)] {
        let gateway = TestGateway::in_front_of(&vendor).server(server).start();
        let session = gateway.mint("support").await;
        say(&gateway, &session, &[]).await;
        assert!(!vendor.last().headers.contains_key("traceparent"));
        say(&gateway, &session, &[("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "a=1")]).await;
        let seen = vendor.last().headers;
        assert_eq!(seen.get("traceparent").map(|value| value.to_str().unwrap()), passes.then_some(PARENT));
        assert_eq!((seen.contains_key("tracestate"), seen.contains_key("baggage")), (passes, false));
    }
}

#[tokio::test]
async fn the_span_of_a_stream_ends_with_its_body() {
    let (vendor, senders) = streaming("text/event-stream");
    let collector = Collector::start();
    let gateway = TestGateway::in_front_of(&vendor).sections(&collector.section("100%", "")).start();
    let session = gateway.mint("support").await;
    let mut answer = gateway.call(reqwest::Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    let spans = collector.spans(5).await;
    assert!(spans.iter().any(|span| span.name == "vendor") && !spans.iter().any(|span| span.name == "GET /read"));

    let sender = senders.lock().remove(0);
    sender.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
    drop(sender);
    while answer.chunk().await.unwrap().is_some() {}

    let spans = collector.spans(6).await;
    let (request, call) = (Told::one(&spans, "GET /read"), Told::one(&spans, "vendor"));
    assert!(request.ends > call.ends, "{request:?} {call:?}");
}

#[tokio::test]
async fn a_collector_behind_tls_must_have_a_certificate_of_its_authority() {
    let (collector, stranger) = (SecureVendor::echo(&["h2", "http/1.1"]), Authority::new());
    let vendor = TestVendor::echo();
    for (ca, is_told) in [(stranger.file(), false), (collector.authority.file(), true)] {
        let (url, ca) = (&collector.vendor.url, ca.display());
        let section = format!("[traces]\nendpoint = \"{url}\"\nca = \"{ca}\"\nsample = \"100%\"\n");
        let gateway = TestGateway::in_front_of(&vendor).sections(&section).start();
        gateway.mint("support").await;
        // What there is goes before it ends.
        drop(gateway);
        assert_eq!(!collector.versions().is_empty(), is_told);
    }
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let vendor = TestVendor::echo();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TestVendor::raw(|_, stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    });
    let refusing = Collector::answering(503);
    for url in [&format!("http://{closed}"), &silent.url, &refusing.vendor.url] {
        let section = format!("[traces]\nendpoint = \"{url}\"\nsample = \"100%\"\n");
        let gateway =
            TestGateway::in_front_of(&vendor).bot("limits = { per_session = \"off\" }").sections(&section).start();
        let session = gateway.mint("support").await;
        let calls = async {
            for _ in 0..50 {
                say(&gateway, &session, &[]).await;
            }
        };
        // None waits for the collector: 50 that each did would take minutes.
        tokio::time::timeout(PATIENCE, calls).await.unwrap();
        let stopping = Instant::now();
        drop(gateway);
        assert!(stopping.elapsed() < Duration::from_secs(20), "{url}: {:?}", stopping.elapsed());
    }
    eventually("the refusing collector was asked", || !refusing.messages().is_empty()).await;
}

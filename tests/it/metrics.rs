//! `/metrics`: the numbers are what was done, and nothing in it was written by a stranger.

mod closed;
mod scrape;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use keystile::telemetry::metrics::METRICS;
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{accept_async, client_async};

use self::scrape::{Scrape, of_records, promtool, scrape, until};
use crate::support::gateway::{Builder, KEY, PAGE, TestGateway, refusal};
use crate::support::redis::TestRedis;
use crate::support::vendor::{TestVendor, streaming, whole};

/// A vendor with a WebSocket.
const SOCKETS: &str = r#"
title = "Sockets"

[[route]]
call       = "GET /sessions/{session}/stream"
to         = "/stream"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = ["Upgrade"] }
"#;

fn operated(builder: Builder) -> TestGateway {
    builder.admin("listen = \"127.0.0.1:0\"").start()
}

#[tokio::test]
async fn promtool_accepts_metrics_and_they_are_free_to_all_but_pages() {
    let gateway = operated(TestGateway::in_front_of(&TestVendor::echo()));
    let session = gateway.mint("support").await;
    let called = gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap();
    assert_eq!(called.status(), 200);
    let refused = gateway.post("/echo").body("{}").send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let metrics = until(&gateway, |metrics| metrics.sum("keystile_calls_total", &[]) == 3.0).await;

    promtool(&metrics.text);
    for metric in ["keystile_store_read", "keystile_build_info", "process_resident_memory_bytes"] {
        assert!(metrics.sum(metric, &[]) >= 1.0, "{metric}: {}", metrics.text);
    }
    for metric in
        ["keystile_store_away", "keystile_store_unreadable", "keystile_audit_failing", "keystile_limits_alone"]
    {
        assert_eq!(metrics.only(metric, &[]), 0.0, "{metric}");
    }
    let url = format!("{}/metrics", gateway.admin.as_deref().unwrap());
    let head = gateway.client.head(&url).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["cache-control"].as_bytes()), (200, b"no-store".as_slice()));
    assert_eq!(head.headers()["content-type"], "text/plain; version=0.0.4");
    let page = gateway.client.get(&url).header("origin", "http://127.0.0.1").send().await.unwrap();
    assert_eq!(refusal(page).await, (403, "origin_not_allowed".to_owned()));
    let rebound = gateway.client.get(&url).header("host", "evil.example.com").send().await.unwrap();
    assert_eq!(refusal(rebound).await, (403, "host_not_allowed".to_owned()));
    assert_eq!(gateway.client.post(&url).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn numbers_are_what_was_done_to_calls_sessions_and_limits() {
    let limits = r#"limits = { per_session = "4/1m", per_bot = "600/1m", mint_per_ip = "1/1m", streams = "off" }"#;
    let gateway = operated(TestGateway::in_front_of(&TestVendor::echo()).bot(limits));
    let (session, _other) = (gateway.mint("support").await, gateway.mint("hidden").await);
    let renew = gateway.post(&format!("/v1/sessions/{}/renew", session.id)).bearer_auth(&session.token);
    assert_eq!(renew.json(&json!({})).send().await.unwrap().status(), 200);
    for expected in [200, 200, 200, 429] {
        let call = gateway.post("/echo").bearer_auth(&session.token).body("{\"a\":1}");
        assert_eq!(call.send().await.unwrap().status(), expected);
    }
    for expected in [201, 429] {
        let mint = gateway.post("/v1/bots/support/sessions").header("origin", PAGE).json(&json!({}));
        assert_eq!(mint.send().await.unwrap().status(), expected);
    }
    let stranger = gateway.post("/v1/bots/hidden/sessions").bearer_auth(gateway.stranger.expose()).json(&json!({}));
    assert_eq!(refusal(stranger.send().await.unwrap()).await, (403, "owner_required".to_owned()));
    let end = gateway.call(Method::DELETE, &format!("/v1/sessions/{}", session.id)).bearer_auth(gateway.owner.expose());
    assert_eq!(end.send().await.unwrap().status(), 204);
    assert_eq!(gateway.call(Method::GET, "/nothing").send().await.unwrap().status(), 404);

    let metrics = until(&gateway, |metrics| {
        metrics.sum("keystile_calls_total", &[]) == 12.0 && metrics.sum("keystile_open_calls", &[]) == 0.0
    })
    .await;
    let count = |name: &str, labels: &[(&str, &str)]| metrics.only(name, labels);
    let echo = ("route", "POST /echo");
    assert_eq!(count("keystile_calls_total", &[("bot", "support"), echo, ("status", "2xx"), ("code", "")]), 3.0);
    assert_eq!(count("keystile_calls_total", &[echo, ("status", "4xx"), ("code", "rate_limited")]), 1.0);
    assert_eq!(count("keystile_calls_total", &[("route", ""), ("status", "4xx"), ("code", "not_found")]), 1.0);
    assert_eq!(count("keystile_received_bytes_total", &[echo]), 28.0);
    assert_eq!(count("keystile_call_duration_seconds_count", &[echo]), 4.0);
    assert_eq!(count("keystile_mints_total", &[("bot", "support"), ("result", "opened")]), 2.0);
    assert_eq!(count("keystile_mints_total", &[("bot", "hidden"), ("result", "opened")]), 1.0);
    assert_eq!(count("keystile_mints_total", &[("bot", "support"), ("result", "rate_limited")]), 1.0);
    assert_eq!(count("keystile_mints_total", &[("result", "owner_required")]), 1.0);
    assert_eq!(count("keystile_renewals_total", &[("bot", "support")]), 1.0);
    assert_eq!(count("keystile_ends_total", &[("scope", "session")]), 1.0);
    assert_eq!(count("keystile_limits_hit_total", &[("limit", "session")]), 1.0);
    assert_eq!(count("keystile_limits_hit_total", &[("limit", "mint")]), 1.0);
    assert_eq!(count("keystile_faults_total", &[("code", "rate_limited"), ("fault", "client")]), 2.0);
    assert_eq!(metrics.sum("keystile_open_calls", &[]), 0.0);
    assert!(metrics.sum("keystile_open_connections", &[]) >= 1.0);
    until(&gateway, |_| gateway.records().len() == 12).await;
    assert_eq!(metrics.all("keystile_calls_total"), of_records(&gateway.records()), "as the records say");
}

#[tokio::test]
async fn streams_are_open_until_they_end() {
    let (vendor, senders) = streaming("text/event-stream");
    let gateway = operated(TestGateway::in_front_of(&vendor));
    let session = gateway.mint("support").await;
    let call = tokio::spawn(gateway.call(Method::GET, "/read").bearer_auth(&session.token).send());
    let mut answer = call.await.unwrap().unwrap();
    let sender = senders.lock().pop().unwrap();
    sender.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "data: 1\n\n");

    let open = |name: &str, metrics: &Scrape| metrics.only(name, &[]);
    let metrics = scrape(&gateway).await;
    assert_eq!((open("keystile_open_streams", &metrics), open("keystile_open_calls", &metrics)), (1.0, 1.0));
    assert_eq!(metrics.sum("keystile_calls_total", &[("route", "GET /read")]), 0.0, "it is counted when it ends");

    drop(sender);
    assert_eq!(answer.chunk().await.unwrap(), None);
    let metrics = until(&gateway, |metrics| metrics.only("keystile_open_calls", &[]) == 0.0).await;
    assert_eq!(open("keystile_open_streams", &metrics), 0.0);
    assert_eq!(metrics.only("keystile_first_byte_seconds_count", &[("route", "GET /read")]), 1.0);
    assert_eq!(metrics.only("keystile_sent_bytes_total", &[("route", "GET /read")]), 9.0);
}

#[tokio::test]
async fn websockets_are_open_until_they_close() {
    let vendor = TestVendor::raw(|_, stream| async move {
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let gateway = operated(TestGateway::with_profile(&vendor, SOCKETS));
    let session = gateway.mint("support").await;
    let url = format!("{}/sessions/{}/stream", gateway.url.replace("http://", "ws://"), session.conversation);
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", session.token).parse().unwrap());
    let stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.unwrap();
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    assert_eq!(scrape(&gateway).await.only("keystile_open_websockets", &[]), 1.0);

    socket.close(None).await.unwrap();
    let metrics = until(&gateway, |metrics| metrics.only("keystile_open_websockets", &[]) == 0.0).await;
    assert_eq!(metrics.only("keystile_calls_total", &[("bot", "support"), ("status", "1xx")]), 1.0);
    assert_eq!(metrics.only("keystile_open_calls", &[]), 0.0);
}

#[tokio::test]
async fn a_vendor_that_is_stopped_is_seen_and_so_are_its_keys() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = operated(TestGateway::in_front_of(&TestVendor::at(format!("http://{closed}"))));
    let session = gateway.mint("support").await;
    assert_eq!(scrape(&gateway).await.only("keystile_vendor_stopped", &[("vendor", "acme")]), 0.0);
    for expected in [502, 502, 502, 502, 502, 503] {
        let call = gateway.call(Method::GET, "/read").bearer_auth(&session.token);
        assert_eq!(call.send().await.unwrap().status(), expected);
    }
    let failed = |metrics: &Scrape, code| metrics.only("keystile_faults_total", &[("code", code), ("fault", "vendor")]);
    let metrics = until(&gateway, |metrics| failed(metrics, "vendor_unavailable") == 1.0).await;
    assert_eq!(failed(&metrics, "vendor_unreachable"), 5.0);
    assert_eq!(metrics.only("keystile_vendor_stopped", &[("vendor", "acme")]), 1.0);
    assert_eq!(metrics.only("keystile_vendor_keys", &[("vendor", "acme")]), 1.0);
    assert_eq!(metrics.only("keystile_vendor_keys_aside", &[("vendor", "acme")]), 0.0);
}

#[tokio::test]
async fn a_store_that_is_away_is_seen_and_how_long_it_was_not_read() {
    let mut redis = TestRedis::start();
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let gateway = operated(TestGateway::in_front_of(&TestVendor::echo()).sections(&store));
    let state = |metrics: &Scrape| {
        ["keystile_store_read", "keystile_store_away", "keystile_limits_alone"].map(|name| metrics.only(name, &[]))
    };
    let metrics = until(&gateway, |metrics| state(metrics) == [1.0, 0.0, 0.0]).await;
    assert!(metrics.only("keystile_store_weaknesses", &[]) >= 1.0, "a Redis that nobody configured loses sessions");
    assert_eq!(metrics.only("keystile_store_staleness_seconds", &[]), 0.0);

    redis.stop();
    until(&gateway, |metrics| metrics.only("keystile_store_away", &[]) == 1.0).await;
    gateway.clock.advance(Duration::from_secs(7));
    let metrics = until(&gateway, |metrics| state(metrics) == [1.0, 1.0, 1.0]).await;
    assert_eq!(metrics.only("keystile_store_staleness_seconds", &[]), 7.0);
    promtool(&metrics.text);

    redis.start_again();
    let is_back = |metrics: &Scrape| state(metrics) == [1.0, 0.0, 0.0];
    let metrics = until(&gateway, is_back).await;
    assert_eq!(metrics.only("keystile_store_staleness_seconds", &[]), 0.0);
}

#[tokio::test]
async fn a_secret_that_was_masked_is_counted() {
    let vendor = TestVendor::answering(|_| whole(200, "text/plain", format!("the key is {KEY}, {KEY}")));
    let gateway = operated(TestGateway::in_front_of(&vendor));
    let session = gateway.mint("support").await;
    let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    assert!(!answer.text().await.unwrap().contains(KEY));
    let masked = |metrics: &Scrape| metrics.only("keystile_masked_secrets_total", &[("vendor", "acme")]);
    let metrics = until(&gateway, |metrics| masked(metrics) == 2.0).await;
    assert!(!metrics.text.contains(KEY));
}

#[tokio::test]
async fn a_secret_in_an_answer_to_the_gateways_own_call_is_counted_where_it_is_masked_or_refused() {
    const TOKEN: &str = "vt-0123456789abcdef0123456789abcdef";
    let profile = r#"
title = "Telling"
[open]
call         = "POST /open"
set.header   = { Authorization = "Bearer {key}" }
session      = "/id"
vendor_token = "/token"
failure      = { when = "/ok", code = "/code", message = "/message" }
[accept]
call       = "POST /open/{bot}"
credential = "header authorization"
reply.json = "{answer}"
[[route]]
call       = "POST /say"
set.header = { Authorization = "Bearer {vendor_token}" }
"#;
    let good = json!({"ok": true, "id": "s1", "token": TOKEN});
    let failed = json!({"ok": false, "code": "E-17", "message": "no"});
    for (what, at, told, status, hits) in [
        ("nothing but the token in its place", &good, None, 200, 0.0),
        ("beside what is read", &good, Some(("more", json!({"deep": [KEY]}))), 200, 1.0),
        ("the key as an id", &good, Some(("id", json!(KEY))), 502, 1.0),
        ("its token as an id", &good, Some(("id", json!(TOKEN))), 502, 1.0),
        ("a failure without a secret", &failed, None, 502, 0.0),
        ("the words of a failure", &failed, Some(("message", json!(format!("no bot for {KEY}, {KEY}")))), 502, 2.0),
        ("the code of a failure", &failed, Some(("code", json!(KEY))), 502, 1.0),
    ] {
        let mut answer = at.clone();
        if let Some((name, value)) = told {
            answer[name] = value;
        }
        let vendor = TestVendor::answering(move |_| whole(200, "application/json", answer.to_string()));
        let gateway = operated(TestGateway::with_profile(&vendor, profile));
        let call = gateway.post("/open/bot_1").bearer_auth(gateway.owner.expose()).send().await.unwrap();
        assert_eq!(call.status(), status, "{what}");
        assert!(!call.text().await.unwrap().contains(KEY), "{what}");
        let masked = |metrics: &Scrape| metrics.only("keystile_masked_secrets_total", &[("vendor", "acme")]);
        let metrics = until(&gateway, |metrics| metrics.sum("keystile_calls_total", &[]) == 1.0).await;
        assert_eq!(masked(&metrics), hits, "{what}");
    }
}

#[tokio::test]
async fn calls_go_on_while_metrics_are_read_and_none_is_lost() {
    const CALLS: usize = 200;
    let limits =
        r#"limits = { per_session = "off", per_bot = "1000000/1s", mint_per_ip = "1000/1s", streams = "off" }"#;
    let gateway = operated(TestGateway::in_front_of(&TestVendor::echo()).server("workers = 2").bot(limits));
    let session = gateway.mint("support").await;
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, url) = (reqwest::Client::new(), format!("{}/echo", gateway.url));
            let token = session.token.clone();
            tokio::spawn(async move {
                for _ in 0..CALLS {
                    let call = client.post(&url).bearer_auth(&token).body("{}").timeout(Duration::from_secs(10));
                    assert_eq!(call.send().await.unwrap().bytes().await.unwrap(), "{}");
                }
            })
        })
        .collect();
    let echoed = |metrics: &Scrape| metrics.sum("keystile_calls_total", &[("route", "POST /echo"), ("status", "2xx")]);
    let mut seen = 0.0;
    while callers.iter().any(|caller| !caller.is_finished()) {
        let (one, two) = tokio::join!(scrape(&gateway), scrape(&gateway));
        let now = echoed(&one).min(echoed(&two));
        assert!(now >= seen, "{now} after {seen}");
        seen = now;
    }
    for caller in callers {
        caller.await.unwrap();
    }
    until(&gateway, |metrics| echoed(metrics) == 800.0).await;
}

#[test]
fn the_documentation_has_every_metric_as_the_code_has_it() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    // The other tables there are of labels.
    let is_metric = |line: &&str| line.starts_with("| `keystile_") || line.starts_with("| `process_");
    let told: Vec<&str> = text.lines().filter(is_metric).collect();
    let rows = METRICS.iter().map(|metric| {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        format!("| `{}` | {} | {labels} | {} |", metric.name, metric.kind.name(), metric.help)
    });
    let rows: Vec<String> = rows.collect();
    assert!(told.iter().eq(rows.iter()), "docs/metrics.md must have these rows:\n{}", rows.join("\n"));
}

//! No stranger writes into the metrics: every label's value is of a closed list.

use std::collections::BTreeSet;

use keystile::api::Own;
use keystile::fault::{Blame, Code};
use keystile::telemetry::metrics::{CLASSES, LIMITS};
use reqwest::Method;
use serde_json::json;

use super::operated;
use super::scrape::{Scrape, until};
use crate::support::gateway::{KEY, PAGE, TestGateway};
use crate::support::vendor::TestVendor;
use crate::support::wire;

/// What only a stranger would write.
const MARK: &str = "zzyzx";

/// The routes of the profile that the gateways under test have.
const ROUTES: [&str; 3] = ["POST /echo", "GET /read", "POST /sessions/{session}/say"];

/// All values that `label` may have.
fn closed(label: &str) -> Option<BTreeSet<String>> {
    let codes = || Code::ALL.iter().map(|code| code.name().to_owned());
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    Some(match label {
        "bot" => texts(&["", "support", "hidden"]),
        "route" => {
            let own = Own::ALL.into_iter().flat_map(|own| own.calls("/v1"));
            own.chain(ROUTES.map(str::to_owned)).chain([String::new()]).collect()
        }
        "status" => texts(CLASSES),
        "code" => codes().chain([String::new()]).collect(),
        "fault" => texts(&[Blame::Client, Blame::Gateway, Blame::Vendor].map(Blame::name)),
        "limit" => texts(LIMITS),
        "result" => codes().chain(["opened".to_owned(), "replayed".to_owned()]).collect(),
        "scope" => texts(&["session", "contact", "bot"]),
        "vendor" => texts(&["acme"]),
        "version" => texts(&[env!("CARGO_PKG_VERSION")]),
        _ => return None,
    })
}

fn assert_closed(metrics: &Scrape) {
    for (name, labels, _) in &metrics.samples {
        for (label, value) in labels {
            match closed(label) {
                Some(known) => assert!(known.contains(value), "{name}: {label} is {value}"),
                None => assert!(label == "le" && (value == "+Inf" || value.parse::<f64>().is_ok()), "{name}: {label}"),
            }
        }
    }
}

async fn send(gateway: &TestGateway, request: &str) {
    let mut stream = wire::send(gateway, request).await;
    let _answer = wire::read_until(&mut stream, "\r\n\r\n").await;
}

#[tokio::test]
async fn whatever_strangers_send_every_label_is_of_a_closed_list() {
    let gateway = operated(TestGateway::in_front_of(&TestVendor::echo()));
    let session = gateway.mint("support").await;
    let mut sent = 1;
    let paths = [
        format!("/{MARK}"),
        format!("/v1/bots/{MARK}/sessions"),
        format!("/v1/sessions/{MARK}"),
        format!("/echo?{MARK}={MARK}"),
        format!("/sessions/{MARK}/say"),
        format!("/%2e%2e/{MARK}"),
        format!("/echo/{MARK}%22%7D%0A"),
    ];
    for path in &paths {
        for method in ["GET", "POST", "DELETE", "OPTIONS", "ZZYZX"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            for token in [&session.token, MARK, gateway.stranger.expose()] {
                let call = gateway.call(method.clone(), path).bearer_auth(token).header("user-agent", MARK);
                let call = call.header("x-request-id", MARK).header("x-forwarded-for", MARK);
                let _answered = call.header("idempotency-key", MARK).json(&json!({MARK: MARK})).send().await.unwrap();
                sent += 1;
            }
        }
        let page = gateway.post(path).header("origin", PAGE).header("host", format!("{MARK}.example.com"));
        let _answered = page.json(&json!({"contact": {"name": MARK}})).send().await.unwrap();
        sent += 1;
    }
    send(&gateway, &format!("GET /{MARK}\"}} HTTP/1.1\r\nhost: {MARK}\"\\\r\nconnection: close\r\n\r\n")).await;

    let metrics = until(&gateway, |metrics| metrics.sum("keystile_calls_total", &[]) >= f64::from(sent)).await;
    assert_closed(&metrics);
    let text = metrics.text.to_lowercase();
    for foreign in [MARK, &session.token.to_lowercase(), &session.id, &session.conversation, KEY, "127.0.0.1"] {
        assert!(!text.contains(foreign), "{foreign} is in\n{text}");
    }
}

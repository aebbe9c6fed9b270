//! The demo's page: what it may do, and that it does its work in a real browser.

use keystile::demo::Demo;
use keystile::telemetry::Output;
use serde_json::Value;

use crate::support::node::NodeClient;

struct TestDemo(Demo);

impl TestDemo {
    fn start() -> Self {
        Self(Demo::start("127.0.0.1:0".parse().unwrap(), Output::Off).unwrap())
    }
}

impl Drop for TestDemo {
    fn drop(&mut self) {
        self.0.gateway.stop();
    }
}

#[test]
fn a_browser_opens_a_session_and_sees_the_answer_grow() {
    let TestDemo(demo) = &TestDemo::start();

    let printed = NodeClient::install("page").run(&["page.mjs"], &[("KEYSTILE_URL", &demo.url)]);

    let seen: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert!(seen["answer"].as_str().unwrap().starts_with("I heard: こんにちは"), "{seen}");
    assert!(seen["steps"].as_u64().unwrap() > 3, "{seen}");
    assert!(!printed.contains(demo.client.expose()));
}

#[test]
fn every_vendor_can_be_chosen_and_talked_to() {
    let TestDemo(demo) = &TestDemo::start();

    let printed = NodeClient::install("page").run(&["vendors.mjs"], &[("KEYSTILE_URL", &demo.url)]);

    let said: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    for bot in demo.bots() {
        for (at, text) in ["Hello?", "And now?"].into_iter().enumerate() {
            let answer = said[bot][at].as_str().unwrap();
            let is_answer = if bot == "genesys" { answer.contains("sessionId") } else { answer.contains(text) };
            assert!(is_answer, "{bot}: {answer}");
        }
    }
}

#[tokio::test]
async fn the_page_may_not_be_framed_or_load_anything_foreign() {
    let TestDemo(demo) = &TestDemo::start();

    let answer = reqwest::get(format!("{}/", demo.url)).await.unwrap();

    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("referrer-policy"), "no-referrer");
    let policy = header("content-security-policy");
    let mut policy: Vec<_> = policy.split("; ").collect();
    policy.sort_unstable();
    let expected = [
        "base-uri 'none'",
        "connect-src 'self'",
        "default-src 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "script-src 'unsafe-inline'",
        "style-src 'unsafe-inline'",
    ];
    assert_eq!(policy, expected);
    assert!(!answer.text().await.unwrap().contains(demo.client.expose()));
}

//! What `/readyz` says of a real Redis: there, away, weak, never read, written to by a later version.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{Builder, TestGateway, refusal};
use crate::support::redis::TestRedis;
use crate::support::until;
use crate::support::vendor::{TestVendor, streaming};

const LOG: &str = "{keystile}:log";

fn before(redis: &TestRedis, vendor: &TestVendor) -> Builder {
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    TestGateway::in_front_of(vendor).admin("listen = \"127.0.0.1:0\"").sections(&store)
}

async fn probe(gateway: &TestGateway) -> (u16, String) {
    let answer = gateway.client.get(format!("{}/readyz", gateway.admin.as_deref().unwrap())).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Asks until the answer is as it should become.
async fn becomes(gateway: &TestGateway, wanted: (u16, &str)) {
    until(wanted.1, async || {
        let (status, text) = probe(gateway).await;
        ((status, text.as_str()) == wanted).then_some(())
    })
    .await;
}

const READY: (u16, &str) = (200, "ready\n");
const AWAY: (u16, &str) =
    (200, "ready\nthe store is away: no session can be opened, renewed or ended\nlimits count in this process only\n");
const UNREAD: (u16, &str) = (503, "not ready: the store was never read, so nobody knows which tokens were revoked\n");
const UNREADABLE: (u16, &str) = (
    503,
    "not ready: the store's log has what this version cannot read, so nobody here knows which tokens were revoked; run \
     the version that wrote it\n",
);

#[tokio::test]
async fn a_gateway_stays_ready_while_its_store_is_away_and_says_what_is_not_possible() {
    let (vendor, mut redis) = (TestVendor::echo(), TestRedis::durable());
    let gateway = before(&redis, &vendor).start();
    becomes(&gateway, READY).await;
    redis.stop();
    becomes(&gateway, AWAY).await;
    redis.start_again();
    becomes(&gateway, READY).await;
}

#[tokio::test]
async fn a_redis_that_cannot_be_written_to_is_not_asked_for_a_connection_by_each_call() {
    let (vendor, redis) = (TestVendor::echo(), TestRedis::durable());
    let gateway = before(&redis, &vendor).start();
    becomes(&gateway, READY).await;
    redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    becomes(&gateway, AWAY).await;
    let connections = || -> u64 {
        let said = redis.ask(&["INFO", "stats"]);
        let line = said.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
        line.trim().parse().unwrap()
    };
    let (first, mints) = (connections(), 300);
    for _ in 0..mints {
        assert_eq!(gateway.ask("support", json!({})).await.status(), 503);
    }
    let made = connections() - first;
    assert!(made < mints / 3, "{made} connections for {mints} calls");
}

/// What is ended is noted elsewhere then: a strict bot's calls stop, whatever can still be read.
#[tokio::test]
async fn a_redis_that_can_be_read_and_not_written_to_is_away() {
    let vendor = TestVendor::echo();
    for order in [&["REPLICAOF", "127.0.0.1", "1"][..], &["CONFIG", "SET", "min-replicas-to-write", "1"]] {
        let redis = TestRedis::durable();
        let gateway = before(&redis, &vendor).bot("strict_revocation = true").start();
        becomes(&gateway, READY).await;
        let session = gateway.mint("support").await;
        assert_eq!(redis.ask(order), "+OK\r\n");
        becomes(&gateway, AWAY).await;
        let call = || gateway.post("/echo").bearer_auth(&session.token).json(&json!({})).send();
        assert_eq!(call().await.unwrap().status(), 200);
        gateway.clock.advance(Duration::from_secs(310));
        assert_eq!(refusal(call().await.unwrap()).await.0, 503, "{order:?}");
    }
}

#[tokio::test]
async fn a_gateway_is_ready_with_a_store_that_could_lose_sessions_and_says_so() {
    let (vendor, redis) = (TestVendor::echo(), TestRedis::start());
    let gateway = before(&redis, &vendor).start();
    let (status, text) = probe(&gateway).await;
    assert_eq!(status, 200);
    assert!(text.starts_with("ready\nthe store could lose sessions: appendonly is no, not yes: "), "{text}");
}

#[tokio::test]
async fn a_gateway_that_never_read_its_store_is_not_ready_until_the_store_comes() {
    let (vendor, mut redis) = (TestVendor::echo(), TestRedis::durable());
    redis.stop();
    let gateway = before(&redis, &vendor).start();
    assert_eq!(probe(&gateway).await, (UNREAD.0, UNREAD.1.to_owned()));
    redis.start_again();
    becomes(&gateway, READY).await;
}

#[tokio::test]
async fn a_replica_that_does_not_understand_the_log_is_not_ready_and_serves_no_vendor_call() {
    let (vendor, redis) = (TestVendor::echo(), TestRedis::durable());
    let gateway = before(&redis, &vendor).start();
    let session = gateway.mint("support").await;
    let says = async || {
        let call = gateway.post(&format!("/sessions/{}/say", session.id)).bearer_auth(&session.token);
        call.json(&serde_json::json!({"text": "hi"})).send().await.unwrap().status().as_u16()
    };
    becomes(&gateway, READY).await;
    assert_eq!(says().await, 200);
    for entry in [
        // A kind that is not known, with all that a known one has.
        r#"{"kind":"tenant","name":"a","at":"1","until":"4000000000000","number":"9000000000000000","digest":"00000000000000000000000000000001","subject":"s","ends_earlier":"1"}"#,
        // A known kind, without what this version needs of it.
        r#"{"kind":"session","at":"1","until":"4000000000000","number":"9000000000000000"}"#,
        "no JSON",
    ] {
        redis.ask(&["ZADD", LOG, "9000000000000000", entry]);
        becomes(&gateway, UNREADABLE).await;
        assert_eq!(says().await, 503, "{entry}");
        let refused = refusal(gateway.ask("support", serde_json::json!({})).await).await;
        assert_eq!(refused, (503, "store_unavailable".to_owned()), "{entry}");
        // What was written for later versions ends, too.
        redis.ask(&["ZREM", LOG, entry]);
        becomes(&gateway, READY).await;
        assert_eq!(says().await, 200, "{entry}");
    }
}

#[tokio::test]
async fn what_is_open_ends_where_the_log_is_not_understood_any_more() {
    let ((vendor, senders), redis) = (streaming("text/event-stream"), TestRedis::durable());
    let gateway = before(&redis, &vendor).start();
    let session = gateway.mint("support").await;
    let call = gateway.post(&format!("/sessions/{}/say", session.id)).bearer_auth(&session.token);
    let mut stream = call.json(&serde_json::json!({"text": "hi"})).send().await.unwrap();
    assert_eq!(stream.status(), 200);

    redis.ask(&["ZADD", LOG, "9000000000000000", "no JSON"]);
    let mut rest = Vec::new();
    while let Some(part) = stream.chunk().await.unwrap() {
        rest.extend_from_slice(&part);
    }
    assert!(String::from_utf8_lossy(&rest).contains("store_unavailable"), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(senders.lock().len(), 1);
}

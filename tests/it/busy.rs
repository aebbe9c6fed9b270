//! `max_connections`: how many connections a vendor gets, and what waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Method;
use tokio::task::JoinSet;

use crate::support::authority::Authority;
use crate::support::gateway::{Session, TestGateway, refusal};
use crate::support::secure::{SecureVendor, echo};
use crate::support::vendor::{TestVendor, streaming};
use crate::support::{eventually, until, wire};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
const UNLIMITED: &str =
    r#"limits = { streams = "off", per_session = "off", per_bot = "100000/1s", mint_per_ip = "100000/1s" }"#;

const ADMIN: &str = "listen = \"127.0.0.1:0\"";

/// A hundred calls at once, and how many of them were answered well.
async fn a_hundred(gateway: &TestGateway, session: &Session) -> usize {
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let call = gateway.post("/echo").bearer_auth(&session.token).body("ok").send();
        calls.spawn(async move { call.await.unwrap().text().await.unwrap() });
    }
    calls.join_all().await.iter().filter(|answer| *answer == "ok").count()
}

#[tokio::test]
async fn calls_over_max_connections_wait_and_all_workers_share_what_there_is() {
    let live: Arc<Mutex<(usize, usize)>> = Arc::default();
    let count = Arc::clone(&live);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let count = Arc::clone(&count);
        async move {
            let live = |more: bool| {
                let mut count = count.lock();
                count.0 = if more { count.0 + 1 } else { count.0 - 1 };
                count.1 = count.1.max(count.0);
            };
            live(true);
            while wire::next_message(&mut stream).await.is_some() {
                wire::write(&mut stream, OK).await;
            }
            live(false);
        }
    });
    let gateway =
        TestGateway::in_front_of(&vendor).server("workers = 3").vendor("max_connections = 3").bot(UNLIMITED).start();
    let session = gateway.mint("support").await;

    assert_eq!(a_hundred(&gateway, &session).await, 100);
    assert_eq!(a_hundred(&gateway, &session).await, 100);

    let (_, most) = *live.lock();
    assert!(most <= 3, "{most} connections at once");
}

#[tokio::test]
async fn an_http2_connection_counts_once_for_all_its_calls() {
    let authority = Authority::new();
    let config = authority.server(&["h2", "http/1.1"], |_| {});
    let vendor = SecureVendor::with_streams(authority, config, 5, echo);
    let gateway = vendor.gateway().server("workers = 2").vendor("max_connections = 1").bot(UNLIMITED).start();
    let session = gateway.mint("support").await;

    assert_eq!(a_hundred(&gateway, &session).await, 100);

    assert_eq!(vendor.connections(), 1);
}

#[tokio::test]
async fn a_call_that_finds_no_free_connection_in_time_is_503_vendor_busy() {
    let (vendor, senders) = streaming("text/plain");
    let lines = "max_connections = 1\ntimeouts = { connect = \"150ms\" }";
    let gateway = TestGateway::in_front_of(&vendor).vendor(lines).start();
    let session = gateway.mint("support").await;
    let read = async || gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    let mut first = read().await;
    assert_eq!(first.status(), 200);

    let second = read().await;
    assert_eq!(second.headers()["retry-after"], "1");
    assert_eq!(refusal(second).await, (503, "vendor_busy".to_owned()));
    assert_eq!(vendor.seen().len(), 1);

    senders.lock().clear();
    assert_eq!(first.chunk().await.unwrap(), None);
    assert_eq!(read().await.status(), 200);
}

#[tokio::test]
async fn a_caller_that_leaves_gives_its_connection_to_one_that_waits() {
    let (vendor, senders) = streaming("text/plain");
    let gateway = TestGateway::in_front_of(&vendor).vendor("max_connections = 1").start();
    let session = gateway.mint("support").await;
    let read = || gateway.call(Method::GET, "/read").bearer_auth(&session.token).send();
    let first = read().await.unwrap();
    let came = Arc::new(AtomicUsize::new(0));
    let (waiting, count) = (read(), Arc::clone(&came));
    let waiting = tokio::spawn(async move {
        let answer = waiting.await.unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        answer
    });

    drop(first);

    eventually("the other call", || came.load(Ordering::SeqCst) == 1).await;
    assert_eq!(waiting.await.unwrap().status(), 200);
    assert_eq!(senders.lock().len(), 2);
}

/// A proxy that is a way to the vendor only after so long. So many calls on it have this answer, another has none.
fn slow_way(takes: Duration, calls: usize, answer: &'static str) -> TestVendor {
    TestVendor::raw(move |_, mut stream| async move {
        if wire::next_message(&mut stream).await.is_none() {
            return;
        }
        tokio::time::sleep(takes).await;
        wire::write(&mut stream, "HTTP/1.1 200 OK\r\n\r\n").await;
        for _ in 0..calls {
            if wire::next_message(&mut stream).await.is_none() {
                return;
            }
            wire::write(&mut stream, answer).await;
        }
        let _listening = wire::next_message(&mut stream).await;
        std::future::pending::<()>().await;
    })
}

#[tokio::test]
async fn one_visitor_whose_calls_wait_for_a_connection_stops_no_vendor() {
    // Its answers last until their callers leave.
    let way = slow_way(Duration::from_millis(500), usize::MAX, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n");
    let lines = format!("max_connections = 5\nproxy = \"{}\"\ntimeouts = {{ connect = \"1500ms\" }}", way.url);
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).vendor(&lines).bot(UNLIMITED).start();
    let session = gateway.mint("support").await;
    let read = || gateway.call(Method::GET, "/read").bearer_auth(&session.token).send();
    let five = || (0..5).map(|_| read()).collect::<JoinSet<_>>();
    let first = five().join_all().await;
    assert!(first.iter().all(|answer| answer.as_ref().unwrap().status() == 200), "{first:?}");

    let waiting = five();
    // Their places come before they have waited for too long, and too late for a connection in what is left of that.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    drop(first);
    let answers = waiting.join_all().await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status() == 200), "{answers:?}");

    drop(answers);
    assert_eq!(read().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_call_that_waits_for_a_connection_when_its_session_ends_was_not_sent_and_is_401() {
    let (vendor, senders) = streaming("text/plain");
    let gateway = TestGateway::in_front_of(&vendor).vendor("max_connections = 1").bot(UNLIMITED).admin(ADMIN).start();
    let (first, session) = (gateway.mint("support").await, gateway.mint("support").await);
    let first = gateway.call(Method::GET, "/read").bearer_auth(&first.token).send().await.unwrap();
    let head = wire::head(&session, "POST /echo", &["content-length: 2", "content-type: application/json"]);
    let mut waiting = wire::send(&gateway, format!("{head}{{}}")).await;
    let metrics = gateway.client.get(format!("{}/metrics", gateway.admin.as_ref().unwrap()));
    until("both calls", async || {
        let page = metrics.try_clone().unwrap().send().await.unwrap().text().await.unwrap();
        page.contains("\nkeystile_open_calls 2\n").then_some(())
    })
    .await;

    gateway.end(&session).await;

    let answer = wire::read_until(&mut waiting, "token_revoked").await;
    assert_eq!(wire::status(&answer), 401, "{answer}");
    assert_eq!((first.status().as_u16(), vendor.seen().len(), senders.lock().len()), (200, 1, 1));
}

#[tokio::test]
async fn what_a_connection_takes_to_come_is_not_of_the_time_for_the_answer() {
    // It takes longer than the answer may, and of another call the vendor says nothing.
    let way = slow_way(Duration::from_millis(1500), 1, OK);
    let lines = format!("proxy = \"{}\"\ntimeouts = {{ connect = \"20s\", header = \"1s\" }}", way.url);
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).vendor(&lines).server("workers = 1").start();
    let session = gateway.mint("support").await;
    let calls = [gateway.call(Method::GET, "/read"), gateway.post("/echo").body("{}")];
    let calls: JoinSet<_> = calls.map(|call| call.bearer_auth(&session.token).send()).into_iter().collect();
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status() == 200), "{answers:?}");

    let late = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    assert_eq!(refusal(late).await, (504, "vendor_timeout".to_owned()));
}

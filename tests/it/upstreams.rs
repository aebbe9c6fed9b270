//! HTTP/2 towards vendors: who gets it, what calls share and what they do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, Uri, Version};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use reqwest::Method;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::authority::Authority;
use crate::support::frames::{self, Frames};
use crate::support::gateway::{Builder, Session, TestGateway};
use crate::support::secure::{Answer, SecureVendor, echo};
use crate::support::vendor::whole;
use crate::support::{eventually, wire};

const BOTH: &[&str] = &["h2", "http/1.1"];
/// For tests of many calls of one session.
const UNLIMITED: &str =
    r#"limits = { streams = "off", per_session = "off", per_bot = "100000/1s", mint_per_ip = "100000/1s" }"#;

fn said(text: impl Into<Bytes>) -> Answer {
    whole(200, "text/plain", text).map(|body| body.map_err(|never| match never {}).boxed())
}

fn unlimited(gateway: Builder) -> TestGateway {
    gateway.bot(UNLIMITED).start()
}

/// A vendor whose answers wait until `most` calls have come.
fn crowded(streams: u32, most: usize) -> SecureVendor {
    let authority = Authority::new();
    let config = authority.server(BOTH, |_| {});
    let (came, _) = watch::channel(0);
    SecureVendor::with_streams(authority, config, streams, move |_, _| {
        came.send_modify(|count| *count += 1);
        let mut came = came.subscribe();
        async move {
            came.wait_for(|count| *count >= most).await.unwrap();
            said("ok")
        }
    })
}

/// So many calls at once, and how many of them were answered well.
async fn at_once(gateway: &TestGateway, session: &Session, count: usize) -> usize {
    let mut calls = JoinSet::new();
    for _ in 0..count {
        calls.spawn(gateway.post("/echo").bearer_auth(&session.token).body("{}").send());
    }
    let answers = calls.join_all().await;
    answers.into_iter().filter(|answer| answer.as_ref().unwrap().status() == 200).count()
}

#[tokio::test]
async fn a_vendor_that_offers_http2_gets_http2() {
    let authority = Authority::new();
    let config = authority.server(BOTH, |_| {});
    let heads: Arc<Mutex<Vec<(Uri, HeaderMap)>>> = Arc::default();
    let log = Arc::clone(&heads);
    let vendor = SecureVendor::serving(authority, config, move |_, request| {
        log.lock().push((request.uri().clone(), request.headers().clone()));
        async move { Response::new(request.into_body().boxed()) }
    });
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;

    let call = gateway.post("/echo?page=2").bearer_auth(&session.token).header("te", "trailers").body("{}");
    let answer = call.send().await.unwrap();

    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, "{}".to_owned()));
    assert_eq!(vendor.versions(), [Version::HTTP_2]);
    let (uri, headers) = heads.lock().pop().unwrap();
    assert_eq!(uri.to_string(), format!("{}/echo?page=2", vendor.vendor.url));
    assert_eq!(headers["content-length"], "2");
    for name in ["host", "te", "connection", "transfer-encoding"] {
        assert!(!headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn calls_share_one_http2_connection() {
    let vendor = crowded(200, 40);
    let gateway = unlimited(vendor.gateway());
    let session = gateway.mint("hidden").await;

    assert_eq!(at_once(&gateway, &session, 40).await, 40);
    assert_eq!(at_once(&gateway, &session, 3).await, 3);

    assert_eq!(vendor.connections(), 1, "though the first calls all came when there was none");
}

#[tokio::test]
async fn more_calls_than_a_vendor_takes_on_one_connection_open_others_and_none_is_lost() {
    let vendor = crowded(4, 10);
    let gateway = unlimited(vendor.gateway());
    let session = gateway.mint("hidden").await;

    assert_eq!(at_once(&gateway, &session, 10).await, 10);

    assert_eq!(vendor.connections(), 3);
}

#[tokio::test]
async fn a_caller_that_leaves_resets_its_stream_and_no_other() {
    let authority = Authority::new();
    let config = authority.server(BOTH, |_| {});
    let senders = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&senders);
    let vendor = SecureVendor::serving(authority, config, move |_, _| {
        let (answer, sender) = crate::support::vendor::streamed("text/plain");
        kept.lock().push(sender);
        async move { answer.map(|body| body.map_err(|never| match never {}).boxed()) }
    });
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;
    let open = async || gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    let (mut left, mut stays) = (open().await, open().await);
    let [first, second] = [0, 1].map(|number: usize| senders.lock()[number].clone());
    first.send(Bytes::from("a")).await.unwrap();
    assert_eq!(left.chunk().await.unwrap().unwrap(), "a");

    drop(left);

    eventually("the end of the vendor's call", || first.is_closed()).await;
    assert!(!second.is_closed());
    second.send(Bytes::from("b")).await.unwrap();
    assert_eq!(stays.chunk().await.unwrap().unwrap(), "b");
    drop(second);
    senders.lock().clear();
    assert_eq!(stays.chunk().await.unwrap(), None);
    assert_eq!(vendor.connections(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_before_or_after_the_head_cancels_its_stream() {
    let authority = Authority::new();
    let config = authority.server(BOTH, |_| {});
    let came = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&came);
    let vendor = SecureVendor::raw(authority, config, move |_, stream| {
        let log = Arc::clone(&log);
        async move {
            let mut frames = Frames::greet(stream).await;
            while let Some((kind, stream, payload)) = frames.next().await {
                // The first call gets no answer, the second the beginning of one, the third all of it.
                if kind == frames::HEADERS && stream > 1 {
                    let end = if stream > 3 { frames::END_STREAM } else { 0 };
                    frames.send(frames::HEADERS, frames::END_HEADERS | end, stream, frames::OK).await;
                }
                if kind == frames::HEADERS || kind == frames::RST_STREAM {
                    log.lock().push((kind, stream, payload.last().copied()));
                }
            }
        }
    });
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;
    let seen = |kind: u8| came.lock().iter().filter(|(seen, ..)| *seen == kind).count();

    let first = wire::send(&gateway, wire::head(&session, "GET /read", &[])).await;
    eventually("the first call", || seen(frames::HEADERS) == 1).await;
    drop(first);
    eventually("its end", || seen(frames::RST_STREAM) == 1).await;
    let second = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    drop(second);
    eventually("its end", || seen(frames::RST_STREAM) == 2).await;
    let third = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();

    assert_eq!(third.status(), 200);
    let resets: Vec<_> = came.lock().iter().copied().filter(|(kind, ..)| *kind == frames::RST_STREAM).collect();
    // CANCEL, which is 8.
    assert_eq!(resets, [(frames::RST_STREAM, 1, Some(8)), (frames::RST_STREAM, 3, Some(8))]);
    assert_eq!(vendor.connections(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_while_the_vendor_reads_nothing_ends_its_upload_and_its_answer() {
    let authority = Authority::new();
    let config = authority.server(BOTH, |_| {});
    let senders = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&senders);
    let vendor = SecureVendor::serving(authority, config, move |_, request| {
        let (answer, sender) = crate::support::vendor::streamed("text/plain");
        // The call's body is held and not read: the vendor's window stays shut.
        kept.lock().push((sender, request));
        async move { answer.map(|body| body.map_err(|never| match never {}).boxed()) }
    });
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;
    let head = wire::head(&session, "POST /echo", &["content-length: 100000000"]);
    let mut client = wire::send(&gateway, head).await;
    wire::read_until(&mut client, "\r\n\r\n").await;
    let (mut reading, mut writing) = client.into_split();
    let flood = tokio::spawn(async move { while writing.write_all(&[b'x'; 65_536]).await.is_ok() {} });
    let sender = senders.lock()[0].0.clone();
    sender.send(Bytes::from("a")).await.unwrap();
    assert!(tokio::io::AsyncReadExt::read(&mut reading, &mut [0; 64]).await.unwrap() > 0);

    flood.abort();
    let _aborted = flood.await;
    drop(reading);

    // The gateway reads no further either, and sees that the caller is gone when it writes.
    let is_over = || sender.try_send(Bytes::from("b")).is_err() && sender.is_closed();
    eventually("the end of the vendor's call", is_over).await;
}

#[tokio::test]
async fn connections_that_a_vendor_has_said_goodbye_to_are_passed_over() {
    let authority = Authority::new();
    let config = authority.server(BOTH, |_| {});
    // Each connection takes one call, answers it when all three are there, and says goodbye behind the answer.
    let (came, _) = watch::channel(0);
    let (arrived, said_goodbye) = (came.clone(), Arc::new(AtomicUsize::new(0)));
    let goodbyes = Arc::clone(&said_goodbye);
    let vendor = SecureVendor::raw(authority, config, move |number, stream| {
        let (came, goodbyes) = (came.clone(), Arc::clone(&goodbyes));
        async move {
            let mut frames = Frames::greet_with(stream, frames::ONE_STREAM).await;
            let Some(stream) = frames.call().await else { return };
            came.send_modify(|count| *count += 1);
            came.subscribe().wait_for(|count| *count >= 3).await.unwrap();
            frames.send(frames::HEADERS, frames::END_HEADERS | frames::END_STREAM, stream, frames::OK).await;
            if number < 3 {
                let last = [stream.to_be_bytes(), [0; 4]].concat();
                frames.send(frames::GOAWAY, 0, 0, &last).await;
                goodbyes.fetch_add(1, Ordering::SeqCst);
            }
            frames.linger().await;
        }
    });
    let gateway = unlimited(vendor.gateway());
    let session = gateway.mint("hidden").await;
    let mut calls = JoinSet::new();
    for number in 1..=3 {
        calls.spawn(gateway.post("/echo").bearer_auth(&session.token).body("{}").send());
        eventually("the call", || *arrived.borrow() == number).await;
    }
    assert!(calls.join_all().await.iter().all(|answer| answer.as_ref().unwrap().status() == 200));
    eventually("three goodbyes", || said_goodbye.load(Ordering::SeqCst) == 3).await;

    assert_eq!(at_once(&gateway, &session, 1).await, 1);
    assert_eq!(vendor.connections(), 4);
}

#[tokio::test]
async fn an_upload_streams_in_both_directions_at_once_over_http2() {
    let vendor = SecureVendor::echo(BOTH);
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;

    let mut client = wire::send(&gateway, wire::head(&session, "POST /echo", &["transfer-encoding: chunked"])).await;
    for (word, chunk) in [("one", "3\r\none\r\n"), ("two", "3\r\ntwo\r\n"), ("three", "5\r\nthree\r\n")] {
        client.write_all(chunk.as_bytes()).await.unwrap();
        // The next part is sent only when this one is back.
        wire::read_until(&mut client, word).await;
    }
    client.write_all(b"0\r\nx-trailer: never\r\n\r\n").await.unwrap();

    let end = wire::read_until(&mut client, "0\r\n\r\n").await;
    assert!(!end.contains("x-trailer"), "{end:?}");
    assert_eq!(vendor.versions(), [Version::HTTP_2]);
}

#[tokio::test]
async fn a_long_body_passes_whole_in_both_directions_over_http2() {
    let vendor = SecureVendor::echo(BOTH);
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;
    let body: Vec<u8> = (0..8_u32 << 20).map(|at| at.to_le_bytes()[usize::from(at % 3 == 0)]).collect();

    let answer = gateway.post("/echo").bearer_auth(&session.token).body(body.clone()).send().await.unwrap();

    assert!(answer.bytes().await.unwrap() == body);
}

#[tokio::test]
async fn callers_that_do_not_read_slow_the_vendor_and_nobody_else() {
    let authority = Authority::new();
    let config = authority.server(BOTH, |_| {});
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let vendor = SecureVendor::serving(authority, config, move |_, request| {
        let count = Arc::clone(&count);
        async move {
            if request.method() == Method::POST {
                return echo((0, Version::HTTP_2), request).await;
            }
            let (answer, sender) = crate::support::vendor::streamed("text/plain");
            tokio::spawn(async move {
                while sender.send(Bytes::from(vec![b'x'; 16_384])).await.is_ok() {
                    count.fetch_add(16_384, Ordering::SeqCst);
                }
            });
            answer.map(|body| body.map_err(|never| match never {}).boxed())
        }
    });
    let gateway = unlimited(vendor.gateway());
    let session = gateway.mint("hidden").await;
    let mut stalled = Vec::new();
    for _ in 0..32 {
        stalled.push(wire::send(&gateway, wire::head(&session, "GET /read", &[])).await);
    }
    eventually("the vendor's calls", || vendor.versions().len() == 32).await;

    let (mut before, mut same) = (0, 0);
    eventually("the vendor's standstill", || {
        let now = made.load(Ordering::SeqCst);
        same = if now == before { same + 1 } else { 0 };
        before = now;
        same > 60
    })
    .await;
    let written = made.load(Ordering::SeqCst);
    assert!(written < 32 * (8 << 20), "{written} bytes for 32 callers are held by sockets and the gateway");
    // More than the window of a stream, several times, while the others stand.
    let body = vec![b'y'; 2 << 20];
    let call = gateway.post("/echo").bearer_auth(&session.token).body(body.clone()).send();
    let echoed = async { call.await.unwrap().bytes().await.unwrap() };
    let echoed = tokio::time::timeout(Duration::from_secs(5), echoed).await.expect("nobody waits for the others");

    assert!(echoed == body);
    assert_eq!(vendor.connections(), 1);
    drop(stalled);
}

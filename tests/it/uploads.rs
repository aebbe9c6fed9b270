//! Uploads that go on behind their answer: they count, and they end with the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use parking_lot::Mutex;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::authority::Authority;
use crate::support::gateway::{Session, TestGateway, refusal};
use crate::support::secure::SecureVendor;
use crate::support::vendor::{TestVendor, whole};
use crate::support::{eventually, wire};

const ONE: &str = r#"limits = { streams = 1, per_session = "off", per_bot = "100000/1m", mint_per_ip = "30/1m" }"#;

/// A vendor that answers at the head of a call and reads what comes after it; how much, and whether it has ended.
fn early() -> (TestVendor, Arc<AtomicUsize>, Arc<AtomicBool>) {
    let (read, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, end) = (Arc::clone(&read), Arc::clone(&ended));
    let vendor = TestVendor::raw(move |_, mut stream| {
        let (count, end) = (Arc::clone(&count), Arc::clone(&end));
        async move {
            wire::read_until(&mut stream, "\r\n\r\n").await;
            wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            while let Ok(length @ 1..) = stream.read(&mut [0; 4096]).await {
                count.fetch_add(length, Ordering::SeqCst);
            }
            end.store(true, Ordering::SeqCst);
        }
    });
    (vendor, read, ended)
}

/// An upload whose answer has come.
async fn answered(gateway: &TestGateway, session: &Session) -> TcpStream {
    let head = wire::head(session, "POST /echo", &["transfer-encoding: chunked"]);
    let mut client = wire::send(gateway, head + "1\r\nx\r\n").await;
    wire::read_until(&mut client, "\r\n\r\nok").await;
    client
}

/// That the session's only call is open until its upload ends.
async fn counts_until_its_end(gateway: &TestGateway) {
    let session = gateway.mint("support").await;
    let read = async || gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    let mut client = answered(gateway, &session).await;

    assert_eq!(refusal(read().await).await, (429, "too_many_streams".to_owned()));
    client.write_all(b"1\r\nx\r\n").await.unwrap();
    assert_eq!(refusal(read().await).await.0, 429);

    client.write_all(b"0\r\n\r\n").await.unwrap();
    // The last chunk has to come to the vendor first.
    let mut status = 0;
    for _ in 0..500 {
        status = read().await.status().as_u16();
        if status == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_upload_that_goes_on_behind_its_answer_counts_as_an_open_call() {
    let (vendor, ..) = early();
    let gateway = TestGateway::in_front_of(&vendor).bot(ONE).start();
    counts_until_its_end(&gateway).await;
}

#[tokio::test]
async fn an_upload_that_goes_on_behind_its_http2_answer_counts_as_an_open_call() {
    let authority = Authority::new();
    let config = authority.server(&["h2"], |_| {});
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&bodies);
    let vendor = SecureVendor::serving(authority, config, move |_, request| {
        // Held, so that the vendor does not ask for an end of the upload.
        kept.lock().push(request.into_body());
        async { whole(200, "text/plain", "ok").map(|body| body.map_err(|never| match never {}).boxed()) }
    });
    let gateway = vendor.gateway().bot(ONE).start();
    counts_until_its_end(&gateway).await;
    assert_eq!(vendor.connections(), 1);
}

#[tokio::test]
async fn an_upload_that_goes_on_behind_its_answer_ends_with_the_token() {
    let (vendor, read, ended) = early();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_secs(3600));
    let client = answered(&gateway, &session).await;
    let (_answers, mut client) = client.into_split();
    let endless = tokio::spawn(async move {
        while client.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });

    // The token was good for its leeway of five seconds.
    eventually("the end of the vendor's call", || ended.load(Ordering::SeqCst)).await;

    assert!(read.load(Ordering::SeqCst) > 0);
    endless.abort();
}

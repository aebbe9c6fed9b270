//! Connections to the vendor: kept, never trusted to be alive, and no call is sent twice that may have arrived.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{Method, Response};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::gateway::TestGateway;
use crate::support::vendor::{TestVendor, streaming, whole};
use crate::support::{PATIENCE, eventually, wire};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
const SHORT: &str = r#"timeouts = { connect = "150ms", header = "150ms", idle = "150ms" }"#;

/// The calls that a vendor received: on which of its connections.
type Calls = Arc<Mutex<Vec<usize>>>;

/// A vendor that does this with the first call on each connection, and then closes it.
fn vendor<F>(act: fn(TcpStream) -> F) -> (TestVendor, Calls)
where
    F: Future<Output = ()> + Send + 'static,
{
    let calls = Calls::default();
    let log = Arc::clone(&calls);
    let vendor = TestVendor::raw(move |number, mut stream| {
        let log = Arc::clone(&log);
        async move {
            if wire::next_message(&mut stream).await.is_some() {
                log.lock().push(number);
                act(stream).await;
            }
        }
    });
    (vendor, calls)
}

async fn status_and_code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["code"].as_str().unwrap().to_owned())
}

/// What a `POST` and a `GET` through this gateway are answered.
async fn both(gateway: &TestGateway) -> [(u16, String); 2] {
    let session = gateway.mint("support").await;
    let post = gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap();
    let get = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    [status_and_code(post).await, status_and_code(get).await]
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_call() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let vendor = TestVendor::raw(move |number, mut stream| {
        count.store(number + 1, Ordering::SeqCst);
        async move {
            while wire::next_message(&mut stream).await.is_some() {
                wire::write(&mut stream, OK).await;
            }
        }
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    for _ in 0..4 {
        let session = gateway.mint("support").await;
        let answer = gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "ok");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced_and_each_call_sent_once() {
    let (vendor, calls) = vendor(|mut stream| async move {
        wire::write(&mut stream, OK).await;
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let mut answered = 0;
    while answered < 5 {
        let answer = gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap();
        // Where the end of the connection and the call have crossed, nobody can know whether the call arrived.
        answered += usize::from(answer.status() == 200);
        assert!(matches!(answer.status().as_u16(), 200 | 409));
        assert_eq!(calls.lock().len(), answered);
    }
    assert_eq!(*calls.lock(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_post_whose_answer_is_lost_is_409_maybe_sent_and_a_get_502_and_neither_is_repeated() {
    let (vendor, calls) = vendor(|_| async {});
    let gateway = TestGateway::in_front_of(&vendor).start();

    let answers = both(&gateway).await;

    assert_eq!(answers, [refusal(409, "maybe_sent"), refusal(502, "vendor_failed")]);
    assert_eq!(*calls.lock(), [0, 1]);
}

#[tokio::test]
async fn a_call_that_a_kept_connection_lost_is_not_repeated() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let count = Arc::clone(&count);
        async move {
            // The first call is answered, the second read and lost.
            for answer in [OK, ""] {
                if wire::next_message(&mut stream).await.is_some() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                wire::write(&mut stream, answer).await;
            }
        }
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let post = async || gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap();

    assert_eq!(post().await.text().await.unwrap(), "ok");
    assert_eq!(status_and_code(post().await).await, refusal(409, "maybe_sent"));

    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_vendor_that_does_not_answer_in_time_is_409_for_a_post_and_504_for_a_get() {
    let (vendor, calls) = vendor(|mut stream| async move {
        // Until the gateway hangs up.
        while stream.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {}
    });
    let gateway = TestGateway::in_front_of(&vendor).vendor(SHORT).start();

    let answers = both(&gateway).await;

    assert_eq!(answers, [refusal(409, "maybe_sent"), refusal(504, "vendor_timeout")]);
    let session = gateway.mint("support").await;
    let upload = wire::head(&session, "POST /echo", &["transfer-encoding: chunked"]) + "2\r\n{}\r\n0\r\n\r\n";
    let mut client = wire::send(&gateway, upload).await;
    let answer = tokio::time::timeout(PATIENCE, wire::read_until(&mut client, "maybe_sent")).await.expect("an end");
    assert_eq!(wire::status(&answer), 409, "{answer}");
    assert_eq!(*calls.lock(), [0, 1, 2]);
}

#[tokio::test]
async fn a_vendor_that_cannot_be_reached_is_502_vendor_unreachable() {
    let vendor = TestVendor::echo();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let vendor = TestVendor { url: format!("http://{closed}"), ..vendor };
    let gateway = TestGateway::in_front_of(&vendor).start();

    assert_eq!(both(&gateway).await, [refusal(502, "vendor_unreachable"), refusal(502, "vendor_unreachable")]);
}

#[tokio::test]
async fn a_vendor_that_does_not_accept_in_time_is_502_vendor_unreachable() {
    // A queue that is full: the kernel answers no further SYN.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _queued: Vec<_> =
        (0..4).map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50))).collect();
    let vendor = TestVendor { url: format!("http://{address}"), ..TestVendor::echo() };
    let gateway = TestGateway::in_front_of(&vendor).vendor(SHORT).start();

    assert_eq!(both(&gateway).await, [refusal(502, "vendor_unreachable"), refusal(502, "vendor_unreachable")]);
}

#[tokio::test]
async fn a_vendor_that_falls_silent_in_the_body_is_cut_off() {
    let (vendor, senders) = streaming("text/plain");
    let gateway = TestGateway::in_front_of(&vendor).vendor(SHORT).start();
    let session = gateway.mint("support").await;

    for said in [None, Some("half")] {
        let mut answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
        let sender = senders.lock().pop().unwrap();
        if let Some(said) = said {
            sender.send(said.into()).await.unwrap();
            assert_eq!(answer.chunk().await.unwrap().unwrap(), said);
        }
        assert!(answer.chunk().await.is_err(), "a body that was cut is told from one that ended");
        eventually("the end of the vendor's call", || sender.is_closed()).await;
    }
}

#[tokio::test]
async fn a_body_that_the_vendor_breaks_off_is_cut_and_never_ends_cleanly() {
    for framing in [
        "content-length: 10\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "transfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let vendor = TestVendor::raw(move |_, mut stream| async move {
            wire::next_message(&mut stream).await;
            wire::write(&mut stream, &format!("HTTP/1.1 200 OK\r\n{framing}")).await;
        });
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint("support").await;
        let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "the head is not lost: {framing:?}");
        assert!(answer.bytes().await.is_err(), "{framing:?}");
    }
}

#[tokio::test]
async fn a_connection_with_an_unfinished_upload_is_not_given_to_another_session() {
    // A vendor that answers before the body is there, and keeps the connection, as Node's servers do.
    let (vendor, calls) = vendor(|mut stream| async move {
        wire::write(&mut stream, OK).await;
        while stream.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {}
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let (attacker, victim) = (gateway.mint("support").await, gateway.mint("support").await);
    let mut stalled =
        wire::send(&gateway, wire::head(&attacker, "POST /echo", &["transfer-encoding: chunked"]) + "1\r\nx\r\n").await;
    wire::read_until(&mut stalled, "\r\n\r\nok").await;

    let call = gateway.post("/echo").bearer_auth(&victim.token).body("{}").send();
    let answer =
        tokio::time::timeout(Duration::from_secs(5), call).await.expect("the victim does not wait for the attacker");

    assert_eq!(answer.unwrap().text().await.unwrap(), "ok");
    assert_eq!(*calls.lock(), [0, 1]);
}

#[tokio::test]
async fn a_body_that_was_left_is_not_read_by_the_next_call() {
    let vendor = TestVendor::answering(|seen| {
        whole(200, "text/plain", vec![b'x'; if seen.method == "GET" { 8 << 20 } else { 2 }])
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let left = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    drop(left);

    let answer = gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "xx");
}

#[tokio::test]
async fn a_connection_with_an_unread_long_body_is_not_kept() {
    // Answers at the head and reads no further, as front ends do with what they refuse.
    let vendor = TestVendor::raw(|number, mut stream| async move {
        wire::read_until(&mut stream, "\r\n\r\n").await;
        wire::write(&mut stream, OK).await;
        if number > 0 {
            while wire::next_message(&mut stream).await.is_some() {
                wire::write(&mut stream, OK).await;
            }
        }
        std::future::pending::<()>().await;
    });
    let gateway = TestGateway::in_front_of(&vendor).bot(r#"limits.body = "16MiB""#).start();
    let session = gateway.mint("support").await;
    let say = |text: String| {
        let call = gateway.post(&format!("/sessions/{}/say", session.id)).bearer_auth(&session.token);
        call.json(&serde_json::json!({ "text": text })).send()
    };

    assert_eq!(say("x".repeat(12 << 20)).await.unwrap().status(), 200);
    let other = tokio::time::timeout(Duration::from_secs(5), say("y".to_owned())).await;
    assert_eq!(other.expect("the next call does not wait for the first one's body").unwrap().status(), 200);
}

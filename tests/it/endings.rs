//! Calls over HTTP/2 that the vendor ends before their time: what is sent again, what is not, what the caller sees.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::support::authority::Authority;
use crate::support::frames::{self, Frames};
use crate::support::gateway::{Session, TestGateway, refusal};
use crate::support::secure::SecureVendor;
use crate::support::{eventually, wire};

const BOTH: &[&str] = &["h2", "http/1.1"];

/// A vendor whose first connection is `spoiled`; the others echo what they have whole.
fn first_spoiled<F>(spoiled: impl Fn(Frames) -> F + Send + Sync + Clone + 'static) -> SecureVendor
where
    F: Future<Output = ()> + Send + 'static,
{
    let authority = Authority::new();
    let config = authority.server(BOTH, |_| {});
    SecureVendor::raw(authority, config, move |number, stream: TlsStream<_>| {
        let spoiled = spoiled.clone();
        async move {
            if number == 0 {
                return spoiled(Frames::greet(stream).await).await;
            }
            let service = service_fn(async |request: Request<Incoming>| {
                let body: Bytes = request.into_body().collect().await?.to_bytes();
                Ok::<_, hyper::Error>(Response::new(Full::new(body)))
            });
            // The test tells by what the gateway answers.
            let _ended =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        }
    })
}

#[tokio::test]
async fn goaway_is_not_an_error_for_calls_that_were_not_processed() {
    let vendor = first_spoiled(|mut frames| async move {
        frames.call().await;
        // Last stream 0, no error: a server that is about to stop.
        frames.send(frames::GOAWAY, 0, 0, &[0; 8]).await;
        frames.linger().await;
    });
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;
    let answer = gateway.post("/echo").bearer_auth(&session.token).body("{\"a\":1}").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, "{\"a\":1}".to_owned()));
    assert_eq!(vendor.connections(), 2);
}

/// Has not begun with any call.
async fn refuse(mut frames: Frames) {
    while let Some(stream) = frames.call().await {
        frames.send(frames::RST_STREAM, 0, stream, &7_u32.to_be_bytes()).await;
    }
}

#[tokio::test]
async fn a_stream_that_the_vendor_refuses_is_sent_once_more_and_not_for_ever() {
    let vendor = first_spoiled(refuse);
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;
    let answer = gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), vendor.connections()), (200, 2));

    let authority = Authority::new();
    let config = authority.server(BOTH, |_| {});
    let vendor = SecureVendor::raw(authority, config, move |_, stream| async move {
        refuse(Frames::greet(stream).await).await;
    });
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;
    let answer = gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap();
    assert_eq!(refusal(answer).await, (502, "vendor_unreachable".to_owned()));
    assert_eq!(vendor.connections(), 2);
}

/// A gateway before a vendor that refuses the first call and takes the second, and an upload that has begun twice.
async fn resent(header: &str) -> (TestGateway, Session, TcpStream) {
    let vendor = first_spoiled(refuse);
    let gateway = vendor.gateway().vendor(&format!("timeouts = {{ header = \"{header}\" }}")).start();
    let session = gateway.mint("support").await;
    let head = wire::head(&session, "POST /echo", &["transfer-encoding: chunked"]);
    let client = wire::send(&gateway, head + "1\r\n0\r\n").await;
    eventually("the vendor refused it and has it again", || vendor.connections() == 2).await;
    (gateway, session, client)
}

#[tokio::test]
async fn an_upload_that_is_sent_again_may_take_as_long_as_any_other() {
    let (_gateway, _session, mut client) = resent("1s").await;
    // Longer than the vendor may take for its answer to the whole of it.
    for part in 1..=8 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.write_all(format!("1\r\n{part}\r\n").as_bytes()).await.unwrap();
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();

    let answer = wire::read_until(&mut client, "012345678").await;
    assert_eq!(wire::status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn an_upload_that_is_sent_again_and_cut_by_the_end_of_its_session_is_401() {
    let (gateway, session, mut client) = resent("60s").await;
    let path = format!("/v1/sessions/{}", session.id);
    let ended = gateway.call(Method::DELETE, &path).bearer_auth(gateway.owner.expose()).send().await.unwrap();
    assert_eq!(ended.status(), 204);

    let answer = wire::read_until(&mut client, "\"code\"").await;
    assert_eq!(wire::status(&answer), 401, "no vendor has it whole: {answer}");
}

/// The frames by which a vendor ends what was sent on a stream: kind, stream, payload.
type End = fn(u32) -> Vec<(u8, u32, Vec<u8>)>;

#[tokio::test]
async fn a_call_that_an_http2_vendor_may_have_begun_is_not_repeated() {
    // GOAWAY that counts stream 1 among the processed ones and then an end, an end without words, a reset.
    let ends: [End; 3] = [
        |stream| vec![(frames::GOAWAY, 0, [stream.to_be_bytes(), [0; 4]].concat())],
        |_| Vec::new(),
        |stream| vec![(frames::RST_STREAM, stream, 2_u32.to_be_bytes().to_vec())],
    ];
    for end in ends {
        let vendor = first_spoiled(move |mut frames| async move {
            let Some(stream) = frames.call().await else { return };
            let ends = end(stream);
            for (kind, stream, payload) in &ends {
                frames.send(*kind, 0, *stream, payload).await;
            }
            if ends.iter().all(|(kind, ..)| *kind != frames::RST_STREAM) {
                frames.end().await;
            }
            frames.linger().await;
        });
        let gateway = vendor.gateway().start();
        let session = gateway.mint("support").await;
        let answer = gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap();
        assert_eq!(refusal(answer).await, (409, "maybe_sent".to_owned()));
        assert_eq!(vendor.connections(), 1);
    }
}

#[tokio::test]
async fn an_http2_answer_that_does_not_come_to_its_end_never_ends_cleanly() {
    // Resets with every reason, also the one that means no error; an end without words; a length that is not true.
    let resets = [0_u32, 2, 8].map(|reason| vec![(frames::RST_STREAM, 0, reason.to_be_bytes().to_vec())]);
    let short = vec![(frames::DATA, frames::END_STREAM, Vec::new())];
    let mut ends = vec![(frames::OK, Vec::new()), (frames::OK_AND_TEN, short)];
    ends.extend(resets.map(|reset| (frames::OK, reset)));
    let calls = [(Method::GET, "/read", ""), (Method::POST, "/echo", "{}")];
    for ((head, end), &(ref method, path, body)) in
        ends.iter().flat_map(|end| calls.iter().map(move |call| (end, call)))
    {
        let (head, ends) = (*head, end.clone());
        let vendor = first_spoiled(move |mut frames| {
            let ends = ends.clone();
            async move {
                let Some(stream) = frames.call().await else { return };
                frames.send(frames::HEADERS, frames::END_HEADERS, stream, head).await;
                frames.send(frames::DATA, 0, stream, b"half").await;
                for (kind, flags, payload) in &ends {
                    frames.send(*kind, *flags, stream, payload).await;
                }
                if ends.is_empty() {
                    frames.end().await;
                }
                frames.linger().await;
            }
        });
        let gateway = vendor.gateway().start();
        let session = gateway.mint("support").await;
        let answer = gateway.call(method.clone(), path).bearer_auth(&session.token).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{method} {end:?}");
        assert!(answer.bytes().await.is_err(), "{method} {end:?}");
    }
}

#[tokio::test]
async fn a_whole_answer_to_an_upload_that_the_vendor_asks_to_end_is_whole() {
    // RFC 9113 §8.1: END_STREAM, and then a reset without an error; nobody has looked at the one when the other comes.
    let vendor = first_spoiled(|mut frames| async move {
        let Some(stream) = frames.call().await else { return };
        let head = (frames::HEADERS, frames::END_HEADERS, stream, frames::OK);
        let body = (frames::DATA, frames::END_STREAM, stream, b"whole".as_slice());
        frames.send_together(&[head, body, (frames::RST_STREAM, 0, stream, &[0; 4])]).await;
        frames.linger().await;
    });
    let gateway = vendor.gateway().start();
    let session = gateway.mint("support").await;
    let head = wire::head(&session, "POST /echo", &["transfer-encoding: chunked"]);
    let mut client = wire::send(&gateway, head + "1\r\nx\r\n").await;

    let answer = wire::read_until(&mut client, "whole\r\n0\r\n\r\n").await;
    assert_eq!(wire::status(&answer), 200, "{answer}");
}

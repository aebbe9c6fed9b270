//! Streams that end before their calls do: a call behind a stream that was reset, by whichever side, ends as well.

use std::sync::atomic::Ordering;

use super::{Scene, tell, vendor};
use crate::support::front::Secure;
use crate::support::http2::{
    Attacker, CANCEL, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, LARGEST_WINDOW, PRIORITY,
    PROTOCOL_ERROR, REFUSED_STREAM, RESET, WINDOW_UPDATE, frame, head, number,
};
use crate::support::{eventually, wire};

/// Streams with this header block, each of which is reset at once.
fn reset_at_once(head: &[u8], count: u32) -> Vec<u8> {
    let call =
        |stream| [frame(HEADERS, END_HEADERS | END_STREAM, stream, head), number(RESET, stream, CANCEL)].concat();
    (0..count).flat_map(|each| call(each * 2 + 1)).collect()
}

#[tokio::test]
async fn streams_that_are_reset_before_they_are_looked_at_end_the_connection() {
    let scene = Scene::start("\"off\"", "").await;
    let mut attacker = scene.attacker(&[]).await;
    let burst = reset_at_once(&scene.head("GET /read", &[]), 5000);

    let reason = scene
        .beside("resets at once", async {
            attacker.write(&burst).await;
            attacker.end().await
        })
        .await;

    assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
    scene.is_over().await;
}

#[tokio::test]
async fn over_tls_streams_that_are_reset_at_once_end_the_connection_too() {
    let (vendor, calls) = vendor();
    let secure = Secure::in_front_of(&vendor);
    let token = secure.token().await;
    let stream = secure.connect(&rustls::version::TLS13, &["h2"], Some("localhost")).await;
    let mut attacker = Attacker::begin(stream, &[]).await;
    attacker.write(&reset_at_once(&head(&token, "GET /read", &[]), 5000)).await;
    assert_eq!(attacker.end().await, Some(ENHANCE_YOUR_CALM));
    eventually("the end of the vendor's calls", || calls.are_open() == 0).await;
}

#[tokio::test]
async fn resets_end_the_calls_that_the_vendor_has_and_give_their_places_back() {
    let scene = Scene::start("20", "").await;
    let mut attacker = scene.attacker(&[]).await;
    let head = scene.head("GET /read", &[]);
    for wave in 0..10 {
        let streams = (0..20).map(|each| wave * 40 + each * 2 + 1);
        let (calls, resets): (Vec<_>, Vec<_>) = streams
            .map(|stream| (frame(HEADERS, END_HEADERS | END_STREAM, stream, &head), number(RESET, stream, CANCEL)))
            .unzip();
        assert!(attacker.write(&calls.concat()).await);
        scene.open(20).await;
        assert!(attacker.write(&resets.concat()).await);
        scene.open(0).await;
    }

    assert_eq!((scene.calls.all.load(Ordering::SeqCst), scene.calls.most.load(Ordering::SeqCst)), (200, 20));
    scene.is_over().await;
    let left = || scene.gateway.records().iter().filter(|record| record["status"] == 499).count();
    eventually("a record of each call", || left() == 200).await;
    assert!(!attacker.received().has_ended);
}

#[tokio::test]
async fn resets_that_race_their_calls_to_the_vendor_leave_none_there() {
    let scene = Scene::start("4", "").await;
    let head = scene.head("GET /read", &[]);

    scene
        .beside("resets that race", async {
            for _ in 0..10 {
                let mut attacker = scene.attacker(&[]).await;
                for stream in (1..400).step_by(2) {
                    // A connection that is ended for it is replaced: that is what an attacker would do.
                    if !attacker.call(stream, &head).await || !attacker.write(&number(RESET, stream, CANCEL)).await {
                        assert_eq!(attacker.end().await, Some(ENHANCE_YOUR_CALM));
                        break;
                    }
                }
            }
        })
        .await;

    let (all, most) = (scene.calls.all.load(Ordering::SeqCst), scene.calls.most.load(Ordering::SeqCst));
    tell(&format!("resets that race: {all} calls reached the vendor, {most} at once"));
    scene.is_over().await;
}

#[tokio::test]
async fn a_client_that_closes_its_side_ends_all_its_calls() {
    let scene = Scene::start("20", "").await;
    let mut attacker = scene.attacker(&[]).await;
    for stream in 0..20 {
        assert!(attacker.call(stream * 2 + 1, &scene.head("GET /read", &[])).await);
    }
    scene.open(20).await;
    attacker.close().await;
    scene.is_over().await;
}

/// What is wrong with a frame, how a connection ends on which it comes often, and the frame for a stream.
type Provocation = (&'static str, u32, fn(u32) -> Vec<u8>);

/// What makes the gateway reset a stream by itself (CVE-2025-8671), or end the connection at once.
fn provocations() -> [Provocation; 6] {
    [
        ("a window that is too large", ENHANCE_YOUR_CALM, |stream| number(WINDOW_UPDATE, stream, LARGEST_WINDOW)),
        ("a window that grows by nothing", PROTOCOL_ERROR, |stream| number(WINDOW_UPDATE, stream, 0)),
        ("trailers that do not end the stream", ENHANCE_YOUR_CALM, |stream| frame(HEADERS, END_HEADERS, stream, &[])),
        ("a stream that depends on itself", ENHANCE_YOUR_CALM, |stream| {
            frame(PRIORITY, 0, stream, &[stream.to_be_bytes().as_slice(), &[0]].concat())
        }),
        ("a body that is longer than was said", ENHANCE_YOUR_CALM, |stream| {
            frame(DATA, 0, stream, b"longer than said")
        }),
        ("data after the end of the body", PROTOCOL_ERROR, |stream| {
            [frame(DATA, END_STREAM, stream, b"end"), frame(DATA, 0, stream, b"more")].concat()
        }),
    ]
}

#[tokio::test]
async fn streams_that_the_gateway_is_made_to_reset_end_their_calls_and_are_counted() {
    for (what, reason, provocation) in provocations() {
        let scene = Scene::start("50", "").await;
        let mut attacker = scene.attacker(&[]).await;
        let head = scene.head("POST /echo", &[("content-length", "3")]);
        let mut streams = (1..).step_by(2);
        while !attacker.received().has_ended {
            let wave: Vec<u32> = streams.by_ref().take(50).collect();
            let calls: Vec<_> = wave.iter().map(|stream| frame(HEADERS, END_HEADERS, *stream, &head)).collect();
            attacker.write(&calls.concat()).await;
            eventually("the calls at the vendor", || scene.calls.are_open() == 50 || attacker.received().has_ended)
                .await;
            let provoked: Vec<_> = wave.iter().map(|stream| provocation(*stream)).collect();
            attacker.write(&provoked.concat()).await;
            scene.open(0).await;
        }
        assert_eq!(attacker.end().await, Some(reason), "{what}");
        let (resets, most) = (attacker.received().resets.len(), scene.calls.most.load(Ordering::SeqCst));
        tell(&format!("{what}: {resets} resets, {most} calls at once at the vendor"));
        assert!(resets <= 256 && most <= 50, "{what}");
        scene.is_over().await;
    }
}

#[tokio::test]
async fn streams_beyond_the_bound_are_refused_and_a_client_that_goes_on_is_sent_away() {
    let scene = Scene::start("\"off\"", "limits = { http2_streams = 10 }").await;
    let mut attacker = scene.attacker(&[]).await;
    let head = scene.head("GET /read", &[]);
    let open = |streams: std::ops::Range<u32>| -> Vec<u8> {
        streams.flat_map(|each| frame(HEADERS, END_HEADERS | END_STREAM, each * 2 + 1, &head)).collect()
    };

    assert!(attacker.write(&open(0..30)).await);
    scene.open(10).await;
    eventually("the refusals", || attacker.received().resets.len() == 20).await;
    assert!(attacker.received().resets.iter().all(|(_, reason)| *reason == REFUSED_STREAM));
    assert!(!attacker.received().has_ended);

    attacker.write(&open(30..400)).await;
    assert_eq!(attacker.end().await, Some(ENHANCE_YOUR_CALM));
    assert_eq!(scene.calls.most.load(Ordering::SeqCst), 10);
    scene.is_over().await;
}

#[tokio::test]
async fn an_upgrade_to_http2_in_plain_text_is_not_taken() {
    let scene = Scene::start("4", "").await;
    let lines = ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"];
    let mut client = wire::send(&scene.gateway, wire::head(&scene.attacking, "GET /nothing", &lines)).await;
    let answer = wire::read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(wire::status(&answer), 404);
    assert!(answer.contains("connection: close\r\n") && !answer.contains("upgrade"), "{answer}");
}

//! Heads without an end, heads that grow when they are read, and heads that are none.

use reqwest::Method;

use super::{Scene, vendor};
use crate::support::eventually;
use crate::support::front::Secure;
use crate::support::http2::{
    Attacker, CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, PROTOCOL_ERROR, TABLE,
    WINDOW_UPDATE, WITH_PRIORITY, field, frame, head, length, number, settings, text,
};

/// As many bytes as fit into a frame.
const FRAME: usize = 16_384;
/// How much an attacker sends of one head.
const FLOOD: usize = 4 << 20;

/// What CONTINUATION frames may hold, and how the connection ends for it.
fn endless_heads() -> [(&'static str, Vec<u8>, u32); 4] {
    let field_of = |length: usize| field("x-flood", &"x".repeat(length));
    [
        ("empty frames", Vec::new(), ENHANCE_YOUR_CALM),
        ("small frames", field_of(10), ENHANCE_YOUR_CALM),
        ("full frames", field_of(FRAME - 12), ENHANCE_YOUR_CALM),
        // The frames hold parts of one value, which is said to be of a megabyte.
        (
            "one value",
            [[0].as_slice(), &text("x-flood"), &length(0, 7, 1 << 20), &[b'x'; 16_000]].concat(),
            ENHANCE_YOUR_CALM,
        ),
    ]
}

#[tokio::test]
async fn a_head_without_an_end_ends_the_connection() {
    let scene = Scene::start("4", "").await;
    for (what, payload, reason) in endless_heads() {
        let mut attacker = scene.attacker(&[]).await;
        attacker.write(&frame(HEADERS, 0, 1, &scene.head("GET /read", &[]))).await;
        let ended = scene
            .beside(what, async {
                attacker.flood(&frame(CONTINUATION, 0, 1, &payload), FLOOD).await;
                attacker.end().await
            })
            .await;
        assert_eq!(ended, Some(reason), "{what}");
    }
    // The record of a call after them comes after theirs.
    scene.gateway.call(Method::GET, "/nothing").send().await.unwrap();
    scene.gateway.record(|record| record["status"] == 404).await;
    assert!(scene.gateway.records().iter().all(|record| record["route"] != "GET /read"), "none of them was a call");
}

#[tokio::test]
async fn over_tls_a_head_without_an_end_ends_the_connection_too() {
    let (vendor, _) = vendor();
    let secure = Secure::in_front_of(&vendor);
    let token = secure.token().await;
    for (what, payload, reason) in endless_heads() {
        let stream = secure.connect(&rustls::version::TLS13, &["h2"], Some("localhost")).await;
        let mut attacker = Attacker::begin(stream, &[]).await;
        attacker.write(&frame(HEADERS, 0, 1, &head(&token, "GET /read", &[]))).await;
        attacker.flood(&frame(CONTINUATION, 0, 1, &payload), FLOOD).await;
        assert_eq!(attacker.end().await, Some(reason), "{what}");
    }
}

#[tokio::test]
async fn a_connection_with_half_a_head_or_with_pings_alone_is_ended() {
    let scene = Scene::start("4", r#"timeouts = { head = "150ms" }"#).await;
    let mut attacker = scene.attacker(&[]).await;
    assert!(attacker.write(&frame(HEADERS, 0, 1, &scene.head("GET /read", &[]))).await);
    // As is one on which there is everything but calls.
    let mut restless = scene.attacker(&[]).await;
    let noise = async { while restless.write(&frame(PING, 0, 0, &[0; 8])).await {} };
    // They are told to go first, and have some seconds for it.
    let ((), reason) = tokio::join!(noise, attacker.end());
    assert_eq!((reason, restless.end().await), (Some(0), Some(0)));
}

#[tokio::test]
async fn a_small_head_that_becomes_a_large_one_is_refused() {
    let scene = Scene::start("4", "").await;
    let remembered = [[0x40].as_slice(), &text("x-bomb"), &text(&"x".repeat(3900))].concat();
    for (what, times, is_end) in [("20 times", 20, false), ("15000 times", 15_000, true)] {
        let mut attacker = scene.attacker(&[]).await;
        let head = scene.head("GET /read", &[]);
        assert!(attacker.call(1, &[head.as_slice(), &remembered].concat()).await);
        scene.open(1).await;
        // 0xbe is the newest field that is remembered.
        let bomb = [head.as_slice(), &vec![0xbe; times]].concat();
        assert!(attacker.call(3, &bomb).await);
        if is_end {
            assert_eq!(attacker.end().await, Some(ENHANCE_YOUR_CALM), "{what}");
        } else {
            eventually("the refusal", || attacker.received().answered == [3]).await;
            drop(attacker);
        }
        scene.is_over().await;
    }
    // The heads that were too large came to nobody.
    let records = || scene.gateway.records().iter().filter(|record| record["route"] == "GET /read").count();
    eventually("the records of the heads that were in order", || records() == 2).await;
}

#[tokio::test]
async fn a_head_with_more_fields_than_allowed_is_431_in_http2_too() {
    let scene = Scene::start("4", "limits = { headers = 20 }").await;
    // A browser cuts its cookies into fields of their own.
    let mut browser = scene.attacker(&[]).await;
    assert!(browser.call(1, &scene.head("GET /read", &[("cookie", "a=b"); 30])).await);
    scene.open(1).await;
    drop(browser);
    scene.open(0).await;
    let mut attacker = scene.attacker(&[]).await;
    let names: Vec<String> = (0..20).map(|number| format!("x-{number}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    for (stream, fields) in [(1, fields.as_slice()), (3, &[("x-same", ""); 20])] {
        assert!(attacker.call(stream, &scene.head("GET /read", fields)).await);
    }
    eventually("the refusals", || attacker.received().answered.len() == 2).await;
    scene.is_over().await;
}

#[tokio::test]
async fn a_head_that_breaks_the_protocol_ends_its_stream_alone() {
    let scene = Scene::start("4", "").await;
    let mut attacker = scene.attacker(&[]).await;
    let head = scene.head("GET /read", &[]);
    assert!(attacker.call(1, &head).await);
    scene.open(1).await;
    let with = |fields: &[(&str, &str)]| scene.head("GET /read", fields);
    let connect = |more: &[(&str, &str)]| -> Vec<u8> {
        let own = [(":method", "CONNECT"), (":authority", "gateway")];
        own.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
    };
    let web_socket = [(":protocol", "websocket"), (":scheme", "http"), (":path", "/read")];
    let wrong = [
        frame(HEADERS, END_HEADERS | WITH_PRIORITY, 3, &[[0, 0, 0, 3, 0].as_slice(), &head].concat()),
        frame(HEADERS, END_HEADERS, 5, &with(&[("connection", "upgrade")])),
        frame(HEADERS, END_HEADERS, 7, &with(&[("transfer-encoding", "chunked")])),
        frame(HEADERS, END_HEADERS, 9, &with(&[("te", "gzip")])),
        frame(HEADERS, END_HEADERS, 11, &with(&[(":path", "/nothing")])),
        frame(HEADERS, END_HEADERS, 13, &with(&[("content-length", "5"), ("content-length", "6")])),
        // RFC 8441 is not offered.
        frame(HEADERS, END_HEADERS, 15, &connect(&web_socket)),
    ];
    assert!(attacker.write(&wrong.concat()).await);
    eventually("the resets", || attacker.received().resets.len() == 7).await;
    assert!(attacker.received().resets.iter().all(|(_, reason)| *reason == PROTOCOL_ERROR));
    assert!(attacker.received().settings.iter().all(|(key, _)| *key != 8), "extended CONNECT is not offered");

    // A tunnel is refused as a request.
    assert!(attacker.call(17, &connect(&[])).await);
    eventually("the refusal", || attacker.received().answered == [17]).await;
    scene.gateway.record(|record| record["status"] == 400).await;
    assert!(!attacker.received().has_ended && scene.calls.are_open() == 1);
}

#[tokio::test]
async fn a_client_that_resizes_the_table_of_fields_breaks_no_answer() {
    let scene = Scene::start("4", "").await;
    let mut attacker = scene.attacker(&[]).await;
    let head = scene.head("GET /nothing", &[]);
    assert!(attacker.write(&number(WINDOW_UPDATE, 0, 1 << 20)).await);
    let sizes = [0, u32::MAX, 31, 4096, 32, 100, 1 << 30, 0];
    for wave in 0..8 {
        let resized = (wave * 50..wave * 50 + 50).zip(sizes.iter().cycle()).map(|(each, size)| {
            [settings(&[(TABLE, *size)]), frame(HEADERS, END_HEADERS | END_STREAM, each * 2 + 1, &head)].concat()
        });
        assert!(attacker.write(&resized.collect::<Vec<_>>().concat()).await);
        let answered = usize::try_from(wave * 50 + 50).unwrap();
        eventually("the answers", || attacker.received().answered.len() == answered).await;
    }
    assert!(!attacker.received().has_ended && attacker.received().resets.is_empty());
}

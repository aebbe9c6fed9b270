//! Windows that stay closed, or open a little at a time, and requests that never end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{interval, timeout};

use super::{Scene, tell};
use crate::support::http2::{
    Attacker, CANCEL, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, LARGEST_WINDOW, PING, RESET, WINDOW,
    WINDOW_UPDATE, field, frame, number, settings,
};
use crate::support::{eventually, wire};

const IMPATIENT: &str = r#"timeouts = { send = "250ms", body = "500ms" }"#;

/// Opens streams whose answers never end.
async fn endless(scene: &Scene, attacker: &mut Attacker, streams: std::ops::Range<u32>) {
    read(scene, attacker, streams, ("x-endless", "")).await;
}

/// Opens streams whose answers have so many bytes.
async fn long(scene: &Scene, attacker: &mut Attacker, streams: std::ops::Range<u32>, length: &str) {
    read(scene, attacker, streams, ("x-long", length)).await;
}

async fn read(scene: &Scene, attacker: &mut Attacker, streams: std::ops::Range<u32>, field: (&str, &str)) {
    let head = scene.head("GET /read", &[field]);
    let calls = streams.flat_map(|each| frame(HEADERS, END_HEADERS | END_STREAM, each * 2 + 1, &head));
    assert!(attacker.write(&calls.collect::<Vec<_>>()).await);
}

#[tokio::test]
async fn answers_behind_closed_windows_are_given_up_and_the_connection_is_not() {
    let scene = Scene::start("\"off\"", IMPATIENT).await;
    let mut attacker = scene.attacker(&[(WINDOW, 0)]).await;

    scene
        .beside("windows that stay closed", async {
            endless(&scene, &mut attacker, 0..100).await;
            eventually("the vendor's calls", || scene.calls.all.load(Ordering::SeqCst) >= 100).await;
            eventually("the resets", || attacker.received().resets.len() == 100).await;
        })
        .await;

    assert!(attacker.received().resets.iter().all(|(_, reason)| *reason == CANCEL));
    assert_eq!(attacker.received().data, 0);
    scene.is_over().await;
    endless(&scene, &mut attacker, 100..101).await;
    eventually("the next answer", || attacker.received().answered.contains(&201)).await;
}

#[tokio::test]
async fn a_window_that_opens_by_single_bytes_does_not_keep_an_answer() {
    let scene = Scene::start("\"off\"", IMPATIENT).await;
    let mut attacker = scene.attacker(&[(WINDOW, 0)]).await;
    endless(&scene, &mut attacker, 0..10).await;
    scene.open(10).await;
    let more: Vec<u8> = (0..10).flat_map(|each| number(WINDOW_UPDATE, each * 2 + 1, 1)).collect();
    let mut pace = interval(Duration::from_millis(1));
    while attacker.received().resets.len() < 10 {
        assert!(attacker.write(&more).await);
        pace.tick().await;
    }
    tell(&format!("{} bytes of answers were taken", attacker.received().data));
    scene.is_over().await;
}

#[tokio::test]
async fn the_last_parts_of_answers_behind_windows_that_stay_short_are_given_up_too() {
    let scene = Scene::start("\"off\"", IMPATIENT).await;
    // Short enough to have one part, of which there is room for its first byte, or for all but its last, which keeps it all.
    for window in [1, 6_999] {
        let mut attacker = scene.attacker(&[(WINDOW, window)]).await;
        assert!(attacker.write(&number(WINDOW_UPDATE, 0, LARGEST_WINDOW - 65_535)).await);
        long(&scene, &mut attacker, 0..100, "7000").await;
        // What is left of 21 may lie there: 144 KiB.
        eventually("the resets", || attacker.received().resets.len() >= 79).await;
        assert!(attacker.received().resets.iter().all(|(_, reason)| *reason == CANCEL));
        scene.is_over().await;
        long(&scene, &mut attacker, 100..101, "1").await;
        eventually("a whole answer", || attacker.received().ended.contains(&201)).await;
    }
}

#[tokio::test]
async fn answers_that_fit_into_their_windows_end_without_another_update() {
    let scene = Scene::start("\"off\"", IMPATIENT).await;
    let mut attacker = scene.attacker(&[(WINDOW, 200_000)]).await;
    assert!(attacker.write(&number(WINDOW_UPDATE, 0, LARGEST_WINDOW - 65_535)).await);
    long(&scene, &mut attacker, 0..20, "200000").await;
    eventually("the answers", || attacker.received().ended.len() == 20).await;
    assert!(attacker.received().data == 20 * 200_000 && attacker.received().resets.is_empty());
    scene.is_over().await;
}

#[tokio::test]
async fn windows_that_change_while_answers_are_sent_neither_stop_them_nor_break_them() {
    let scene = Scene::start("\"off\"", "").await;
    let mut attacker = scene.attacker(&[]).await;
    assert!(attacker.write(&number(WINDOW_UPDATE, 0, LARGEST_WINDOW - 65_535)).await);
    endless(&scene, &mut attacker, 0..20).await;
    scene.open(20).await;
    for size in [0, 1, 16_384, 0, 65_535, LARGEST_WINDOW, 0, 100_000, 7, LARGEST_WINDOW] {
        let before = attacker.received().data;
        assert!(attacker.write(&settings(&[(WINDOW, size)])).await);
        if size == LARGEST_WINDOW {
            eventually("more of the answers", || attacker.received().data > before + (4 << 20)).await;
        }
    }
    assert!(!attacker.received().has_ended && attacker.received().resets.is_empty());
    drop(attacker);
    scene.is_over().await;
}

#[tokio::test]
async fn a_client_that_makes_answers_necessary_and_reads_none_is_cut_off() {
    let scene = Scene::start("4", IMPATIENT).await;
    for noise in [frame(PING, 0, 0, &[0; 8]), settings(&[])] {
        let mut client = wire::connect(&scene.gateway).await;
        let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings(&[])].concat();
        client.write_all(&preface).await.unwrap();
        let noise = noise.repeat((64 << 10) / noise.len());
        let cut = timeout(Duration::from_secs(10), async { while client.write_all(&noise).await.is_ok() {} });
        assert!(cut.await.is_ok(), "it is not read for ever");
        scene.is_over().await;
    }
}

#[tokio::test]
async fn a_request_whose_body_never_comes_is_408_and_its_call_ends() {
    let scene = Scene::start("\"off\"", IMPATIENT).await;
    let say = format!("POST /sessions/{}/say", scene.attacking.id);
    let mint = "POST /v1/bots/support/sessions";
    let json = ("content-type", "application/json");
    let calls: [(&str, &[(&str, &str)]); 5] = [
        (&say, &[json]),
        (&say, &[json, ("content-length", "100")]),
        ("POST /echo", &[]),
        ("POST /echo", &[("content-length", "100")]),
        // Nothing is declared to come, and yet the stream stays open.
        ("POST /echo", &[("content-length", "0")]),
    ];
    let mut attacker = scene.attacker(&[]).await;
    for (each, (call, fields)) in (0..).zip(calls) {
        let begun =
            [frame(HEADERS, END_HEADERS, each * 2 + 1, &scene.head(call, fields)), frame(DATA, 0, each * 2 + 1, b"")];
        assert!(attacker.write(&begun.concat()).await);
    }
    let own: Vec<u8> = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gateway"),
        (":path", mint.split_once(' ').unwrap().1),
        ("authorization", &format!("Bearer {}", scene.gateway.owner.expose())),
        json,
    ]
    .iter()
    .flat_map(|(name, value)| field(name, value))
    .collect();
    assert!(attacker.write(&frame(HEADERS, END_HEADERS, 11, &own)).await);

    eventually("the answers", || attacker.received().answered.len() == 6).await;
    let slow = || scene.gateway.records().iter().filter(|record| record["code"] == "request_timeout").count();
    eventually("their records", || slow() == 6).await;
    assert!(!attacker.received().has_ended);
    scene.is_over().await;
}

#[tokio::test]
async fn an_upload_that_stops_is_408_and_ends_the_vendors_call_with_http1_too() {
    let scene = Scene::start("4", IMPATIENT).await;
    for (framing, begun) in [("transfer-encoding: chunked", "1\r\nx\r\n"), ("content-length: 100", "x")] {
        let head = wire::head(&scene.attacking, "POST /echo", &[framing]);
        let mut client = wire::send(&scene.gateway, head + begun).await;
        let answer = timeout(Duration::from_secs(10), wire::read_until(&mut client, "request_timeout")).await;
        let answer = answer.expect("the call is not kept for ever");
        assert_eq!(wire::status(&answer), 408);
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        scene.is_over().await;
    }
}

#[tokio::test]
async fn an_upload_goes_on_for_as_long_as_its_parts_come_in_time() {
    let scene = Scene::start("4", IMPATIENT).await;
    let mut attacker = scene.attacker(&[]).await;
    assert!(attacker.write(&frame(HEADERS, END_HEADERS, 1, &scene.head("POST /echo", &[]))).await);
    // Three times as long as a part may take.
    let mut pace = interval(Duration::from_millis(25));
    for _ in 0..60 {
        assert!(attacker.write(&frame(DATA, 0, 1, &[b'x'; 300])).await);
        pace.tick().await;
    }
    assert_eq!(scene.calls.are_open(), 1);
    assert!(attacker.write(&number(RESET, 1, ENHANCE_YOUR_CALM)).await);
    scene.is_over().await;
}

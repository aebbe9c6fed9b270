//! Frames without an end: empty bodies, and what only keeps the other side busy.

use super::{Scene, tell};
use crate::support::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FRAME_SIZE, FRAME_SIZE_ERROR, HEADERS,
    LARGEST_WINDOW, PADDED, PING, PRIORITY, PROTOCOL_ERROR, SETTINGS, TABLE, WINDOW, WINDOW_UPDATE, frame, length,
    number, settings,
};

/// As many bytes as fit into a frame.
const FRAME: usize = 16_384;
/// How much an attacker sends in one flood.
const FLOOD: usize = 4 << 20;

#[tokio::test]
async fn data_frames_without_data_end_the_connection_and_its_calls() {
    for (what, empty) in [
        ("empty frames", frame(DATA, 0, 1, &[])),
        ("padding alone", frame(DATA, PADDED, 1, &[[255].as_slice(), &[0; 255]].concat())),
    ] {
        let scene = Scene::start("4", "").await;
        for (call, reaches) in [("POST /echo", 1), (&*format!("POST /sessions/{}/say", scene.attacking.id), 0)] {
            let mut attacker = scene.attacker(&[]).await;
            let head = scene.head(call, &[("content-type", "application/json")]);
            assert!(attacker.write(&frame(HEADERS, END_HEADERS, 1, &head)).await);
            scene.open(reaches).await;
            attacker.flood(&empty, FLOOD).await;
            assert_eq!(attacker.end().await, Some(ENHANCE_YOUR_CALM), "{what}, {call}");
            scene.is_over().await;
        }
    }
}

#[tokio::test]
async fn a_body_in_frames_of_one_byte_does_not_take_the_worker_from_others() {
    let scene = Scene::start("4", "").await;
    let mut attacker = scene.attacker(&[]).await;
    // The vendor of this call reads: what is read costs nothing any more.
    assert!(attacker.write(&frame(HEADERS, END_HEADERS, 1, &scene.head("POST /echo", &[]))).await);
    scene.open(1).await;
    let sent = scene.beside("a body in frames of one byte", attacker.flood(&frame(DATA, 0, 1, b"x"), 640 << 10)).await;
    tell(&format!("{sent} bytes of frames of one byte were sent, the end: {:?}", attacker.received().goaway));
    drop(attacker);
    scene.is_over().await;
}

/// Frames that ask for nothing but attention.
fn noise() -> [(&'static str, Vec<u8>); 10] {
    let windows = |size| settings(&[(WINDOW, size)]);
    [
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        (
            "SETTINGS with all that there is",
            settings(&[(TABLE, 0), (2, 0), (3, 0), (WINDOW, 1), (FRAME_SIZE, 16_384), (6, 0)]),
        ),
        ("SETTINGS that open and close the windows", [windows(0), windows(LARGEST_WINDOW)].concat()),
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("answers to no PING", frame(PING, ACK, 0, &[0; 8])),
        ("PRIORITY of one stream", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0])),
        ("PRIORITY of streams that never come", frame(PRIORITY, 0, 999_999, &[0, 0, 0, 3, 0])),
        ("WINDOW_UPDATE of the connection", number(WINDOW_UPDATE, 0, 1)),
        ("WINDOW_UPDATE of a stream", number(WINDOW_UPDATE, 1, 1)),
        ("frames of an unknown kind", frame(0xfa, 0xff, 77, &[0; 100])),
    ]
}

#[tokio::test]
async fn frames_that_only_ask_for_attention_do_not_take_the_worker_from_others() {
    let scene = Scene::start("\"off\"", "").await;
    for (what, noise) in noise() {
        let mut attacker = scene.attacker(&[(WINDOW, 0)]).await;
        let head = scene.head("GET /read", &[("x-endless", "")]);
        let calls = (0..50).flat_map(|each| frame(HEADERS, END_HEADERS | END_STREAM, each * 2 + 1, &head));
        assert!(attacker.write(&calls.collect::<Vec<_>>()).await);
        scene.open(50).await;
        scene.beside(what, attacker.flood(&noise, FLOOD)).await;
        tell(&format!("{what}: {:?}", attacker.received().goaway));
        drop(attacker);
        scene.is_over().await;
    }
}

#[tokio::test]
async fn frames_that_break_the_protocol_end_the_connection_and_nothing_else() {
    let scene = Scene::start("4", "").await;
    let held = scene.head("POST /echo", &[]);
    for (what, bytes, reason) in [
        ("a frame that is too long", frame(DATA, 0, 1, &[0; FRAME + 1]), FRAME_SIZE_ERROR),
        ("a length without a frame", [[0xff; 3].as_slice(), &[0xfa, 0, 0, 0, 0, 0]].concat(), FRAME_SIZE_ERROR),
        ("a frame size that is too small", settings(&[(FRAME_SIZE, 0)]), PROTOCOL_ERROR),
        ("a frame size that is too large", settings(&[(FRAME_SIZE, 1 << 24)]), PROTOCOL_ERROR),
        ("a window that is too large", settings(&[(WINDOW, 1 << 31)]), PROTOCOL_ERROR),
        ("half a setting", frame(SETTINGS, 0, 0, &[0; 5]), PROTOCOL_ERROR),
        ("an answer to no SETTINGS", frame(SETTINGS, ACK, 0, &[]), PROTOCOL_ERROR),
        ("a PING that is too short", frame(PING, 0, 0, &[0; 7]), PROTOCOL_ERROR),
        ("more padding than frame", frame(DATA, PADDED, 1, &[200, 0]), PROTOCOL_ERROR),
        ("a stream of the server's", frame(HEADERS, END_HEADERS, 2, &held), PROTOCOL_ERROR),
        ("a promise", frame(5, END_HEADERS, 1, &[[0, 0, 0, 2].as_slice(), &held].concat()), PROTOCOL_ERROR),
        ("data for a stream that is not open", frame(DATA, 0, 99, b"x"), PROTOCOL_ERROR),
        ("a head within a head", [frame(HEADERS, 0, 3, &held), frame(PING, 0, 0, &[0; 8])].concat(), PROTOCOL_ERROR),
        ("the end of a head that did not begin", frame(CONTINUATION, END_HEADERS, 1, &held), PROTOCOL_ERROR),
        (
            "a table beyond the one that is kept",
            frame(HEADERS, END_HEADERS, 3, &length(0x20, 5, 1 << 20)),
            PROTOCOL_ERROR,
        ),
        ("a field that is not in the table", frame(HEADERS, END_HEADERS, 3, &length(0x80, 7, 4000)), PROTOCOL_ERROR),
        ("a number without an end", frame(HEADERS, END_HEADERS, 3, &[0xff; 100]), PROTOCOL_ERROR),
    ] {
        let mut attacker = scene.attacker(&[]).await;
        assert!(attacker.write(&frame(HEADERS, END_HEADERS, 1, &held)).await);
        scene.open(1).await;
        attacker.write(&bytes).await;
        assert_eq!(attacker.end().await, Some(reason), "{what}");
        scene.is_over().await;
    }
}

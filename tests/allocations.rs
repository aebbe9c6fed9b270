//! How often a proxied call asks for memory, and for how much of it: counted over the whole process, so that neither can creep.
//!
//! By itself in a program, whose allocator counts. Clients and vendor are plain sockets that ask for none, and the gateway
//! has one worker.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use keystile::app::{Bound, World};
use keystile::bot::NewClient;
use keystile::clock::Clock;
use keystile::config;
use keystile::document::Environment;
use keystile::id::Entropy;
use keystile::telemetry::Output;
use parking_lot::Mutex;
use serde_json::Value;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// OpenAI's profile, with a route that rewrites nothing.
const PROFILE: &str = concat!(
    include_str!("../config/vendors/openai.toml"),
    "[[route]]\ncall = \"POST /v1/as/it/comes\"\nset.header = { Authorization = \"Bearer {key}\" }\nallow = { header = [], body = \"*\" }\n"
);
const KEY: &str = "sk-real-0123456789abcdef0123456789abcdef";
/// Calls of a round.
const CALLS: usize = 500;
/// How often a call asks, and for how many bytes: one of 200 bytes of JSON, which the profile rewrites, with a token that was
/// seen before. The bytes are those of a build for tests, and move a little with the compiler.
const OVER_HTTP1: Asked = Asked { times: 33.0, bytes: 26_600.0 };
/// The same with a route that passes its body as it comes.
const AS_IT_COMES: Asked = Asked { times: 25.0, bytes: 24_600.0 };
const OVER_HTTP2: Asked = Asked { times: 40.0, bytes: 20_000.0 };

#[derive(Clone, Copy, Debug)]
struct Asked {
    times: f64,
    bytes: f64,
}

impl Asked {
    /// What each of `calls` asks for. Other threads ask now and then, the one that writes records and the one that reads the
    /// store: the best of five rounds.
    fn by(mut calls: impl FnMut(usize)) -> Self {
        calls(CALLS);
        let rounds = [(); 5].map(|()| {
            let region = Region::new(ALLOCATOR);
            calls(CALLS);
            let counted = region.change();
            let times = (counted.allocations + counted.reallocations) as f64 / CALLS as f64;
            (times, counted.bytes_allocated as f64 / CALLS as f64)
        });
        let least = |of: fn(&(f64, f64)) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
        Self { times: least(|round| round.0), bytes: least(|round| round.1) }
    }

    fn assert_no_more_than(self, known: Self, what: &str) {
        let is_known = self.times < known.times + 0.9 && self.bytes < known.bytes * 1.05;
        assert!(is_known, "{what}: {self:?}, known were {known:?}: give a reason, or mend it");
    }
}

/// A vendor that answers each call of this length, and asks for no memory meanwhile.
fn vendor() -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut part, mut open) = ([0; 4096], 0);
        while let Ok(length @ 1..) = stream.read(&mut part) {
            open += part[..length].iter().filter(|byte| **byte == b'}').count();
            // The body has one such byte, and the head none.
            while open > 0 {
                open -= 1;
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                    .unwrap();
            }
        }
    });
    (url, serving)
}

fn connected(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn answer(stream: &mut TcpStream) -> bool {
    let (mut part, mut length) = ([0; 8192], 0);
    while !part[..length].ends_with(b"\r\n\r\n{}") {
        let read = stream.read(&mut part[length..]).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&part[..length]));
        length += read;
    }
    part.starts_with(b"HTTP/1.1 200 ")
}

fn configuration(url: &str, owner: &NewClient) -> String {
    format!(
        r#"
[server]
listen     = "127.0.0.1:0"
public_url = "http://127.0.0.1:8080"
workers    = 1

[admin]
listen = "off"

[tokens]
keys = "signing"

[vendors.acme]
profile  = "./acme.toml"
base_url = "{url}"
keys     = [{{ env = "KEY" }}]

[bots.support]
vendor     = "acme"
vendor_id  = "model-1"
visibility = "private"
owners     = ["website"]
limits     = {{ per_session = "1000000/1s", per_bot = "1000000/1s" }}

[clients.website]
secret_sha256 = "{}"
"#,
        owner.secret_sha256
    )
}

fn minted(address: &str, secret: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let call = format!(
        "POST /v1/bots/support/sessions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {secret}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
    );
    stream.write_all(call.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    body["token"].as_str().unwrap().to_owned()
}

/// A connection with HTTP/2 (RFC 9113) on which one call is made after the other, written and read by hand.
struct Http2 {
    stream: TcpStream,
    next: u32,
}

impl Http2 {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const DATA: u8 = 0;
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    /// The same bit acknowledges SETTINGS.
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    fn to(address: &str) -> Self {
        let mut stream = connected(address);
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(&frame(Self::SETTINGS, 0, 0, &[])).unwrap();
        Self { stream, next: 1 }
    }

    /// The head of a call in HPACK (RFC 7541): names from its static table, values as they are.
    fn head(token: &str) -> Vec<u8> {
        // POST, http.
        let mut head = vec![0x83, 0x86];
        let bearer = format!("Bearer {token}");
        for (name, value) in
            [(1, "gateway"), (4, "/v1/chat/completions"), (23, bearer.as_str()), (31, "application/json")]
        {
            integer(&mut head, 15, name);
            integer(&mut head, 127, value.len());
            head.extend(value.bytes());
        }
        head
    }

    /// Makes the call of these frames, whose stream is filled in.
    fn call(&mut self, frames: &mut [u8], body_at: usize) {
        for at in [0, body_at] {
            frames[at + 5..at + 9].copy_from_slice(&self.next.to_be_bytes());
        }
        self.stream.write_all(frames).unwrap();
        let (mut head, mut payload, mut is_good) = ([0; 9], [0; 16384], false);
        loop {
            self.stream.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let payload = &mut payload[..usize::try_from(length).unwrap()];
            self.stream.read_exact(payload).unwrap();
            let (kind, flags, stream) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            assert!(kind != Self::RST_STREAM && kind != Self::GOAWAY, "frame {kind} with {payload:?}");
            match kind {
                Self::SETTINGS if flags & Self::END_STREAM == 0 => {
                    self.stream.write_all(&[0, 0, 0, Self::SETTINGS, Self::END_STREAM, 0, 0, 0, 0]).unwrap();
                }
                // 200 of the static table; a change of the dynamic table's size may stand before it.
                Self::HEADERS if stream == self.next => is_good = payload.iter().take(4).any(|byte| *byte == 0x88),
                _ => {}
            }
            if matches!(kind, Self::HEADERS | Self::DATA) && stream == self.next && flags & Self::END_STREAM != 0 {
                break;
            }
        }
        assert!(is_good, "stream {}", self.next);
        self.next += 2;
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// An integer of HPACK whose first byte has room for less than `most`.
fn integer(out: &mut Vec<u8>, most: u8, value: usize) {
    let Some(mut rest) = value.checked_sub(usize::from(most)) else { return out.push(u8::try_from(value).unwrap()) };
    out.push(most);
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

#[test]
fn a_proxied_call_asks_for_no_more_memory_than_it_is_known_to() {
    let (url, serving) = vendor();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acme.toml"), PROFILE).unwrap();
    let owner = NewClient::make("website", &Entropy::system());
    let environment = Environment::given(folder.path(), [("KEY", KEY)]);
    let records = Arc::new(Mutex::new(Vec::with_capacity(16 << 20)));
    let settings = config::parse("test", &configuration(&url, &owner), &environment).unwrap();
    let world =
        World { clock: Clock::system(), entropy: Entropy::system(), records: Output::Memory(records), socket: None };
    let bound = Bound::new(settings, world, None).unwrap();
    let address = bound.address().to_string();
    let running = bound.start().unwrap();
    let token = minted(&address, owner.secret.expose());
    let body = format!("{{\"messages\":[],\"user\":\"{}\"", "a".repeat(176)) + "}";

    let mut stream = connected(&address);
    for (path, known) in [("/v1/chat/completions", OVER_HTTP1), ("/v1/as/it/comes", AS_IT_COMES)] {
        let call = format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let asked = Asked::by(|number| {
            for _ in 0..number {
                stream.write_all(call.as_bytes()).unwrap();
                assert!(answer(&mut stream));
            }
        });
        println!("a call of {path} with HTTP/1.1: {asked:?}");
        asked.assert_no_more_than(known, path);
    }

    let head = frame(Http2::HEADERS, Http2::END_HEADERS, 0, &Http2::head(&token));
    let mut frames = [&head[..], &frame(Http2::DATA, Http2::END_STREAM, 0, body.as_bytes())].concat();
    let mut connection = Http2::to(&address);
    let asked = Asked::by(|number| (0..number).for_each(|_| connection.call(&mut frames, head.len())));
    println!("a call with HTTP/2: {asked:?}");
    asked.assert_no_more_than(OVER_HTTP2, "HTTP/2");

    drop((stream, connection));
    running.stop();
    serving.join().unwrap();
}

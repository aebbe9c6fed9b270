//! HTTP/2 clients that attack the protocol: each costs a bounded amount, its calls at the vendor end with it, and the
//! others on the same worker go on being served.

mod frames;
mod heads;
mod memory;
mod resets;
mod windows;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::gateway::{Session, TestGateway};
use crate::support::http2::{Attacker, head};
use crate::support::vendor::TestVendor;
use crate::support::{eventually, wire};

/// Limits that are no part of what is shown here.
const WIDE: &str = r#"per_session = "off", per_bot = "1000000/1m""#;
/// How long another client may wait for its answer while an attack goes on. Machines that test are busy with other
/// things; a worker that an attack holds is held for as long as the attack.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells what an attack came to.
#[expect(clippy::print_stdout, reason = "figures, for whoever asks for them with --nocapture")]
fn tell(figures: &str) {
    println!("{figures}");
}

/// The calls at a vendor.
#[derive(Debug, Default)]
struct Calls {
    open: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl Calls {
    fn begin(self: &Arc<Self>) -> Call {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        self.all.fetch_add(1, Ordering::SeqCst);
        Call(Arc::clone(self))
    }

    fn are_open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

struct Call(Arc<Calls>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A vendor that answers `/say`, and keeps all other calls open until the gateway hangs up: without an answer, with one
/// that never ends where a header `x-endless` asks for it, or with a long one behind which the next call may come.
fn vendor() -> (TestVendor, Arc<Calls>) {
    let calls = Arc::<Calls>::default();
    let count = Arc::clone(&calls);
    let vendor = TestVendor::raw(move |_, stream| speak(stream, Arc::clone(&count)));
    (vendor, calls)
}

async fn speak(mut stream: TcpStream, calls: Arc<Calls>) {
    while stream.peek(&mut [0]).await.is_ok_and(|length| length > 0) {
        let _call = calls.begin();
        let Some(call) = wire::next_message(&mut stream).await else { return };
        if call.starts_with("POST /say") {
            wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        } else if call.contains("x-endless") {
            wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n").await;
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
        } else if let Some((_, rest)) = call.split_once("x-long: ") {
            let length = rest.split("\r\n").next().unwrap_or_default().parse().unwrap();
            wire::write(&mut stream, &format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")).await;
            wire::write(&mut stream, &"x".repeat(length)).await;
        } else {
            while stream.read(&mut [0; 65_536]).await.is_ok_and(|length| length > 0) {}
        }
    }
}

/// A gateway in front of such a vendor, and two sessions: an attacker's, and somebody else's.
struct Scene {
    gateway: TestGateway,
    calls: Arc<Calls>,
    attacking: Session,
    other: Session,
}

impl Scene {
    /// With so many calls at once for a session, and more lines for `[server]`.
    async fn start(streams: &str, server: &str) -> Self {
        let (vendor, calls) = vendor();
        let limits = format!("limits = {{ {WIDE}, streams = {streams} }}");
        let gateway = TestGateway::in_front_of(&vendor).bot(&limits).server(server).start();
        let (attacking, other) = (gateway.mint("support").await, gateway.mint("support").await);
        Self { gateway, calls, attacking, other }
    }

    async fn attacker(&self, settings: &[(u16, u32)]) -> Attacker {
        Attacker::begin(wire::connect(&self.gateway).await, settings).await
    }

    /// The header block of a call of the attacker's session.
    fn head(&self, call: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        head(&self.attacking.token, call, fields)
    }

    /// Another client's call.
    async fn is_served(&self) {
        let call = self.gateway.post(&format!("/sessions/{}/say", self.other.id)).bearer_auth(&self.other.token);
        assert_eq!(call.json(&json!({"text": "hi"})).send().await.unwrap().status(), 200);
    }

    /// Does this while another client makes one call after the other.
    async fn beside<T>(&self, what: &str, attack: impl Future<Output = T>) -> T {
        let is_over = AtomicBool::new(false);
        let attack = async {
            let outcome = attack.await;
            is_over.store(true, Ordering::SeqCst);
            outcome
        };
        let others = async {
            let (mut longest, mut served) = (Duration::ZERO, 0);
            while served == 0 || !is_over.load(Ordering::SeqCst) {
                let begun = Instant::now();
                self.is_served().await;
                longest = longest.max(begun.elapsed());
                served += 1;
            }
            (longest, served)
        };
        let (outcome, (longest, served)) = tokio::join!(attack, others);
        tell(&format!("{what}: {served} calls of others were served meanwhile, the slowest in {longest:?}"));
        assert!(longest < PATIENCE, "{what}: a call of another client took {longest:?}");
        outcome
    }

    /// Waits until so many calls are open at the vendor.
    async fn open(&self, calls: usize) {
        eventually(&format!("{calls} calls at the vendor"), || self.calls.are_open() == calls).await;
    }

    /// Waits until the vendor has no call any more, and another client is still served.
    async fn is_over(&self) {
        self.open(0).await;
        self.is_served().await;
        self.open(0).await;
    }
}

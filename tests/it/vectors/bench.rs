//! What the cases are tried on: a gateway that lets through all that it may, and a vendor that records the bytes it gets.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use keystile::bot::NewClient;
use keystile::id::Entropy;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::case::{Place, placed};
use super::exchange::{Outcome, exchange};
use super::strict::{self, Message};
use crate::support::gateway::{KEY, PUBLIC_URL, TestGateway};
use crate::support::program::{Running, keystile, listening};
use crate::support::vendor::TestVendor;

/// Calls that let everything through that may pass at all.
const PROFILE: &str = r#"
title = "Vectors"

[[route]]
call       = "GET /echo"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*" }

[[route]]
call       = "HEAD /echo"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*" }

[[route]]
call       = "POST /echo"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*", body = "*" }

[[route]]
call       = "PUT /echo"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*", body = "*" }
"#;
/// Says in every moved request which case it is of.
const NUMBER: &str = "x-case";
/// All cases come from one address, for one session.
const UNLIMITED: &str = r#"failed_credentials = "off""#;
const BOUNDLESS: &str = r#"limits = { per_session = "off", per_bot = "100000/1m", streams = "off" }"#;
/// Cases that are under way at once.
const AT_ONCE: usize = 24;

/// The bytes on each connection to a vendor.
type Recorded = Arc<Mutex<Vec<Vec<u8>>>>;

/// A vendor that records what it gets, byte for byte, and answers each request once it is whole.
fn recording() -> (TestVendor, Recorded) {
    let recorded = Recorded::default();
    let log = Arc::clone(&recorded);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let log = Arc::clone(&log);
        let place = log.lock().len();
        log.lock().push(Vec::new());
        async move {
            let mut answered = 0;
            let mut part = [0; 16 << 10];
            while let Ok(length @ 1..) = stream.read(&mut part).await {
                let whole = {
                    let mut log = log.lock();
                    log[place].extend_from_slice(&part[..length]);
                    let calls = strict::canonical(&log[place]).unwrap_or_default();
                    calls.into_iter().filter(|call| call.is_complete).map(|call| call.method).collect::<Vec<_>>()
                };
                for method in whole.iter().skip(answered) {
                    let body = if method == "HEAD" { "" } else { "ok" };
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{body}");
                    let _gone = stream.write_all(answer.as_bytes()).await;
                }
                answered = whole.len();
            }
        }
    });
    (vendor, recorded)
}

/// What one case came to.
pub(super) struct Tried {
    /// What was sent, of the moved form.
    pub(super) sent: Vec<Vec<u8>>,
    /// What became of the form as it is, and of the moved one.
    pub(super) plain: Outcome,
    pub(super) moved: Outcome,
    /// What the vendor got of the moved one.
    pub(super) calls: Vec<Message>,
}

/// A case on its way: its payloads as bytes, as they are and moved.
pub(super) struct Forms {
    pub(super) plain: Vec<Vec<u8>>,
    pub(super) moved: Vec<Vec<u8>>,
    /// Whether the gateway is known to wait for more than there is.
    pub(super) waits: bool,
}

/// What the cases of a collection have in common.
pub(super) struct Set {
    pub(super) encode: fn(&str) -> Vec<u8>,
    pub(super) needs_host: bool,
}

/// A gateway, and the vendor that records.
pub(super) struct Bench {
    address: String,
    token: String,
    vendor: TestVendor,
    recorded: Recorded,
    /// What stops when this is dropped.
    _running: Box<dyn Any>,
}

impl Bench {
    /// The gateway as the other tests start it.
    pub(super) async fn of_the_library() -> Self {
        let (vendor, recorded) = recording();
        let gateway = TestGateway::with_profile(&vendor, PROFILE).server(UNLIMITED).bot(BOUNDLESS).start();
        let token = gateway.mint("support").await.token;
        let address = gateway.url.trim_start_matches("http://").to_owned();
        Self { address, token, vendor, recorded, _running: Box::new(gateway) }
    }

    /// The program, as it is installed.
    pub(super) async fn of_the_program() -> Self {
        let (vendor, recorded) = recording();
        let folder = tempfile::tempdir().unwrap();
        let client = NewClient::make("website", &Entropy::system());
        let config = format!(
            r#"
[server]
listen = "127.0.0.1:0"
public_url = "{PUBLIC_URL}"
{UNLIMITED}
[vendors.acme]
profile = "./profile.toml"
base_url = "{}"
keys = [{{ env = "KEY" }}]
[bots.support]
vendor = "acme"
vendor_id = "bot_1"
visibility = "private"
owners = ["website"]
{BOUNDLESS}
[clients.website]
secret_sha256 = "{}"
"#,
            vendor.url, client.secret_sha256
        );
        std::fs::write(folder.path().join("profile.toml"), PROFILE).unwrap();
        std::fs::write(folder.path().join("keystile.toml"), config).unwrap();
        let log = folder.path().join("log");
        let mut command = keystile();
        command.args(["serve", "-c"]).arg(folder.path().join("keystile.toml")).env("KEY", KEY);
        let program = Running::start(&mut command, &log);
        let address = listening(&log).await;
        let call = reqwest::Client::new().post(format!("http://{address}/v1/bots/support/sessions"));
        let minted: Value = call.bearer_auth(client.secret.expose()).send().await.unwrap().json().await.unwrap();
        let token = minted["token"].as_str().unwrap().to_owned();
        Self { address, token, vendor, recorded, _running: Box::new((program, folder)) }
    }

    /// Both forms of case `number`; the moved one gets `lines` too.
    pub(super) fn forms(&self, set: &Set, number: usize, payloads: &[String], lines: &str) -> Forms {
        let lines = format!("Authorization: Bearer {}\r\nX-Case: {number}{lines}", self.token);
        let bytes = |lines| {
            let place = Place { host: "chat.example.com", lines, needs_host: set.needs_host };
            payloads.iter().map(|text| (set.encode)(&placed(text, &place))).collect()
        };
        Forms { plain: bytes(""), moved: bytes(&lines), waits: false }
    }

    /// Sends all cases, in both forms, and judges what the vendor got. The outcomes are in the order of the cases.
    pub(super) async fn run(&self, cases: Vec<Forms>) -> Vec<Tried> {
        let mut outcomes = BTreeMap::new();
        let (mut running, mut waiting) = (JoinSet::new(), cases.into_iter().enumerate());
        loop {
            while running.len() < AT_ONCE
                && let Some((number, forms)) = waiting.next()
            {
                let address = self.address.clone();
                running.spawn(async move {
                    let is_unfinished =
                        |payloads: &[Vec<u8>]| forms.waits || strict::tolerant(&payloads.concat()).is_unfinished;
                    let plain = exchange(&address, &forms.plain, is_unfinished(&forms.plain)).await;
                    let moved = exchange(&address, &forms.moved, is_unfinished(&forms.moved)).await;
                    (number, forms.moved, plain, moved)
                });
            }
            let Some(done) = running.join_next().await else { break };
            let (number, sent, plain, moved) = done.unwrap();
            outcomes.insert(number, (sent, plain, moved));
        }
        let mut calls = self.calls();
        let tried = outcomes.into_iter().map(|(number, (sent, plain, moved))| {
            let calls = calls.remove(&number).unwrap_or_default();
            Tried { sent, plain, moved, calls }
        });
        tried.collect()
    }

    /// What the vendor got, by case; every byte of it is judged.
    fn calls(&self) -> BTreeMap<usize, Vec<Message>> {
        let host = self.vendor.url.trim_start_matches("http://");
        let mut calls: BTreeMap<usize, Vec<Message>> = BTreeMap::new();
        for bytes in self.recorded.lock().iter() {
            let text = String::from_utf8_lossy(bytes);
            for call in strict::canonical(bytes).unwrap_or_else(|what| panic!("{what}: {text:?}")) {
                // Nothing that was hidden in another request, for then it would have no number or two.
                let [number] = call.values(NUMBER)[..] else { panic!("not a request of its own: {text:?}") };
                assert_eq!(call.values("host"), [host], "{text:?}");
                assert_eq!(call.values("authorization"), [format!("Bearer {KEY}")], "{text:?}");
                let is_lookalike = |name: &str| name.contains('_') || ["te", "trailer", "upgrade"].contains(&name);
                assert!(!call.headers.iter().any(|(name, _)| is_lookalike(name)), "{text:?}");
                calls.entry(number.parse().unwrap()).or_default().push(call);
            }
        }
        calls
    }
}

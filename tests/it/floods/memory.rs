//! What attacks cost in memory: the program itself, looked at from outside.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Calls, WIDE, tell, vendor};
use crate::support::eventually;
use crate::support::gateway::PLAIN_PROFILE;
use crate::support::http2::{
    Attacker, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, LARGEST_WINDOW, PING, PRIORITY, RESET,
    WINDOW, WINDOW_UPDATE, frame, head, number, settings, text,
};
use crate::support::program::{Running, keystile, listening};

/// What an attacker sends in one flood, and what it may cost at most.
const FLOOD: usize = 8 << 20;
const MOST: usize = 8 << 20;
/// What 100 answers that are not read may cost: see `config/keystile.toml` for one.
const MOST_UNREAD: usize = 100 * (400 << 10);

/// What 100 such answers may cost over HTTP/1.1: as it says there, too.
const MOST_UNREAD_HTTP1: usize = 100 * (340 << 10);

/// The program in front of such a vendor, and a session's token.
struct Scene {
    program: Running,
    address: String,
    token: String,
    calls: Arc<Calls>,
    folder: TempDir,
}

impl Scene {
    async fn start() -> Self {
        let (vendor, calls) = vendor();
        let client: Value =
            serde_json::from_slice(&keystile().args(["client", "new", "website", "--json"]).output().unwrap().stdout)
                .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (file, log) = (folder.path().join("keystile.toml"), folder.path().join("log"));
        std::fs::write(folder.path().join("plain.toml"), PLAIN_PROFILE).unwrap();
        std::fs::write(&file, text_of(&vendor.url, &client)).unwrap();
        let mut command = keystile();
        command.arg("serve").arg("-c").arg(&file).env("FLOOD_KEY", "sk-0123456789abcdef");
        let program = Running::start(&mut command, &log);
        let address = listening(&log).await;
        let mint = reqwest::Client::new().post(format!("http://{address}/v1/bots/support/sessions"));
        let mint = mint.bearer_auth(client["secret"].as_str().unwrap()).json(&json!({}));
        let minted: Value = mint.send().await.unwrap().json().await.unwrap();
        let token = minted["token"].as_str().unwrap().to_owned();
        Self { program, address, token, calls, folder }
    }

    async fn attacker(&self, settings: &[(u16, u32)]) -> Attacker {
        Attacker::begin(TcpStream::connect(&self.address).await.unwrap(), settings).await
    }

    fn head(&self, call: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        head(&self.token, call, fields)
    }

    /// Bytes that the program has in memory, now and at most since it was last asked for the most.
    fn memory(&self) -> (usize, usize) {
        let process = format!("/proc/{}", self.program.id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let bytes = |name: &str| -> usize {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
        };
        std::fs::write(format!("{process}/clear_refs"), "5").unwrap();
        (bytes("VmRSS:"), bytes("VmHWM:"))
    }

    /// Runs an attack, and tells what it cost at most.
    async fn cost(&self, what: &str, most: usize, attack: impl Future<Output = ()>) {
        let (before, _) = self.memory();
        attack.await;
        eventually("the end of the vendor's calls", || self.calls.are_open() == 0).await;
        let (after, highest) = self.memory();
        let kib = |bytes: usize| bytes >> 10;
        tell(&format!("{what}: {} KiB before, {} at most, {} after", kib(before), kib(highest), kib(after)));
        assert!(highest < before + most, "{what}");
    }
}

fn text_of(vendor: &str, client: &Value) -> String {
    format!(
        r#"[server]
listen = "127.0.0.1:0"
public_url = "http://127.0.0.1:8080"
workers = 1
timeouts = {{ send = "500ms", body = "500ms" }}

[vendors.acme]
profile = "./plain.toml"
base_url = "{vendor}"
keys = [{{ env = "FLOOD_KEY" }}]

[bots.support]
vendor = "acme"
vendor_id = "bot_1"
visibility = "private"
owners = ["website"]
limits = {{ {WIDE}, streams = "off" }}

[clients.website]
secret_sha256 = {}
"#,
        client["secret_sha256"]
    )
}

fn open(stream: u32, head: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, head)
}

#[tokio::test]
async fn floods_do_not_grow_the_program() {
    let scene = Scene::start().await;
    let get = scene.head("GET /read", &[]);
    let call = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get);
    // Once for what is set up at the first call.
    let mut attacker = scene.attacker(&[]).await;
    attacker.write(&call(1)).await;
    drop(attacker);

    for (what, first, noise) in [
        ("PING", Vec::new(), frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", Vec::new(), settings(&[(WINDOW, 0)])),
        ("PRIORITY", Vec::new(), frame(PRIORITY, 0, 1001, &[0, 0, 0, 3, 0])),
        ("WINDOW_UPDATE", call(1), number(WINDOW_UPDATE, 1, 1)),
        ("frames of an unknown kind", Vec::new(), frame(0xfa, 0, 0, &[0; 16_000])),
        (
            "DATA for a stream that was reset",
            [call(1), number(RESET, 1, CANCEL)].concat(),
            frame(DATA, 0, 1, &[0; 16_000]),
        ),
    ] {
        let mut attacker = scene.attacker(&[]).await;
        attacker.write(&first).await;
        scene
            .cost(what, MOST, async {
                attacker.flood(&noise, FLOOD).await;
                drop(attacker);
            })
            .await;
    }
    // These end their connection; an attacker opens the next.
    let post = scene.head("POST /echo", &[]);
    let bomb = [0x40].into_iter().chain(text("x-bomb")).chain(text(&"x".repeat(3900))).chain([0xbe; 6]);
    let bomb = [get.as_slice(), &bomb.collect::<Vec<_>>()].concat();
    let begun = frame(HEADERS, 0, 1, &get);
    let continued = frame(CONTINUATION, 0, 1, &[[0].as_slice(), &text("x-flood"), &text(&"x".repeat(16_000))].concat());
    let streams = |each: fn(u32, &[u8]) -> Vec<u8>, head: &[u8]| -> Vec<u8> {
        (0..400).flat_map(|number| each(number * 2 + 1, head)).collect()
    };
    for (what, burst) in [
        ("CONTINUATION", [begun, continued.repeat(64)].concat()),
        ("resets at once", streams(|stream, head| [open(stream, head), number(RESET, stream, CANCEL)].concat(), &get)),
        ("heads that become large", streams(open, &bomb)),
        ("streams that are left open", streams(open, &post)),
        ("bodies beyond the windows", [open(1, &post), frame(DATA, 0, 1, &[0; 16_000]).repeat(200)].concat()),
    ] {
        scene
            .cost(what, MOST, async {
                for _ in 0..20 {
                    let mut attacker = scene.attacker(&[]).await;
                    attacker.write(&burst).await;
                }
            })
            .await;
    }
    let log = std::fs::read_to_string(scene.folder.path().join("log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn answers_and_bodies_that_wait_do_not_grow_the_program_beyond_their_bound() {
    let scene = Scene::start().await;
    let (before, _) = scene.memory();
    let endless = scene.head("GET /read", &[("x-endless", "")]);
    let calls: Vec<u8> =
        (0..100).flat_map(|each| frame(HEADERS, END_HEADERS | END_STREAM, each * 2 + 1, &endless)).collect();
    let resets = |attacker: &Attacker| attacker.received().resets.len();

    let mut attacker = scene.attacker(&[(WINDOW, 0)]).await;
    scene
        .cost("100 answers behind closed windows", MOST_UNREAD, async {
            attacker.write(&calls).await;
            eventually("the resets", || resets(&attacker) == 100).await;
        })
        .await;

    // Read for a while first: who reads from the vendor reads more at once the longer it goes well.
    let mut attacker = scene.attacker(&[(WINDOW, 1 << 20)]).await;
    scene
        .cost("100 answers of which 1 MiB was read", MOST_UNREAD, async {
            attacker.write(&number(WINDOW_UPDATE, 0, LARGEST_WINDOW - 65_535)).await;
            attacker.write(&calls).await;
            eventually("the resets", || resets(&attacker) == 100).await;
        })
        .await;
    // Nothing is called meanwhile: who held the memory has no occasion to.
    eventually("what they cost is given back", || scene.memory().0 < before + MOST_UNREAD / 5).await;
}

#[tokio::test]
async fn answers_that_wait_over_http1_stay_within_their_bound_too() {
    let scene = Scene::start().await;
    let (address, token) = (&scene.address, &scene.token);
    let call =
        format!("GET /read HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nx-endless: yes\r\n\r\n");
    let mut clients = Vec::new();
    scene
        .cost("100 answers over HTTP/1.1", MOST_UNREAD_HTTP1, async {
            for _ in 0..100 {
                let mut client = TcpStream::connect(address).await.unwrap();
                client.write_all(call.as_bytes()).await.unwrap();
                clients.push(client);
            }
            eventually("the calls", || scene.calls.all.load(Ordering::SeqCst) == 100).await;
        })
        .await;
}

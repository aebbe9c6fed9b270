//! The program at work in front of hostile vendors, and a client that keeps every answer.

use std::time::Duration;

use keystile::clock::{Clock, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::home::{PROXY, bound, private_keys, settings, variables, write};
use super::hostile::{self, VENDOR_TOKEN};
use super::search::Haystack;
use crate::support::gateway::KEY;
use crate::support::program::{Running, keystile, listening};
use crate::support::secure::SecureVendor;
use crate::support::vendor::TestVendor;

/// What is written into paths, queries, headers and bodies, and must not get into the log.
pub(super) const CANARY: &str = "canary";
/// How long the gateway waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program, its vendors, and what was said.
pub(super) struct Stage {
    pub(super) address: String,
    pub(super) owner: String,
    pub(super) stranger: String,
    pub(super) answers: Vec<String>,
    pub(super) tokens: Vec<String>,
    program: Running,
    home: TempDir,
    _vendors: (TestVendor, SecureVendor),
}

impl Stage {
    pub(super) async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let vendors = (hostile::vendor(), hostile::secure());
        std::fs::copy(vendors.1.authority.file(), home.path().join("ca.crt")).unwrap();
        let [owner, stranger] = write(home.path(), &vendors.0.url, &vendors.1.vendor.url);
        let mut command = keystile();
        command.args(["serve", "-c"]).arg(home.path().join("keystile.toml")).envs(variables()).env("RUST_LOG", "trace");
        let program = Running::start(&mut command, &home.path().join("log"));
        let address = listening(&home.path().join("log")).await;
        let [owner, stranger] = [owner, stranger].map(|client| client.secret.expose().to_owned());
        let (answers, tokens) = (Vec::new(), Vec::new());
        Self { address, owner, stranger, answers, tokens, program, home, _vendors: vendors }
    }

    /// Sends these bytes, and keeps what comes back until the gateway closes.
    pub(super) async fn raw(&mut self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        // An answer that was cut is one, too.
        let _ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        self.answers.push(answer.clone());
        answer
    }

    /// A call with these header lines and this body.
    pub(super) async fn call(&mut self, call: &str, headers: &[&str], body: &str) -> String {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let host = if lines.contains("host:") { "" } else { "host: gateway\r\n" };
        let length = body.len();
        self.raw(format!("{call} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {length}\r\n{lines}\r\n{body}"))
            .await
    }

    /// Asks for a session of `bot` as its owner.
    pub(super) async fn ask(&mut self, bot: &str, wish: &Value) -> String {
        let bearer = format!("authorization: Bearer {}", self.owner);
        let headers = [bearer.as_str(), "content-type: application/json"];
        self.call(&format!("POST /v1/bots/{bot}/sessions"), &headers, &wish.to_string()).await
    }

    /// The token of a session of `bot`.
    pub(super) async fn mint(&mut self, bot: &str, wish: &Value) -> String {
        let answer = self.ask(bot, wish).await;
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let token = serde_json::from_str::<Value>(body).unwrap()["token"].as_str().expect(&answer).to_owned();
        self.tokens.push(token.clone());
        token
    }

    /// A token of a replica whose bot has `elsewhere` behind its vendor's id, and whose clock is `ago` behind.
    pub(super) async fn mint_elsewhere(&mut self, elsewhere: &str, ago: u64) -> String {
        let past = Timestamp::from_seconds(Clock::system().now().seconds() - ago);
        let bound = bound(settings(self.home.path(), elsewhere), Clock::manual(past));
        let there = bound.address().to_string();
        let running = bound.start().unwrap();
        let here = std::mem::replace(&mut self.address, there);
        let token = self.mint("support", &json!({})).await;
        self.address = here;
        running.stop();
        token
    }

    /// Ends the program in the middle of a call, and gives all that was said.
    pub(super) async fn finish(mut self) -> Haystack {
        let token = self.mint("support", &json!({})).await;
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let call =
            format!("GET /read HTTP/1.1\r\nhost: gateway\r\nx-do: stream\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(call.as_bytes()).await.unwrap();
        let mut part = [0; 4096];
        assert!(stream.read(&mut part).await.unwrap() > 0);
        let (status, said) = self.program.terminate_and_read();
        assert_eq!(status.code(), Some(0));
        let mut rest = Vec::new();
        let _cut = stream.read_to_end(&mut rest).await;
        self.answers.push(String::from_utf8_lossy(&[&part[..], &rest].concat()).into_owned());
        let read = |name: &str| std::fs::read_to_string(self.home.path().join(name)).unwrap();
        let audit = read("keystile-audit.jsonl");
        assert!(audit.contains("session.mint"), "{audit}");
        let log = read("log") + &audit + &said;
        let mut secrets = vec![KEY.to_owned(), PROXY.to_owned(), VENDOR_TOKEN.to_owned(), self.owner, self.stranger];
        secrets.extend(private_keys(self.home.path()));
        Haystack { log, answers: self.answers, secrets, tokens: self.tokens }
    }
}

//! The program in a folder of its own, with a configuration that a test may edit.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use command_fds::{CommandFdExt, FdMapping};
use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::Sender;

use super::program::{Running, keystile, listening, told};
use super::vendor::{Senders, TestVendor};

/// The vendor's key.
pub(crate) const KEY: &str = "sk-held-0123456789abcdef";

/// A folder in which the program is run, in front of a vendor.
pub(crate) struct Home {
    pub(crate) folder: TempDir,
    pub(crate) owner: NewClient,
    pub(crate) http: Client,
}

/// The program at work.
pub(crate) struct At {
    pub(crate) running: Running,
    pub(crate) url: String,
    pub(crate) admin: String,
    pub(crate) log: PathBuf,
}

impl Home {
    pub(crate) fn new(vendor: &TestVendor, server: &str) -> Self {
        let owner = NewClient::make("website", &Entropy::system());
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            r#"
[server]
listen     = "127.0.0.1:0"
public_url = "http://127.0.0.1:8080"
workers    = 2
{server}

[admin]
listen = "127.0.0.1:0"

[vendors.acme]
profile  = "openai"
base_url = "{}"
keys     = [{{ env = "VENDOR_KEY" }}]

[bots.support]
vendor     = "acme"
vendor_id  = "model-1"
visibility = "private"
owners     = ["website"]
limits     = {{ mint_per_ip = "off", per_bot = "off", per_session = "off", streams = "off" }}

[clients.website]
secret_sha256 = "{}"
"#,
            vendor.url, owner.secret_sha256
        );
        std::fs::write(folder.path().join("keystile.toml"), text).unwrap();
        Self { folder, owner, http: Client::new() }
    }

    pub(crate) fn prepare(&self, mut command: Command) -> Command {
        command.current_dir(self.folder.path()).env("VENDOR_KEY", KEY);
        command
    }

    async fn started(&self, command: Command, log: &str) -> At {
        let log = self.folder.path().join(log);
        let running = Running::start(&mut self.prepare(command), &log);
        let url = format!("http://{}", listening(&log).await);
        let admin = format!("http://{}", told(&log, "admin").await);
        At { running, url, admin, log }
    }

    pub(crate) async fn start(&self) -> At {
        let mut command = keystile();
        command.args(["serve", "-c", "keystile.toml"]);
        self.started(command, "log").await
    }

    /// The same with a listening socket that was opened before.
    pub(crate) async fn start_with(&self, socket: &TcpListener, log: &str) -> At {
        self.started(Self::command_with(&[socket]), log).await
    }

    /// The program with these sockets handed over.
    pub(crate) fn command_with(sockets: &[&TcpListener]) -> Command {
        let program = env!("CARGO_BIN_EXE_keystile");
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("LISTEN_FDS={} LISTEN_PID=$$ exec {program} serve -c keystile.toml", sockets.len())]);
        let mappings = sockets.iter().zip(3..).map(|(socket, child_fd)| {
            let parent_fd = OwnedFd::from(socket.try_clone().unwrap());
            FdMapping { parent_fd, child_fd }
        });
        command.fd_mappings(mappings.collect()).unwrap();
        command
    }

    pub(crate) async fn mint(&self, at: &At) -> String {
        self.mint_at(&at.url).await
    }

    pub(crate) async fn mint_at(&self, url: &str) -> String {
        let call = self.http.post(format!("{url}/v1/bots/support/sessions"));
        let answer = call.bearer_auth(self.owner.secret.expose()).json(&json!({})).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn say(&self, http: &Client, at: &str, token: &str) -> RequestBuilder {
        let call = http.post(format!("{at}/v1/chat/completions")).bearer_auth(token);
        call.json(&json!({"messages": [{"role": "user", "content": "hi"}]}))
    }

    /// A stream of a session, of which the first part has come; and what sends the others.
    pub(crate) async fn begun(&self, at: &At, token: &str, senders: &Senders) -> (Response, Sender<Bytes>) {
        let mut open = self.say(&self.http, &at.url, token).send().await.unwrap();
        let sender = senders.lock().pop().unwrap();
        sender.send("data: one\n\n".into()).await.unwrap();
        assert_eq!(open.chunk().await.unwrap().unwrap(), "data: one\n\n");
        (open, sender)
    }

    pub(crate) async fn ready(&self, at: &At) -> StatusCode {
        self.http.get(format!("{}/readyz", at.admin)).send().await.unwrap().status()
    }
}

impl At {
    pub(crate) fn ask_to_stop(&self) {
        self.running.signal("TERM");
    }
}

//! The record of the program as a process of its own: killed, started twice, and with a disk that takes no more.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use keystile::bot::NewClient;
use keystile::clock::Clock;
use keystile::id::{Entropy, RequestId};
use keystile::telemetry::audit::{Action, Audit, Event, Trace, Who};
use reqwest::{Client, Response};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::refusal;
use crate::support::program::{Running, complained, keystile, listening, said};

const KILLS: usize = 4;

/// A folder with a configuration and all that the program leaves there.
struct Home {
    folder: TempDir,
    owner: NewClient,
    operator: NewClient,
    http: Client,
}

/// The program at work in it.
struct At {
    running: Running,
    url: String,
    admin: Option<String>,
}

impl Home {
    /// OpenAI has no session call, so that no vendor is needed.
    fn new() -> Self {
        let (owner, operator) =
            (NewClient::make("website", &Entropy::system()), NewClient::make("admin", &Entropy::system()));
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            r#"
[server]
listen     = "127.0.0.1:0"
public_url = "http://127.0.0.1:8080"
workers    = 2

[admin]
listen        = "127.0.0.1:0"
secret_sha256 = "{}"

[vendors.acme]
profile  = "openai"
base_url = "http://127.0.0.1:9"
keys     = [{{ env = "CRASH_KEY" }}]

[bots.support]
vendor     = "acme"
vendor_id  = "model-1"
visibility = "private"
owners     = ["website"]

[clients.website]
secret_sha256 = "{}"
"#,
            operator.secret_sha256, owner.secret_sha256
        );
        std::fs::write(folder.path().join("keystile.toml"), text).unwrap();
        Self { folder, owner, operator, http: Client::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn record(&self) -> PathBuf {
        self.path("keystile-audit.jsonl")
    }

    fn serve(&self, mut command: Command) -> Command {
        command.arg("serve").arg("-c").arg(self.path("keystile.toml"));
        command.env("CRASH_KEY", "sk-crash-0123456789abcdef");
        command
    }

    async fn start(&self, command: Command) -> At {
        self.start_beside(command, "log").await
    }

    /// The same with a log of its own.
    async fn start_beside(&self, command: Command, log: &str) -> At {
        let log = self.path(log);
        let running = Running::start(&mut self.serve(command), &log);
        let url = format!("http://{}", listening(&log).await);
        At { running, url, admin: admin_of(&log) }
    }

    async fn open(&self, at: &At) -> reqwest::Result<Response> {
        let call = self.http.post(format!("{}/v1/bots/support/sessions", at.url));
        call.bearer_auth(self.owner.secret.expose()).json(&json!({})).send().await
    }

    /// A session that was opened and answered; nothing if the program went.
    async fn opened(&self, at: &At) -> Option<(String, String)> {
        let answer: Value = self.open(at).await.ok()?.json().await.ok()?;
        let text = |name: &str| Some(answer[name].as_str()?.to_owned());
        Some((text("sessionId")?, text("token")?))
    }

    /// The sessions that the record says were opened, after it was found unbroken.
    fn on_record(&self) -> HashSet<String> {
        let ran = keystile().args(["audit", "verify", "-c"]).arg(self.path("keystile.toml")).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{}{}", said(&ran), complained(&ran));
        let text = std::fs::read_to_string(self.record()).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let minted = records.filter(|record| record["action"] == "session.mint");
        minted.map(|record| record["session"].as_str().unwrap().to_owned()).collect()
    }
}

fn admin_of(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).unwrap();
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["message"] == "listening")?;
    Some(format!("http://{}", line["admin"].as_str()?))
}

#[tokio::test]
async fn every_mint_that_was_answered_before_a_sigkill_is_on_record() {
    let home = Home::new();
    let mut answered = HashSet::new();
    for round in 1..=KILLS {
        let at = home.start(keystile()).await;
        let minter = async |most: usize| {
            let mut answered = Vec::new();
            while answered.len() < most
                && let Some((session, _)) = home.opened(&at).await
            {
                answered.push(session);
            }
            answered
        };
        // While others wait for their answers, one has enough and kills it.
        let killer = async {
            let answered = minter(5 * round).await;
            at.running.signal("KILL");
            answered
        };
        let others = (0..6).map(|_| minter(usize::MAX));
        let (first, others) = tokio::join!(killer, futures_util::future::join_all(others));
        answered.extend(first.into_iter().chain(others.into_iter().flatten()));
    }
    drop(home.start(keystile()).await);
    let on_record = home.on_record();
    let missing: Vec<&String> = answered.difference(&on_record).collect();
    assert!(missing.is_empty() && answered.len() > 50, "{} of {}: {missing:?}", missing.len(), answered.len());
}

#[tokio::test]
async fn two_gateways_on_one_record_write_one_chain() {
    let home = Home::new();
    let (one, two) = (home.start(keystile()).await, home.start_beside(keystile(), "other").await);
    let opened = async |at: &At| {
        for _ in 0..20 {
            assert!(home.opened(at).await.is_some());
        }
    };
    tokio::join!(opened(&one), opened(&two), opened(&one), opened(&two));
    assert_eq!(home.on_record().len(), 80);
}

/// Records before the program's own, so that the file is longer than any other that it writes: the limit that is set
/// below holds for all of them.
async fn fill(path: &Path) {
    let audit = Audit::open(Some(path), Clock::system()).unwrap();
    let trace = Trace { from: Some("192.0.2.1".parse().unwrap()), request: RequestId::next() };
    let event = Event::new(Action::RevokeAll, Who::Operator("x".repeat(200)), trace);
    for _ in 0..5 {
        let written = (0..3000).map(|_| audit.write(event.clone()));
        assert!(futures_util::future::join_all(written).await.iter().all(Result::is_ok));
    }
}

fn limit(id: u32, bytes: Option<u64>) {
    let id = Pid::from_raw(i32::try_from(id).unwrap());
    prlimit(id, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

#[tokio::test]
async fn while_the_record_cannot_be_written_no_token_leaves_and_sessions_end_all_the_same() {
    let home = Home::new();
    fill(&home.record()).await;
    // A write beyond the limit fails then, as on a full disk, and does not end the process.
    let mut ignoring = Command::new("bash");
    ignoring.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_keystile")]);
    let at = home.start(ignoring).await;
    let (id, token) = home.opened(&at).await.unwrap();
    let ready = async || {
        let answer = home.http.get(format!("{}/readyz", at.admin.as_deref().unwrap())).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ready().await, (200, "ready\n".to_owned()));

    let length = std::fs::metadata(home.record()).unwrap().len();
    limit(at.running.id(), Some(length + 20));
    let unavailable = (503, "audit_unavailable".to_owned());
    let refused = home.open(&at).await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    let refused = refused.text().await.unwrap();
    assert!(refused.contains("\"audit_unavailable\"") && !refused.contains("\"token\""), "{refused}");
    assert_eq!(std::fs::metadata(home.record()).unwrap().len(), length, "no half record stays");
    let renew = home.http.post(format!("{}/v1/sessions/{id}/renew", at.url)).bearer_auth(&token);
    assert_eq!(refusal(renew.send().await.unwrap()).await, unavailable);
    assert!(ready().await.1.contains("the audit record cannot be written"));
    let session = format!("{}/v1/sessions/{id}", at.url);
    assert_eq!(home.http.delete(&session).bearer_auth(&token).send().await.unwrap().status(), 204);
    let gone = home.http.get(&session).bearer_auth(&token).send().await.unwrap();
    assert_eq!(refusal(gone).await, (401, "token_revoked".to_owned()));

    limit(at.running.id(), None);
    let (back, _) = home.opened(&at).await.unwrap();
    assert_eq!(ready().await, (200, "ready\n".to_owned()));
    let list = home.http.get(format!("{}/v1/sessions", at.url)).bearer_auth(home.owner.secret.expose());
    let list: Value = list.send().await.unwrap().json().await.unwrap();
    let open = |session: &&Value| session["state"] == "open";
    let open: Vec<&Value> = list["sessions"].as_array().unwrap().iter().filter(open).collect();
    assert!(open.len() == 1 && open[0]["sessionId"] == *back, "what was refused is not open: {list}");
    assert_eq!(home.on_record(), HashSet::from([id, back]));
    let log = std::fs::read_to_string(home.path("log")).unwrap();
    for said in ["cannot be written", "can be written again", "what this request ended is not on record"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    assert!(!log.contains(home.operator.secret.expose()) && !log.contains(&token));
}

//! Two processes of the program and one Redis: what is ended on one is refused by the other within a second, and its open
//! stream there is cut; also where the Redis was restarted or its connections were lost meanwhile.

use std::time::{Duration, Instant};

use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::Session;
use crate::support::program::{Running, keystile, listening};
use crate::support::redis::TestRedis;
use crate::support::vendor::{Answer, TestVendor, streamed, whole};
use crate::support::{PATIENCE, until, within_a_second};

const KEY: &str = "sk-processes-0123456789abcdef";
/// What the processes write.
const LOGS: [&str; 2] = ["one.log", "two.log"];

/// Two gateways with the same keys, each a process.
struct Pair {
    urls: [String; 2],
    owner: NewClient,
    http: Client,
    _vendor: TestVendor,
    _running: [Running; 2],
    folder: TempDir,
}

/// A ChatBotKit whose answers to a question never end by themselves.
fn vendor() -> TestVendor {
    let open = json!({"conversationId": "conv_1", "token": "vt-0123456789abcdef", "expiresAt": 4_000_000_000_000_u64});
    let streams = parking_lot::Mutex::new(Vec::new());
    TestVendor::answering(move |seen| -> Answer {
        if seen.target.contains("/session/create") {
            return whole(200, "application/json", open.to_string());
        }
        if !seen.target.contains("/complete") {
            return whole(200, "application/json", "{}");
        }
        let (answer, sender) = streamed("text/event-stream");
        sender.try_send("data: one\n\n".into()).unwrap();
        streams.lock().push(sender);
        answer
    })
}

fn configuration(vendor: &TestVendor, redis: &TestRedis, digest: &str) -> String {
    format!(
        r#"
[server]
listen     = "127.0.0.1:0"
public_url = "https://chat.example.com"
workers    = 1

[admin]
listen = "off"

[tokens]
keys = "signing"

[store]
url = "{}"

[vendors.acme]
profile  = "chatbotkit"
base_url = "{}"
keys     = [{{ env = "PROCESSES_KEY" }}]

[bots.support]
vendor     = "acme"
vendor_id  = "bot_1"
visibility = "private"
owners     = ["website"]
limits     = {{ mint_per_ip = "off", per_bot = "off", per_session = "off", streams = "off" }}

[clients.website]
secret_sha256 = "{digest}"
"#,
        redis.url(),
        vendor.url
    )
}

impl Pair {
    async fn start(redis: &TestRedis) -> Self {
        let (vendor, owner) = (vendor(), NewClient::make("website", &Entropy::system()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keystile.toml");
        std::fs::write(&file, configuration(&vendor, redis, &owner.secret_sha256)).unwrap();
        let run = async |log: &str| {
            let log = folder.path().join(log);
            let mut command = keystile();
            command.arg("serve").arg("-c").arg(&file).env("PROCESSES_KEY", KEY);
            let running = Running::start(&mut command, &log);
            (running, format!("http://{}", listening(&log).await))
        };
        // The first makes the keys that both use.
        let ((one, first), (two, second)) = (run(LOGS[0]).await, run(LOGS[1]).await);
        let (urls, http) = ([first, second], Client::new());
        Self { urls, owner, http, _vendor: vendor, _running: [one, two], folder }
    }

    async fn send(&self, replica: usize, method: Method, path: &str, credential: &str) -> Response {
        let url = format!("{}{path}", self.urls[replica]);
        self.http.request(method, url).bearer_auth(credential).send().await.unwrap()
    }

    /// A session of the first, opened as soon as that is possible.
    async fn mint(&self) -> Session {
        until("a session can be opened", async || {
            let answer = self.send(0, Method::POST, "/v1/bots/support/sessions", self.owner.secret.expose()).await;
            if answer.status() != 201 {
                return None;
            }
            let answer: Value = answer.json().await.unwrap();
            let text = |name: &str| answer[name].as_str().unwrap().to_owned();
            Some(Session { id: text("sessionId"), conversation: text("conversationId"), token: text("token") })
        })
        .await
    }

    /// Ends a session on the first, as soon as that is possible; when that was answered.
    async fn end(&self, session: &Session) -> Instant {
        let path = format!("/v1/sessions/{}", session.id);
        until("a session can be ended", async || {
            let answer = self.send(0, Method::DELETE, &path, self.owner.secret.expose()).await;
            (answer.status() == 204).then(Instant::now)
        })
        .await
    }

    /// What a replica's log says of the store.
    fn told(&self, replica: usize) -> String {
        let log = std::fs::read_to_string(self.folder.path().join(LOGS[replica])).unwrap();
        log.lines().filter(|line| !line.contains("\"access\"")).collect::<Vec<_>>().join("\n")
    }

    /// The status of a call with the session on the second.
    async fn status(&self, session: &Session) -> u16 {
        let path = "/api/v1/conversation/conv_1/message/list";
        self.send(1, Method::GET, path, &session.token).await.status().as_u16()
    }

    /// How long after `ended` the second refuses the session.
    async fn refused(&self, session: &Session, ended: Instant) -> Duration {
        loop {
            match self.status(session).await {
                200 => assert!(ended.elapsed() < PATIENCE, "still good on the other:\n{}", self.told(1)),
                status => {
                    assert_eq!(status, 401);
                    return ended.elapsed();
                }
            }
        }
    }

    /// A stream of the session on the second, whose first event has come.
    async fn stream(&self, session: &Session) -> Response {
        let url = format!("{}/api/v1/conversation/conv_1/complete", self.urls[1]);
        let call = self.http.post(url).bearer_auth(&session.token).json(&json!({"text": "hi"}));
        let mut stream = call.send().await.unwrap();
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: one\n\n");
        stream
    }
}

/// How long after `ended` the stream ended, and said why.
async fn cut(mut stream: Response, ended: Instant) -> Duration {
    let mut rest = Vec::new();
    while let Some(part) = stream.chunk().await.unwrap() {
        rest.extend_from_slice(&part);
    }
    let after = ended.elapsed();
    assert!(String::from_utf8_lossy(&rest).contains("revoked"), "{rest:?}");
    after
}

#[tokio::test]
async fn a_session_ended_on_one_process_is_refused_by_the_other_and_its_stream_there_is_cut_within_a_second() {
    let redis = TestRedis::start();
    let pair = Pair::start(&redis).await;
    let (mut refusals, mut cuts) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let session = pair.mint().await;
        assert_eq!(pair.status(&session).await, 200);
        let stream = pair.stream(&session).await;
        let ended = pair.end(&session).await;
        let (refusal, cut) = tokio::join!(pair.refused(&session, ended), cut(stream, ended));
        refusals.push(refusal);
        cuts.push(cut);
    }
    println!("{}", within_a_second("refused by the other process", refusals));
    println!("{}", within_a_second("stream on the other process cut", cuts));
}

#[tokio::test]
async fn across_a_restart_of_redis_no_end_is_lost_and_each_takes_hold_within_a_second() {
    let mut redis = TestRedis::durable();
    let pair = Pair::start(&redis).await;
    let (mut before, mut after, mut cuts) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..40 {
        let session = pair.mint().await;
        let stream = pair.stream(&session).await;
        let (from, times) = if round % 2 == 0 {
            pair.end(&session).await;
            redis.start_again();
            (Instant::now(), &mut before)
        } else {
            redis.start_again();
            (pair.end(&session).await, &mut after)
        };
        let (refusal, cut) = tokio::join!(pair.refused(&session, from), cut(stream, from));
        times.push(refusal);
        cuts.push(cut);
    }
    println!("{}", within_a_second("ended before a restart of Redis: refused after its return", before));
    println!("{}", within_a_second("ended after a restart of Redis: refused", after));
    println!("{}", within_a_second("streams cut across a restart of Redis", cuts));
}

#[tokio::test]
async fn across_lost_connections_to_redis_each_end_takes_hold_within_a_second() {
    let redis = TestRedis::start();
    let pair = Pair::start(&redis).await;
    let (mut refusals, mut cuts) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let session = pair.mint().await;
        let stream = pair.stream(&session).await;
        // All that both have open: what is pushed over it is lost with it.
        for kind in ["normal", "pubsub"] {
            redis.ask(&["CLIENT", "KILL", "TYPE", kind]);
        }
        let ended = pair.end(&session).await;
        let (refusal, cut) = tokio::join!(pair.refused(&session, ended), cut(stream, ended));
        refusals.push(refusal);
        cuts.push(cut);
    }
    println!("{}", within_a_second("refused after lost connections", refusals));
    println!("{}", within_a_second("stream cut after lost connections", cuts));
}

//! Three processes of the program with one Redis and one key directory, the balancer before them, and their vendor.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use keystile::bot::NewClient;
use keystile::id::Entropy;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::authority::Authority;
use crate::support::balancer::{Connection, Place, TestBalancer};
use crate::support::eventually;
use crate::support::program::{Running, keystile, listening};
use crate::support::redis::TestRedis;
use crate::support::vendor::{TestVendor, streamed, whole};

const KEY: &str = "sk-balanced-0123456789abcdef";
/// A page that may ask for sessions of the public bot.
pub(super) const PAGE: &str = "https://www.example.com";

/// What the gateway is called.
const HOST: &str = "chat.example.com";

/// The open streams of the vendor, under what was said.
type Streams = Arc<Mutex<BTreeMap<String, mpsc::Sender<Bytes>>>>;

/// The whole of it. Dropping it ends it.
pub(super) struct Fleet {
    pub(super) balancer: Arc<TestBalancer>,
    pub(super) processes: Processes,
    pub(super) streams: Streams,
    owner: NewClient,
    _vendor: TestVendor,
    _redis: TestRedis,
}

/// The replicas.
pub(super) struct Processes {
    places: [Place; 3],
    running: [Option<Running>; 3],
    starts: [usize; 3],
    folder: TempDir,
    authority: Authority,
}

/// The name that the balancer has for this one.
pub(super) fn name(replica: usize) -> String {
    format!("replica_{}", replica + 1)
}

fn vendor(streams: &Streams) -> TestVendor {
    let streams = Arc::clone(streams);
    TestVendor::answering(move |seen| {
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        if asked["stream"] != true {
            return whole(200, "application/json", "{\"said\":true}");
        }
        let (answer, sender) = streamed("text/event-stream");
        sender.try_send("data: one\n\n".into()).unwrap();
        let said = asked["messages"][0]["content"].as_str().unwrap().to_owned();
        streams.lock().insert(said, sender);
        answer
    })
}

fn configuration(place: &Place, vendor: &TestVendor, redis: &TestRedis, owner: &NewClient) -> String {
    let Place { listen, admin } = place;
    let (vendor, redis, digest) = (&vendor.url, redis.url(), &owner.secret_sha256);
    format!(
        r#"
[server]
listen          = "{listen}"
public_url      = "https://{HOST}"
workers         = 1
trusted_proxies = ["127.0.0.1"]
proxy_protocol  = true
tls             = {{ cert = "{HOST}.crt", key = "{HOST}.key" }}

[admin]
listen = "{admin}"

[store]
url = "{redis}"

[vendors.acme]
profile  = "openai"
base_url = "{vendor}"
keys     = [{{ env = "BALANCED_KEY" }}]

[bots.support]
vendor     = "acme"
vendor_id  = "model-1"
visibility = "private"
owners     = ["website"]
limits     = {{ mint_per_ip = "off", per_bot = "off", per_session = "off", streams = "off" }}

[bots.page]
vendor     = "acme"
vendor_id  = "model-2"
visibility = "public"
origins    = ["{PAGE}"]
limits     = {{ mint_per_ip = "4/1h", per_bot = "1000000/1m" }}

[clients.website]
secret_sha256 = "{digest}"
"#
    )
}

impl Fleet {
    pub(super) async fn start() -> Self {
        let (streams, redis) = (Streams::default(), TestRedis::durable());
        let vendor = vendor(&streams);
        let owner = NewClient::make("website", &Entropy::system());
        let mut processes = Processes::new(|place| configuration(place, &vendor, &redis, &owner));
        for replica in 0..3 {
            processes.run(replica).await;
        }
        // After them: it takes nobody for ready who is not.
        let balancer = Arc::new(TestBalancer::before(&processes.places, &processes.authority.file()).await);
        Self { balancer, processes, streams, owner, _vendor: vendor, _redis: redis }
    }

    /// A connection to the balancer, by HTTP/1.1.
    pub(super) async fn connect(&self, from: &str) -> Connection {
        self.balancer.connect(from.parse::<IpAddr>().unwrap(), false).await.unwrap()
    }

    /// What the owner sends to open a session.
    pub(super) fn minting(&self) -> impl Fn() -> Request<Full<Bytes>> + Send + use<> {
        let secret = self.owner.secret.expose().to_owned();
        move || post("/v1/bots/support/sessions", &secret, &json!({}))
    }
}

impl Processes {
    /// With these configurations, in one folder. None runs yet.
    fn new(configuration: impl Fn(&Place) -> String) -> Self {
        let (folder, places) = (tempfile::tempdir().unwrap(), [Place::free(), Place::free(), Place::free()]);
        let authority = Authority::new();
        authority.renew(HOST, folder.path());
        for (number, place) in places.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{}.toml", name(number))), configuration(place)).unwrap();
        }
        Self { places, running: [None, None, None], starts: [0; 3], folder, authority }
    }

    fn program(&self, arguments: &[&str], replica: usize) -> Command {
        let mut command = keystile();
        command.args(arguments).args(["-c", &format!("{}.toml", name(replica))]);
        command.current_dir(self.folder.path()).env("BALANCED_KEY", KEY);
        command
    }

    fn log(&self, replica: usize, start: usize) -> PathBuf {
        self.folder.path().join(format!("{}.{start}.log", name(replica)))
    }

    /// Starts a replica, at its own place, and waits until it listens.
    pub(super) async fn run(&mut self, replica: usize) {
        self.starts[replica] += 1;
        let log = self.log(replica, self.starts[replica]);
        self.running[replica] = Some(Running::start(&mut self.program(&["serve"], replica), &log));
        assert_eq!(listening(&log).await, self.places[replica].listen.to_string());
    }

    /// Ends a replica as a crash would.
    pub(super) fn kill(&mut self, replica: usize) {
        drop(self.running[replica].take().unwrap());
    }

    /// Asks a replica to stop, as a supervisor does.
    pub(super) fn ask_to_stop(&self, replica: usize) {
        self.signal(replica, "TERM");
    }

    /// Asks a replica to read its configuration again, which has another bot now, and waits until it has.
    pub(super) async fn reload(&self, replica: usize) {
        let file = self.folder.path().join(format!("{}.toml", name(replica)));
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("[bots.page]", "[bots.another]")).unwrap();
        self.signal(replica, "HUP");
        let log = self.log(replica, self.starts[replica]);
        let is_in_force = || std::fs::read_to_string(&log).unwrap().contains("is in force");
        eventually("the new configuration", is_in_force).await;
    }

    /// Renews the certificate of all, which watch its files, and waits until new connections are shown it.
    pub(super) async fn renew_certificate(&self) {
        let before = self.shown(2).await;
        self.authority.renew(HOST, self.folder.path());
        for replica in 0..3 {
            let end = Instant::now() + Duration::from_secs(30);
            while self.shown(replica).await == before {
                assert!(Instant::now() < end, "the old certificate is still shown by {}", name(replica));
            }
        }
    }

    /// The certificate that a new connection to a replica is shown.
    async fn shown(&self, replica: usize) -> CertificateDer<'static> {
        let mut stream = TcpStream::connect(self.places[replica].listen).await.unwrap();
        stream.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
        self.authority.shown(HOST, stream).await
    }

    fn signal(&self, replica: usize, name: &str) {
        self.running[replica].as_ref().unwrap().signal(name);
    }

    /// Waits for the end of a replica that was asked to stop; whether all was well.
    pub(super) fn has_ended_well(&mut self, replica: usize) -> bool {
        self.running[replica].take().unwrap().wait().success()
    }

    /// Publishes the next keys, which sign in ten seconds; what they are called.
    pub(super) fn rotate(&self) -> String {
        let output = self.program(&["keys", "rotate", "--delay", "10s", "--json"], 0).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let keys: Value = serde_json::from_slice(&output.stdout).unwrap();
        let next = keys.as_array().unwrap().iter().find(|key| key["state"] == "next" && key["algorithm"] == "EdDSA");
        next.unwrap_or_else(|| panic!("{keys}"))["kid"].as_str().unwrap().to_owned()
    }

    /// Whatever a replica has written since the first start.
    pub(super) fn records(&self, replica: usize) -> Vec<Value> {
        let logs = (1..=self.starts[replica]).map(|start| std::fs::read_to_string(self.log(replica, start)).unwrap());
        let text: String = logs.collect();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == "access").collect()
    }
}

/// A call with this credential.
pub(super) fn post(path: &str, bearer: &str, body: &Value) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("host", HOST).header("content-type", "application/json");
    let request = if bearer.is_empty() { request } else { request.header("authorization", format!("Bearer {bearer}")) };
    request.body(Full::new(body.to_string().into())).unwrap()
}

/// A question of a session.
pub(super) fn say(token: &str, text: &str, is_streamed: bool) -> Request<Full<Bytes>> {
    let body = json!({"messages": [{"role": "user", "content": text}], "stream": is_streamed});
    post("/v1/chat/completions", token, &body)
}

/// Which replica gave this answer, as the balancer says.
pub(super) fn server(answer: &Response<Incoming>) -> String {
    answer.headers().get("x-served-by").map_or_else(String::new, |name| name.to_str().unwrap().to_owned())
}

/// An answer's status, its replica and its body.
pub(super) async fn whole_of(answer: Response<Incoming>) -> hyper::Result<(u16, String, String)> {
    let (status, server) = (answer.status().as_u16(), server(&answer));
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, server, String::from_utf8_lossy(&body).into_owned()))
}

/// The token in an answer to a mint.
pub(super) fn token_in(body: &str) -> String {
    serde_json::from_str::<Value>(body).unwrap()["token"].as_str().unwrap().to_owned()
}

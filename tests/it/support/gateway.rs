//! The gateway under test: the real one, with a configuration of its own, on a free port.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keystile::app::{Bound, Running, World};
use keystile::bot::NewClient;
use keystile::clock::{Clock, Timestamp};
use keystile::config;
use keystile::demo::vendor::chatbotkit::{ChatBotKit, Settings as ChatBotKitSettings};
use keystile::document::Environment;
use keystile::id::Entropy;
use keystile::secret::Secret;
use keystile::telemetry::Output;
use parking_lot::Mutex;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::vendor::TestVendor;
use super::{eventually, until};

/// The real key of every vendor under test.
pub(crate) const KEY: &str = "sk-real-0123456789abcdef0123456789abcdef";
/// Another key, for vendors that a test adds.
pub(crate) const OTHER_KEY: &str = "sk-other-fedcba9876543210fedcba9876543210";
/// The credentials of the proxy under test.
pub(crate) const PROXY: &str = "gateway:proxy-0123456789abcdef";
/// What clients call the gateway: only the issuer of its tokens, the tests call it by its address.
pub(crate) const PUBLIC_URL: &str = "https://chat.example.com";
/// The page that public bots allow.
pub(crate) const PAGE: &str = "https://www.example.com";

/// A profile for [`TestVendor`]: no session call (the gateway makes the id), the account key in a header.
pub(crate) const PLAIN_PROFILE: &str = r#"
title = "Plain"

[[route]]
call       = "POST /echo"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*", query = ["page"], body = "*" }

[[route]]
call       = "GET /read"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*" }

[[route]]
call       = "POST /sessions/{session}/say"
to         = "/say"
set.header = { Authorization = "Bearer {key}" }
set.query  = { api_key = "{key}" }
set.body   = { session_id = "{session}", api_key = "{key}" }
strip      = { body = ["debug"] }
allow      = { header = ["x-note"], query = ["page"], body = ["text", "options"] }
"#;

/// How a gateway is made.
pub(crate) struct Builder {
    vendor: String,
    bot: String,
    server: String,
    tokens: String,
    admin: String,
    sections: String,
    keys: Option<PathBuf>,
    public_url: Option<String>,
    profile: Option<String>,
    clock: Clock,
    ids: [String; 2],
    hidden_of: &'static str,
    chatbotkit: Option<Arc<ChatBotKit>>,
}

/// A gateway at work.
pub(crate) struct TestGateway {
    /// Where it is.
    pub(crate) url: String,
    /// Where its admin listener is.
    pub(crate) admin: Option<String>,
    /// The secret of client `website`, which owns the bots `support` and `hidden`.
    pub(crate) owner: Secret,
    /// The secret of client `stranger`, which owns nothing.
    pub(crate) stranger: Secret,
    /// The gateway's time.
    pub(crate) clock: Clock,
    /// The simulated ChatBotKit, where that is the vendor.
    pub(crate) chatbotkit: Option<Arc<ChatBotKit>>,
    /// A plain HTTP client.
    pub(crate) client: Client,
    running: Running,
    records: Arc<Mutex<Vec<u8>>>,
    public_url: String,
    state: TempDir,
}

/// A session, as the native call answers it.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) conversation: String,
    pub(crate) token: String,
}

impl TestGateway {
    /// A gateway in front of a strict simulated ChatBotKit.
    pub(crate) fn chatbotkit() -> Builder {
        let clock = now();
        let settings = ChatBotKitSettings {
            key: Secret::new(KEY),
            bots: vec!["bot_1".to_owned(), "bot_2".to_owned()],
            pace: Duration::from_millis(1),
        };
        let vendor = ChatBotKit::new(settings, clock.clone(), Entropy::system());
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let served = Arc::clone(&vendor);
        super::vendor::on_a_thread(socket, move |listener| served.serve(listener));
        let vendor_text = format!("profile = \"chatbotkit\"\nbase_url = \"http://{address}\"\n");
        Builder { chatbotkit: Some(vendor), ..Builder::new(vendor_text, None, clock) }
    }

    /// A gateway in front of `vendor`, by [`PLAIN_PROFILE`].
    pub(crate) fn in_front_of(vendor: &TestVendor) -> Builder {
        Self::with_profile(vendor, PLAIN_PROFILE)
    }

    /// A gateway in front of `vendor`, by another profile.
    pub(crate) fn with_profile(vendor: &TestVendor, profile: &str) -> Builder {
        let text = format!("profile = \"./plain.toml\"\nbase_url = \"{}\"\n", vendor.url);
        Builder::new(text, Some(profile.to_owned()), now())
    }

    /// A gateway in front of `vendor`, by one of the profiles that come with it.
    pub(crate) fn built_in(vendor: &TestVendor, profile: &str) -> Builder {
        Builder::new(format!("profile = \"{profile}\"\nbase_url = \"{}\"\n", vendor.url), None, now())
    }

    /// A call.
    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A `POST`.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.call(Method::POST, path)
    }

    /// Asks for a session of `bot` as its owner.
    pub(crate) async fn ask(&self, bot: &str, wish: Value) -> Response {
        let call = self.post(&format!("/v1/bots/{bot}/sessions")).bearer_auth(self.owner.expose());
        call.json(&wish).send().await.unwrap()
    }

    /// A session of `bot`, opened by its owner.
    pub(crate) async fn mint(&self, bot: &str) -> Session {
        self.mint_with(bot, json!({})).await
    }

    /// A session of `bot`, opened by its owner with these wishes.
    pub(crate) async fn mint_with(&self, bot: &str, wish: Value) -> Session {
        let answer = self.ask(bot, wish).await;
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        let answer: Value = answer.json().await.unwrap();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Session { id: text("sessionId"), conversation: text("conversationId"), token: text("token") }
    }

    /// Ends a session by its own token.
    pub(crate) async fn end(&self, session: &Session) {
        let call = self.call(Method::DELETE, &format!("/v1/sessions/{}", session.id)).bearer_auth(&session.token);
        assert_eq!(call.send().await.unwrap().status(), 204);
    }

    /// Where its audit record is.
    pub(crate) fn audit_file(&self) -> PathBuf {
        self.state.path().join("keystile-audit.jsonl")
    }

    /// The audit record so far, each a JSON object.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.audit_file()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Its key directory.
    pub(crate) fn keys(&self) -> PathBuf {
        self.state.path().join("signing")
    }

    /// The access records so far, each a JSON object.
    pub(crate) fn records(&self) -> Vec<Value> {
        let text = self.records.lock().clone();
        text.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// The access records of all calls so far, of which there are to be `count`.
    pub(crate) async fn records_of(&self, count: usize) -> Vec<Value> {
        eventually("a record of each call", || self.records().len() >= count).await;
        let records = self.records();
        assert_eq!(records.len(), count, "{records:?}");
        records
    }

    /// The first access record of which this is so, once it is written.
    pub(crate) async fn record(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        until("the record", async || self.records().into_iter().find(&is_it)).await
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.running.stop();
    }
}

impl Builder {
    fn new(vendor: String, profile: Option<String>, clock: Clock) -> Self {
        let empty = String::new;
        let (keys, public_url, chatbotkit) = (None, None, None);
        let (bot, server, tokens, sections) = (empty(), empty(), empty(), empty());
        let ids = ["bot_1".to_owned(), "bot_2".to_owned()];
        let hidden_of = "website";
        let admin = "listen = \"off\"".to_owned();
        Self {
            vendor,
            bot,
            server,
            tokens,
            admin,
            sections,
            keys,
            public_url,
            profile,
            clock,
            ids,
            hidden_of,
            chatbotkit,
        }
    }

    /// More lines for `[vendors.acme]`.
    pub(crate) fn vendor(mut self, lines: &str) -> Self {
        self.vendor.push_str(&format!("{lines}\n"));
        self
    }

    /// More lines for every bot.
    pub(crate) fn bot(mut self, lines: &str) -> Self {
        self.bot.push_str(&format!("{lines}\n"));
        self
    }

    /// The vendor's own ids of `support` and `hidden`.
    pub(crate) fn ids(mut self, support: &str, hidden: &str) -> Self {
        self.ids = [support.to_owned(), hidden.to_owned()];
        self
    }

    /// Whose the bot `hidden` is, in place of `website`.
    pub(crate) fn hidden_of(mut self, client: &'static str) -> Self {
        self.hidden_of = client;
        self
    }

    /// More lines for `[server]`.
    pub(crate) fn server(mut self, lines: &str) -> Self {
        self.server.push_str(&format!("{lines}\n"));
        self
    }

    /// More lines for `[tokens]`.
    pub(crate) fn tokens(mut self, lines: &str) -> Self {
        self.tokens.push_str(&format!("{lines}\n"));
        self
    }

    /// The lines of `[admin]`, which is off otherwise.
    pub(crate) fn admin(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.admin);
        self
    }

    /// More sections: vendors, bots, clients.
    pub(crate) fn sections(mut self, text: &str) -> Self {
        self.sections.push_str(&format!("{text}\n"));
        self
    }

    /// What clients call it, and so the issuer of its tokens.
    pub(crate) fn public_url(mut self, url: &str) -> Self {
        self.public_url = Some(url.to_owned());
        self
    }

    /// With the signing keys and the public URL of `other`: its replica, or itself after a restart. Its clock is its
    /// own, and begins at the other's time.
    pub(crate) fn in_place_of(mut self, other: &TestGateway) -> Self {
        self.keys = Some(other.state.path().join("signing"));
        self.clock = Clock::manual(other.clock.now());
        self.public_url(&other.public_url)
    }

    /// Starts it.
    pub(crate) fn start(self) -> TestGateway {
        let state = tempfile::tempdir().unwrap();
        if let Some(profile) = &self.profile {
            std::fs::write(state.path().join("plain.toml"), profile).unwrap();
        }
        let entropy = Entropy::system();
        let (owner, stranger) = (NewClient::make("website", &entropy), NewClient::make("stranger", &entropy));
        let public_url = self.public_url.clone().unwrap_or_else(|| PUBLIC_URL.to_owned());
        let text = self.text(&public_url, &owner, &stranger);
        let environment = Environment::given(state.path(), [("KEY", KEY), ("OTHER_KEY", OTHER_KEY), ("PROXY", PROXY)]);
        let settings = config::parse("test", &text, &environment).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let records = Arc::new(Mutex::new(Vec::new()));
        let world =
            World { clock: self.clock.clone(), entropy, records: Output::Memory(Arc::clone(&records)), socket: None };
        let bound = Bound::new(settings, world, None).unwrap();
        let url = format!("http://{}", bound.address());
        let admin = bound.admin_place().map(|place| format!("http://{place}"));
        let running = bound.start().unwrap();
        TestGateway {
            url,
            admin,
            owner: owner.secret,
            stranger: stranger.secret,
            clock: self.clock,
            chatbotkit: self.chatbotkit,
            client: Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
            running,
            records,
            public_url,
            state,
        }
    }

    /// `support` is public, `hidden` is private; both are owned by `website`.
    fn text(&self, public_url: &str, owner: &NewClient, stranger: &NewClient) -> String {
        let Self { vendor, bot, server, tokens, admin, sections, ids: [support, hidden], hidden_of, .. } = self;
        let workers = if server.contains("workers") { "" } else { "workers = 1" };
        let keys = self.keys.as_deref().map_or_else(|| "signing".into(), |keys| keys.to_string_lossy());
        format!(
            r#"
[server]
listen = "127.0.0.1:0"
public_url = "{public_url}"
{workers}
{server}
[admin]
{admin}
[tokens]
keys = "{keys}"
{tokens}
[vendors.acme]
keys = [{{ env = "KEY" }}]
{vendor}
[bots.support]
vendor = "acme"
vendor_id = "{support}"
visibility = "public"
origins = ["{PAGE}", "https://*.preview.example.com"]
owners = ["website"]
{bot}
[bots.hidden]
vendor = "acme"
vendor_id = "{hidden}"
visibility = "private"
owners = ["{hidden_of}"]
{bot}
[clients.website]
secret_sha256 = "{}"

[clients.stranger]
secret_sha256 = "{}"

{sections}
"#,
            owner.secret_sha256, stranger.secret_sha256
        )
    }
}

/// What the bearer of a token reads in it.
pub(crate) fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("a token has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The header of a token.
pub(crate) fn header(token: &str) -> Value {
    let part = token.split('.').next().expect("a token has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The status of a refusal and its code.
pub(crate) async fn refusal(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

/// A clock that stands at the present: certificates and client libraries see the same day.
fn now() -> Clock {
    Clock::manual(Timestamp::from_seconds(Clock::system().now().seconds()))
}

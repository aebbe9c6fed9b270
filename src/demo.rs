//! The whole thing on one machine: the gateway in front of simulated vendors, on loopback, with throw-away keys.
//!
//! The gateway is the real one, with a real configuration; only the vendors are simulated, and those are strict.

pub mod vendor;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;

use self::vendor::chatbotkit::{ChatBotKit, Settings as ChatBotKitSettings};
use crate::app::{Bound, Running, StartError, World};
use crate::bot::NewClient;
use crate::clock::Clock;
use crate::config::{self, ConfigError};
use crate::document::Environment;
use crate::id::Entropy;
use crate::listen;
use crate::secret::Secret;
use crate::telemetry::Output;

/// The page that is served at `/`.
const PAGE: &str = include_str!("../web/demo.html");
/// What stands in the page where the list of bots goes.
const PAGE_BOTS: &str = "/*BOTS*/[]";
/// Between two words of a simulated answer: slow enough to see that it streams.
const PACE: Duration = Duration::from_millis(40);
/// The demo's bots: name and vendor. A bot is named as its vendor's own id of it.
const BOTS: &[(&str, &str)] = &[("chatbotkit", "ChatBotKit")];

/// Why the demo did not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The address is not of this machine alone.
    #[error("the demo listens on this machine itself only (127.0.0.1 or [::1]), not on {0}")]
    NotLoopback(SocketAddr),
    /// Something the demo needs of the system.
    #[error("the demo could not be set up")]
    Setup(#[from] io::Error),
    /// The demo's address.
    #[error("{0} cannot be listened on; try --listen 127.0.0.1:0")]
    Address(SocketAddr, #[source] io::Error),
    /// The demo's own configuration: a bug.
    #[error("the demo's configuration is wrong")]
    Config(#[from] ConfigError),
    /// The gateway.
    #[error("the gateway did not start")]
    Start(#[from] StartError),
}

/// A demo at work.
#[derive(Debug)]
pub struct Demo {
    /// Where the gateway is.
    pub url: String,
    /// The secret of a client that owns every bot.
    pub client: Secret,
    /// The gateway.
    pub gateway: Running,
    /// Keys and whatever else the gateway writes; removed at the end.
    _state: TempDir,
}

impl Demo {
    /// Starts it at `address`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// See [`DemoError`].
    pub fn start(address: SocketAddr, records: Output) -> Result<Self, DemoError> {
        if !address.ip().is_loopback() {
            return Err(DemoError::NotLoopback(address));
        }
        let state = tempfile::Builder::new().prefix("keystile-demo-").tempdir()?;
        let entropy = Entropy::system();
        // The tokens' issuer is the address, so it must be known before the gateway is bound to it.
        let address = listen::free_address(address).map_err(|error| DemoError::Address(address, error))?;
        let key = Secret::new(format!("sk-demo-{}", entropy.token_id()));
        let vendor = start_vendor(key.clone(), &entropy)?;
        let client = NewClient::make("demo", &entropy);
        let text = configuration(address, vendor, &client.secret_sha256);
        let environment = Environment::given(state.path(), [("DEMO_KEY", key.expose())]);
        let settings = config::parse("demo", &text, &environment)?;
        let world = World { clock: Clock::system(), entropy, records };
        let bound = Bound::new(settings, world, Some(page()))?;
        let url = format!("http://{}", bound.address());
        Ok(Self { url, client: client.secret, gateway: bound.start()?, _state: state })
    }

    /// The names of the bots.
    pub fn bots(&self) -> Vec<&'static str> {
        BOTS.iter().map(|(name, _)| *name).collect()
    }
}

/// Limits are wider than the defaults: whoever tries the demo out, by hand or with a script, is one address.
fn configuration(address: SocketAddr, vendor: SocketAddr, secret_sha256: &str) -> String {
    let port = address.port();
    format!(
        r#"
        [server]
        listen     = "{address}"
        public_url = "http://{address}"
        failed_credentials = "1000/1m"

        [tokens]
        keys = "signing"

        [vendors.chatbotkit]
        profile  = "chatbotkit"
        base_url = "http://{vendor}"
        keys     = [{{ env = "DEMO_KEY" }}]

        [bots.chatbotkit]
        vendor     = "chatbotkit"
        vendor_id  = "chatbotkit"
        visibility = "public"
        origins    = ["http://{address}", "http://localhost:{port}"]
        owners     = ["demo"]
        limits     = {{ mint_per_ip = "1000/1m", per_bot = "10000/1m", per_session = "1000/1m", streams = 32 }}

        [clients.demo]
        secret_sha256 = "{secret_sha256}"
        "#
    )
}

/// Starts the simulated vendor on a thread and a port of its own.
fn start_vendor(key: Secret, entropy: &Entropy) -> io::Result<SocketAddr> {
    let bots = BOTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let vendor = ChatBotKit::new(ChatBotKitSettings { key, bots, pace: PACE }, Clock::system(), entropy.clone());
    let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = move || {
        runtime.block_on(async {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(listener) => Arc::clone(&vendor).serve(listener).await,
                Err(error) => tracing::error!(%error, "the simulated vendor cannot accept connections"),
            }
        });
    };
    std::thread::Builder::new().name("chatbotkit".to_owned()).spawn(work)?;
    Ok(address)
}

fn page() -> Bytes {
    let bots: Vec<_> = BOTS.iter().map(|(name, vendor)| json!({"name": name, "vendor": vendor})).collect();
    // Inside a script, `<` could begin its end.
    let bots = json!(bots).to_string().replace('<', "\\u003c");
    Bytes::from(PAGE.replace(PAGE_BOTS, &bots))
}

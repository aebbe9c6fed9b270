//! The whole thing on one machine: the gateway in front of simulated vendors, on loopback, with throw-away keys.
//!
//! The gateway is the real one, with a real configuration; only the vendors are simulated, and those are strict.

pub mod vendor;
mod vendors;

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;

use self::vendors::{BOTS, Simulated};
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
        let vendors = vendors::start(&entropy)?;
        let client = NewClient::make("demo", &entropy);
        let text = configuration(address, &vendors, &client.secret_sha256);
        let keys: Vec<(String, &str)> = vendors.iter().map(|vendor| (vendor.variable(), vendor.key.expose())).collect();
        let environment = Environment::given(state.path(), keys.iter().map(|(name, key)| (name.as_str(), *key)));
        let settings = config::parse("demo", &text, &environment)?;
        let world = World { clock: Clock::system(), entropy, records, socket: None };
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
fn configuration(address: SocketAddr, vendors: &[Simulated], secret_sha256: &str) -> String {
    let port = address.port();
    let mut text = format!(
        r#"
        [server]
        listen     = "{address}"
        public_url = "http://{address}"
        failed_credentials = "1000/1m"

        [admin]
        listen = "off"

        [tokens]
        keys = "signing"

        [clients.demo]
        secret_sha256 = "{secret_sha256}"
        "#
    );
    for vendor in vendors {
        let Simulated { name, bot, more, address: vendor_address, .. } = vendor;
        let variable = vendor.variable();
        text.push_str(&format!(
            r#"
        [vendors.{name}]
        profile  = "{name}"
        base_url = "http://{vendor_address}"
        keys     = [{{ env = "{variable}" }}]
        {more}

        [bots.{name}]
        vendor     = "{name}"
        vendor_id  = "{bot}"
        visibility = "public"
        origins    = ["http://{address}", "http://localhost:{port}"]
        owners     = ["demo"]
        limits     = {{ mint_per_ip = "1000/1m", per_bot = "10000/1m", per_session = "1000/1m", streams = 32, sessions_per_ip = 1000 }}
        "#
        ));
    }
    text
}

fn page() -> Bytes {
    let bots: Vec<_> = BOTS.iter().map(|(name, vendor)| json!({"name": name, "vendor": vendor})).collect();
    // Inside a script, `<` could begin its end.
    let bots = json!(bots).to_string().replace('<', "\\u003c");
    Bytes::from(PAGE.replace(PAGE_BOTS, &bots))
}

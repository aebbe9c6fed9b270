//! A folder with the configuration of the gateway, and what is in its key directory.

use std::path::Path;

use keystile::app::{Bound, World};
use keystile::bot::NewClient;
use keystile::clock::Clock;
use keystile::config::{self, Settings};
use keystile::document::Environment;
use keystile::id::Entropy;
use keystile::telemetry::Output;
use serde_json::Value;

use crate::support::gateway::KEY;

/// The credentials of a vendor's proxy.
pub(super) const PROXY: &str = "gateway:proxy-0123456789abcdef";

const PROFILE: &str = r#"
title = "Hostile"

[open]
call         = "POST /open"
set.header   = { Authorization = "Bearer {key}" }
set.query    = { api_key = "{key}" }
set.body     = { api_key = "{key}", visit = "{visit}", contact = "{contact}", messages = "{messages}" }
session      = "/id"
vendor_token = "/token"
expires      = "/expires"
failure      = { code = "/code", message = "/message" }

[accept]
call       = "POST /accept/{bot}"
credential = "header X-Api-Key"
status     = 201
reply.json = { token = "{token}", said = "{answer}" }

[identify]
call       = "POST /upsert"
set.header = { Authorization = "Bearer {key}" }

[[route]]
call       = "POST /upsert"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*", body = "*" }

[[route]]
call       = "GET /read"
set.header = { Authorization = "Bearer {key}", X-Token = "{vendor_token}" }
set.query  = { api_key = "{key}" }
allow      = { header = "*", query = ["q"] }

[[route]]
call       = "GET /socket"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = ["Upgrade", "X-Do"] }

[[route]]
call       = "POST /say"
set.body   = { api_key = "{key}", vendor_token = "{vendor_token}" }
allow      = { header = "*", body = "*" }

[[route]]
call       = "POST /upload"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*", body = "*" }

[[route]]
call       = "GET /sessions/{session}/read"
to         = "/read"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*" }

[[route]]
call       = "GET /bots/{bot}/read"
to         = "/read"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = "*" }

[error]
key = [429]
"#;

/// Writes profile and configuration into `home`.
pub(super) fn write(home: &Path, vendor: &str, secure: &str) -> [NewClient; 2] {
    let clients = ["website", "stranger"].map(|name| NewClient::make(name, &Entropy::system()));
    std::fs::write(home.join("plain.toml"), PROFILE).unwrap();
    let mut text = format!(
        r#"
[server]
listen = "127.0.0.1:0"
public_url = "https://chat.example.com"
workers = 2
failed_credentials = "40/1h"
drain_notice = "0s"
drain = "0s"
timeouts = {{ body = "1s" }}
limits = {{ bodies = "64KiB" }}
[tokens]
keys = "signing"
[traces]
endpoint = "http://127.0.0.1:9"
sample = "100%"
headers = {{ authorization = {{ env = "PROXY" }} }}
[clients.website]
secret_sha256 = "{}"
[clients.stranger]
secret_sha256 = "{}"
"#,
        clients[0].secret_sha256, clients[1].secret_sha256
    );
    for (name, url, more) in [
        ("acme", vendor, ""),
        ("narrow", vendor, "mount = \"/narrow\"\nmax_connections = 1"),
        ("spent", vendor, "mount = \"/spent\""),
        ("dead", "http://127.0.0.1:9", "mount = \"/dead\""),
        (
            "far",
            "http://127.0.0.1:9",
            "mount = \"/far\"\nproxy = \"http://127.0.0.1:9\"\nproxy_credentials = { env = \"PROXY\" }",
        ),
        ("secure", secure, "mount = \"/secure\""),
    ] {
        let ca = if name == "secure" && secure.starts_with("https") { "ca = \"ca.crt\"" } else { "" };
        text += &format!(
            "[vendors.{name}]\nprofile = \"./plain.toml\"\nbase_url = \"{url}\"\nkeys = [{{ env = \"KEY\" }}]\n\
             timeouts = {{ header = \"1s\", connect = \"1s\" }}\n{more}\n{ca}\n"
        );
    }
    for (bot, vendor, limits) in [
        ("support", "acme", "per_session = \"off\", streams = 1"),
        ("second", "acme", "per_session = \"1/1h\""),
        ("narrow", "narrow", ""),
        ("spent", "spent", ""),
        ("dead", "dead", ""),
        ("far", "far", ""),
        ("secure", "secure", ""),
    ] {
        text += &format!(
            "[bots.{bot}]\nvendor = \"{vendor}\"\nvendor_id = \"id-{bot}\"\nvisibility = \"private\"\nowners = [\"website\"]\n\
             limits = {{ body = \"64KiB\", sessions_per_contact = 2, {limits} }}\n"
        );
    }
    std::fs::write(home.join("keystile.toml"), text).unwrap();
    clients
}

/// What the configuration's secrets are read from.
pub(super) fn variables() -> [(&'static str, &'static str); 2] {
    [("KEY", KEY), ("PROXY", PROXY)]
}

/// The same gateway inside of this process.
pub(super) fn in_process(home: &Path) -> (String, String) {
    write(home, "http://127.0.0.1:9", "https://localhost:9");
    std::fs::write(home.join("ca.crt"), authority_pem()).unwrap();
    let settings = settings(home, "");
    let shown = format!("{settings:?} {settings:#?}");
    let bound = bound(settings, Clock::system());
    (shown, format!("{bound:?} {bound:#?}"))
}

fn authority_pem() -> String {
    rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem()
}

/// The settings of a replica, with `elsewhere` behind a bot's id.
pub(super) fn settings(home: &Path, elsewhere: &str) -> Settings {
    let text = std::fs::read_to_string(home.join("keystile.toml")).unwrap();
    let text = text.replace("id-support\"", &format!("id-support{elsewhere}\""));
    let text = text + "\n[audit]\nfile = \"replica-audit.jsonl\"\n";
    config::parse("test", &text, &Environment::given(home, variables())).unwrap()
}

/// The gateway with these settings and this clock, not yet started.
pub(super) fn bound(settings: Settings, clock: Clock) -> Bound {
    Bound::new(settings, World { clock, entropy: Entropy::system(), records: Output::Off, socket: None }, None).unwrap()
}

/// The private members of the key file.
pub(super) fn private_keys(home: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(home.join("signing/keys.json")).unwrap();
    let keys: Value = serde_json::from_str(&text).unwrap();
    keys["keys"].as_array().unwrap().iter().map(|key| key["private"].as_str().unwrap().to_owned()).collect()
}

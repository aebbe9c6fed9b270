//! The `[admin]` section of the configuration.

use std::net::SocketAddr;

use crate::bot::Client;
use crate::document::{Table, Value};

/// Where operators and their probes call, unless the configuration says otherwise.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

/// Where the admin listener is, and who may use its API.
#[derive(Debug)]
pub struct Settings {
    /// The address; nothing where there is no such listener.
    pub address: Option<SocketAddr>,
    /// Whether somebody wrote the address: then the gateway does not start without it.
    pub is_written: bool,
    /// Whose secret opens the API; without one the API is off.
    pub operator: Option<Client>,
}

impl Settings {
    /// Reads the section; what is wrong is noted.
    pub fn read(table: &Table<'_>) -> Self {
        let listen = table.get("listen");
        let is_written = listen.is_some();
        let address = listen.map_or(Some(DEFAULT), |value| address(&value));
        let secret = table.get("secret_sha256");
        let has_secret = secret.is_some();
        let operator = secret.and_then(|value| operator(&value));
        if !has_secret && address.is_some_and(|address| !address.ip().is_loopback()) {
            table.problem(
                "listen",
                "others can reach this address: write secret_sha256, as `keystile client new admin` prints it, or listen \
                 on 127.0.0.1",
            );
        }
        Self { address, is_written, operator }
    }
}

fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    if text == "off" {
        return None;
    }
    let address = text.parse().ok();
    if address.is_none() {
        value.problem("must be an address and a port, such as \"127.0.0.1:9090\", or \"off\"");
    }
    address
}

fn operator(value: &Value<'_>) -> Option<Client> {
    let digests = match value.as_text() {
        Some(one) => vec![one],
        None => value.texts()?,
    };
    Client::new("admin", &digests, false).map_err(|message| value.problem(message)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, Problems};

    fn read(text: &str) -> (Settings, Vec<String>) {
        let problems = Problems::default();
        let document = Document::parse("test.toml", text, &problems).expect("TOML");
        let settings = Settings::read(&document.root(&problems));
        (settings, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn absent_it_listens_on_this_machine_alone_and_has_no_api() {
        let (settings, problems) = read("");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(settings.address, Some("127.0.0.1:9090".parse().unwrap()));
        assert!(settings.operator.is_none() && !settings.is_written);
        assert_eq!(read("listen = \"off\"").0.address, None);
    }

    #[test]
    fn an_address_that_others_reach_needs_a_secret() {
        let digest = "0".repeat(64);
        let (_, problems) = read("listen = \"0.0.0.0:9090\"");
        assert!(problems.len() == 1 && problems[0].contains("others can reach this address"), "{problems:?}");
        let (settings, problems) =
            read(&format!("listen = \"0.0.0.0:9090\"\nsecret_sha256 = [\"{digest}\", \"{digest}\"]"));
        assert!(problems.is_empty() && settings.operator.is_some(), "{problems:?}");
        assert_eq!(read("secret_sha256 = \"abc\"").1.len(), 1);
    }
}

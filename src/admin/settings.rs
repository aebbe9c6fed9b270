//! The `[admin]` section of the configuration.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::bot::{Client, warn_of_placeholder};
use crate::document::{Environment, Table, Value};

/// Where operators and their probes call, unless the configuration says otherwise.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

const WANTED: &str = "an address and a port, such as \"127.0.0.1:9090\", \"unix:PATH\", or \"off\"";

/// What a Unix socket's path is written after.
const UNIX: &str = "unix:";

/// Where the admin listener is, and who may use its API.
#[derive(Debug)]
pub struct Settings {
    /// Its place; nothing where there is no such listener.
    pub place: Option<Place>,
    /// Whether somebody wrote the place: then the gateway does not start without it.
    pub is_written: bool,
    /// Whose secret opens the API at an address; without one the API is off there.
    pub operator: Option<Client>,
}

/// Where the admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At an address.
    Address(SocketAddr),
    /// At a Unix socket.
    Socket(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(formatter, "{address}"),
            Self::Socket(path) => write!(formatter, "{UNIX}{}", path.display()),
        }
    }
}

impl Settings {
    /// Reads the section; what is wrong is noted.
    pub fn read(table: &Table<'_>, environment: &Environment) -> Self {
        let listen = table.get("listen");
        let is_written = listen.is_some();
        let place = listen.map_or(Some(Place::Address(DEFAULT)), |value| place(&value, environment));
        let secret = table.get("secret_sha256");
        let operator = secret.as_ref().and_then(|value| operator(value, table));
        match (&place, secret) {
            (Some(Place::Address(address)), None) if !address.ip().is_loopback() => table.problem(
                "listen",
                "others can reach this address: write secret_sha256, as `keystile client new admin` prints it, or listen \
                 on 127.0.0.1 or \"unix:PATH\"",
            ),
            // Somebody would believe that it is asked for.
            (Some(Place::Socket(_)), Some(secret)) => secret.problem(
                "a Unix socket is open to its owner alone, and asks for no secret: remove it, or listen on an address",
            ),
            _ => {}
        }
        Self { place, is_written, operator }
    }
}

fn place(value: &Value<'_>, environment: &Environment) -> Option<Place> {
    let text = value.text_of(WANTED)?;
    if text == "off" {
        return None;
    }
    let place = match text.strip_prefix(UNIX) {
        Some(path) => Some(path).filter(|path| !path.is_empty()).map(|path| Place::Socket(environment.path(path))),
        None => text.parse().ok().map(Place::Address),
    };
    if place.is_none() {
        value.problem(format!("must be {WANTED}"));
    }
    place
}

fn operator(value: &Value<'_>, table: &Table<'_>) -> Option<Client> {
    let digests = value.one_or_texts()?;
    warn_of_placeholder(table, "secret_sha256", &digests, "admin");
    Client::new("admin", &digests, false).map_err(|message| value.problem(message)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, Problems};

    fn read(text: &str) -> (Settings, Vec<String>) {
        let problems = Problems::default();
        let document = Document::parse("test.toml", text, &problems).expect("TOML");
        let settings = Settings::read(&document.root(&problems), &Environment::given("/etc/keystile", []));
        (settings, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn absent_it_listens_on_this_machine_alone_and_has_no_api() {
        let (settings, problems) = read("");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(settings.place, Some(Place::Address("127.0.0.1:9090".parse().unwrap())));
        assert!(settings.operator.is_none() && !settings.is_written);
        assert_eq!(read("listen = \"off\"").0.place, None);
    }

    #[test]
    fn a_unix_socket_stands_beside_the_configuration_and_has_no_secret() {
        let (settings, problems) = read("listen = \"unix:run/admin.sock\"");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(settings.place, Some(Place::Socket("/etc/keystile/run/admin.sock".into())));
        let digest = "0".repeat(64);
        let (_, problems) = read(&format!("listen = \"unix:/run/admin.sock\"\nsecret_sha256 = \"{digest}\""));
        assert!(problems.len() == 1 && problems[0].contains("asks for no secret"), "{problems:?}");
        assert_eq!(read("listen = \"unix:\"").1.len(), 1);
    }

    #[test]
    fn a_value_of_another_type_is_told_what_would_be_right() {
        let (_, problems) = read("listen = 9090\nsecret_sha256 = 5\n");
        assert_eq!(
            problems,
            [
                "test.toml:1: listen: must be an address and a port, such as \"127.0.0.1:9090\", \"unix:PATH\", or \"off\", \
                 not an integer",
                "test.toml:2: secret_sha256: must be a string or an array of strings, not an integer",
            ]
        );
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

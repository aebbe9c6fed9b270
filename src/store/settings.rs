//! The `[store]` section of the configuration.

mod url;

use std::path::PathBuf;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::document::{Environment, Table, Value};
use crate::secret::{Secret, unreadable};

pub use self::url::{RedisPlace, Topology};

/// Sessions that ended are kept this long.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// So old may be what a process knows of revocations, where a bot is strict about them.
const MAX_STALENESS: Duration = Duration::from_secs(5 * 60);
const DEFAULT_URL: &str = "sqlite:keystile.db";

/// Where the store is, and how it is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub place: Place,
    /// What is done about a store that could lose what it answered.
    pub durability: Durability,
    /// How long ended sessions are kept.
    pub retention: Duration,
    /// After how long without the store strict bots stop.
    pub max_staleness: Duration,
}

/// Where a store is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file of this host.
    Sqlite(PathBuf),
    /// A Redis.
    Redis(RedisPlace),
}

/// What is done about a store that could lose what it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is said.
    Default,
    /// It is refused.
    Strict,
}

impl Settings {
    /// Reads the section. What is wrong is noted as a problem of the document, and its default stands in for it.
    pub fn read(table: &Table<'_>, environment: &Environment) -> Self {
        let password = table.get("password");
        let secret = password.as_ref().and_then(|value| Secret::read(value, environment));
        let insecure = table.flag("insecure", false);
        let url = table.get("url");
        let ca = table.get("ca");
        let authorities = ca.as_ref().and_then(|value| authorities(value, environment));
        let read = url.as_ref().map(|value| place(value, environment, secret, insecure));
        if let (Some(ca), None | Some(Some(Place::Sqlite(_) | Place::Redis(RedisPlace { is_tls: false, .. })))) =
            (&ca, &read)
        {
            ca.problem("only a Redis at rediss:// shows a certificate; remove it, or write such a url");
        }
        let place = read.flatten().map(|place| place.checked_against(authorities));
        let place = place.unwrap_or_else(|| Place::Sqlite(environment.path("keystile.db")));
        if let (Some(password), Place::Sqlite(_)) = (&password, &place)
            && url.as_ref().is_none_or(|value| value.as_text().is_some_and(|text| text.starts_with("sqlite:")))
        {
            password.problem("a file has no password; remove it, or write the url of a Redis");
        }
        let duration =
            |key: &str, default| table.get(key).and_then(|value: Value<'_>| value.duration()).unwrap_or(default);
        Self {
            place,
            durability: table.get("durability").and_then(|value| durability(&value)).unwrap_or(Durability::Default),
            retention: duration("retention", RETENTION),
            max_staleness: duration("max_staleness", MAX_STALENESS),
        }
    }
}

impl Place {
    /// The same; a Redis there must show a certificate of one of these authorities, if any are given.
    fn checked_against(self, authorities: Option<Vec<u8>>) -> Self {
        match self {
            Self::Redis(place) => Self::Redis(RedisPlace { authorities, ..place }),
            file @ Self::Sqlite(_) => file,
        }
    }
}

/// The text of the file that `ca` names, once it is known to hold certificates of authorities.
fn authorities(value: &Value<'_>, environment: &Environment) -> Option<Vec<u8>> {
    let path = environment.path(value.text()?);
    let shown = path.display();
    let text = std::fs::read(&path).map_err(|error| value.problem(unreadable(&path, &error))).ok()?;
    let found: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let mut roots = RootCertStore::empty();
    let wrong = match found {
        Err(error) => Some(format!("{shown} cannot be read: {error}")),
        Ok(found) if found.is_empty() => Some(format!("{shown} holds no certificate; it must be PEM")),
        Ok(found) => found.into_iter().find_map(|certificate| {
            let error = roots.add(certificate).err()?;
            Some(format!("{shown} holds what is no authority's certificate: {error}"))
        }),
    };
    match wrong {
        None => Some(text),
        Some(wrong) => {
            value.problem(wrong);
            None
        }
    }
}

/// The value of `url` is never repeated in a problem: what was written there may hold a password.
fn place(value: &Value<'_>, environment: &Environment, password: Option<Secret>, insecure: bool) -> Option<Place> {
    let text = value.text()?;
    if let Some(path) = text.strip_prefix("sqlite:") {
        if path.is_empty() || path.starts_with("//") {
            value.problem(format!("must name a file after `sqlite:`, such as \"{DEFAULT_URL}\""));
            return None;
        }
        // What SQLite has other meanings for; a store in memory would be another one to each connection.
        if path.starts_with(':') || path.starts_with("file:") {
            value.problem(format!(
                "must be the path of a file after `sqlite:`, such as \"{DEFAULT_URL}\": there is no store in memory, and \
                 none by a URI"
            ));
            return None;
        }
        return Some(Place::Sqlite(environment.path(path)));
    }
    let place = RedisPlace::parse(text, password).map_err(|wrong| value.problem(wrong)).ok()?;
    if !insecure && let Some(host) = place.plain_host() {
        value.problem(format!(
            "would send sessions and the password in the clear to {host}; write rediss://, or insecure = true"
        ));
        return None;
    }
    Some(Place::Redis(place))
}

fn durability(value: &Value<'_>) -> Option<Durability> {
    value.one_of(&[("default", Durability::Default), ("strict", Durability::Strict)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, Problems};

    fn read(text: &str) -> (Settings, Vec<String>) {
        let environment = Environment::given("/etc/keystile", [("REDIS_PASSWORD", "plainly-fake-password")]);
        let problems = Problems::default();
        let document = Document::parse("test.toml", text, &problems).expect("TOML");
        let settings = Settings::read(&document.root(&problems), &environment);
        (settings, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    fn redis(text: &str) -> RedisPlace {
        match read(text) {
            (Settings { place: Place::Redis(place), .. }, problems) if problems.is_empty() => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_empty_section_is_a_file_beside_the_configuration() {
        let (settings, problems) = read("");
        assert_eq!(problems, [""; 0]);
        assert!(matches!(&settings.place, Place::Sqlite(path) if path == "/etc/keystile/keystile.db"), "{settings:?}");
        assert_eq!((settings.durability, settings.retention), (Durability::Default, RETENTION));
        assert_eq!(settings.max_staleness, MAX_STALENESS);
    }

    #[test]
    fn every_value_is_read() {
        let place = redis(
            "url = \"rediss://gateway@redis.example.com/3\"\npassword = { env = \"REDIS_PASSWORD\" }\n\
             durability = \"strict\"\nretention = \"1d\"\nmax_staleness = \"30s\"\n",
        );
        assert_eq!(place.nodes, [("redis.example.com".to_owned(), 6379)]);
        assert_eq!((place.database, place.user.as_deref(), place.is_tls), (3, Some("gateway"), true));
        assert_eq!(place.password.as_ref().map(Secret::expose), Some("plainly-fake-password"));
        assert!(!format!("{place:?}").contains("plainly-fake"), "{place:?}");
    }

    #[test]
    fn the_authorities_of_a_redis_are_a_file_of_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let section = |url: &str| format!("url = \"{url}\"\nca = \"{}\"\n", file.display());
        let problem = |url: &str| read(&section(url)).1.join("\n");
        assert!(problem("rediss://h").contains("ca.crt"), "{}", problem("rediss://h"));
        std::fs::write(&file, "no certificate").unwrap();
        assert!(problem("rediss://h").contains("holds no certificate"), "{}", problem("rediss://h"));
        let wrong = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&file, wrong).unwrap();
        assert!(problem("rediss://h").contains("no authority's certificate"), "{}", problem("rediss://h"));

        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        std::fs::write(&file, certificate.pem()).unwrap();
        assert_eq!(redis(&section("rediss://h")).authorities, Some(certificate.pem().into_bytes()));
        for plain in ["redis://127.0.0.1", "sqlite:keystile.db"] {
            assert!(problem(plain).contains("only a Redis at rediss://"), "{plain}: {}", problem(plain));
        }
    }

    #[test]
    fn sentinels_and_clusters_are_named_by_their_url() {
        let place = redis("url = \"rediss+sentinel://a.example:26379,b.example/main/1\"\n");
        assert_eq!(place.topology, Topology::Sentinel { master: "main".to_owned() });
        assert_eq!(place.nodes, [("a.example".to_owned(), 26379), ("b.example".to_owned(), 26379)]);
        assert_eq!(place.database, 1);
        let place = redis("url = \"redis+cluster://[::1]:7000,127.0.0.1:7001\"\n");
        assert_eq!(place.topology, Topology::Cluster);
        assert_eq!(place.nodes, [("::1".to_owned(), 7000), ("127.0.0.1".to_owned(), 7001)]);
    }

    #[test]
    fn a_plain_redis_off_this_host_needs_an_explicit_word() {
        let (_, problems) = read("url = \"redis://redis.example.com\"\n");
        assert!(problems[0].contains("in the clear to redis.example.com"), "{problems:?}");
        let (_, problems) = read("url = \"redis+cluster://127.0.0.1:1,10.0.0.1:2\"\n");
        assert!(problems[0].contains("in the clear to 10.0.0.1"), "{problems:?}");
        assert!(!redis("url = \"redis://redis.example.com\"\ninsecure = true\n").is_tls);
        assert!(!redis("url = \"redis://127.0.0.1:6380\"\n").is_tls);
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        for url in
            ["rediss://:hunter2hunter2@h", "rediss://u:hunter2hunter2@h/0", "redis:hunter2hunter2", "hunter2hunter2"]
        {
            let (settings, problems) = read(&format!("url = \"{url}\"\n"));
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(!format!("{settings:?} {problems:?}").contains("hunter2"), "{problems:?}");
        }
    }

    #[test]
    fn a_store_in_memory_or_by_a_uri_is_refused() {
        for wrong in ["sqlite::memory:", "sqlite:file:x.db?mode=memory", "sqlite:file::memory:?cache=shared"] {
            let (_, problems) = read(&format!("url = \"{wrong}\"\n"));
            assert_eq!(problems.len(), 1, "{wrong}: {problems:?}");
            assert!(problems[0].contains("\"sqlite:keystile.db\": there is no store in memory"), "{problems:?}");
        }
        assert_eq!(read("url = \"sqlite:./file:x.db\"\n").1, [""; 0]);
    }

    #[test]
    fn the_number_of_a_database_is_told_its_bounds() {
        for wrong in ["redis://localhost:6379/99999", "rediss://h/-1", "rediss+sentinel://a/main/x"] {
            let (_, problems) = read(&format!("url = \"{wrong}\"\n"));
            assert_eq!(problems.len(), 1, "{wrong}: {problems:?}");
            assert!(problems[0].contains("the number of a database, from 0 to 65535"), "{problems:?}");
        }
    }

    #[test]
    fn what_is_no_place_is_told_what_would_be_right() {
        for wrong in [
            "url = \"sqlite:\"",
            "url = \"sqlite:///x.db\"",
            "url = \"postgres://h\"",
            "url = \"rediss://\"",
            "url = \"rediss://h:notaport\"",
            "url = \"rediss://h/x\"",
            "url = \"rediss://h/0?protocol=resp3\"",
            "url = \"rediss://h/#insecure\"",
            "url = \"rediss://a,b\"",
            "url = \"rediss+sentinel://a\"",
            "url = \"rediss+cluster://a/1\"",
            "durability = \"some\"",
            "retention = 7",
            "password = \"plainly-fake-password\"",
        ] {
            let (_, problems) = read(&format!("{wrong}\n"));
            assert!(!problems.is_empty(), "{wrong}: {problems:?}");
        }
    }
}

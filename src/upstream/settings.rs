//! What the configuration says about the connections to a vendor, besides where it is.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use super::egress;
use super::tls::Trust;
use crate::document::{Environment, Table, Value};
use crate::net::BaseUrl;
use crate::secret::Secret;
use crate::text::quoted_url;

/// How long each part of a call to a vendor may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a new connection: name, TCP and TLS; and before that as long for a place, where `max_connections` bounds them.
    pub connect: Duration,
    /// From when the call has one, and an upload has been sent, to the head of its answer.
    pub header: Duration,
    /// Between two parts of the answer's body.
    pub idle: Duration,
}

impl Timeouts {
    fn read(table: &Table<'_>) -> Self {
        let section = table.section("timeouts");
        let read = |key: &str, default: u64| {
            section.get(key).and_then(|value| value.time()).unwrap_or(Duration::from_secs(default))
        };
        Self { connect: read("connect", 5), header: read("header", 120), idle: read("idle", 120) }
    }
}

/// The keys of a vendor that are about its connections.
#[derive(Debug)]
pub struct Settings {
    /// Whether plain HTTP to another machine is meant.
    pub(super) insecure: bool,
    pub(super) timeouts: Timeouts,
    pub(super) trust: Trust,
    pub(super) proxy: Option<Proxy>,
    /// Connections of the whole process at once; none: no bound.
    pub(super) max_connections: Option<usize>,
}

impl Settings {
    /// Reads them from a vendor's table. What is wrong is noted, and nothing comes back where that could not be lived
    /// with until the end of reading: without the wrong file's authorities others would be trusted.
    pub fn read(table: &Table<'_>, environment: &Environment) -> Option<Self> {
        let insecure = table.flag("insecure", false);
        let timeouts = Timeouts::read(table);
        let trust = Trust::read(table, environment);
        let max_connections = table.get("max_connections").and_then(|value| match value.as_text() {
            Some("off") => None,
            Some(_) => {
                value.problem("must be an integer from 1 to 100000, or \"off\"");
                None
            }
            None => value.integer(1, 100_000).and_then(|count| usize::try_from(count).ok()),
        });
        let proxy = table.get("proxy").map(|value| Proxy::read(&value));
        let credentials = table.get("proxy_credentials");
        if credentials.is_some() && proxy.is_none() {
            table.problem("proxy_credentials", "is of no use without `proxy`");
        }
        let credentials = credentials.map(|value| authorization(&value, environment));
        let mut proxy = match proxy {
            Some(read) => Some(read?),
            None => None,
        };
        if let (Some(proxy), Some(credentials)) = (&mut proxy, credentials) {
            proxy.authorization = Some(credentials?);
        }
        Some(Self { insecure, timeouts, trust: trust?, proxy, max_connections })
    }
}

/// An HTTP proxy through which the vendor is reached.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// What it is told in `Proxy-Authorization`; it never sees what goes through it.
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    fn read(value: &Value<'_>) -> Option<Self> {
        let text = value.text()?;
        let wrong = || {
            value.problem(format!(
                "{} must be a proxy such as \"http://proxy.example.com:3128\", without path; its user and password go \
                 into `proxy_credentials`",
                quoted_url(text)
            ));
        };
        let Some(url) = BaseUrl::parse(text).ok().filter(|url| !url.is_https() && url.path() == "/") else {
            wrong();
            return None;
        };
        let (host, port) = (url.host().to_owned(), url.port().unwrap_or(80));
        is_allowed(&host, value).then(|| Self { host, port, authorization: None })
    }
}

/// Whether `host` is not an address that would be refused at every connection, see [`egress`].
pub(super) fn is_allowed(host: &str, value: &Value<'_>) -> bool {
    let judged = host.parse().map_or(Ok(()), |address: std::net::IpAddr| egress::check(address, address.is_loopback()));
    if let Err(why) = judged {
        value.problem(format!("`{host}` {why}; no connection goes there"));
    }
    judged.is_ok()
}

/// `Basic` (RFC 7617) from a secret that reads `user:password`.
fn authorization(value: &Value<'_>, environment: &Environment) -> Option<HeaderValue> {
    let secret = Secret::read(value, environment)?;
    if !secret.expose().contains(':') {
        value.problem("the secret must read user:password");
        return None;
    }
    let mut header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(secret.expose()))).ok()?;
    header.set_sensitive(true);
    Some(header)
}

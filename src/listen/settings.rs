//! Where to listen.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::time::Duration;

use ipnet::IpNet;

use super::bounds::{Bounds, Timeouts};
use super::tls::{self, Tls};
use crate::document::{Environment, Table, Value};
use crate::net::{BaseUrl, Trusted};

/// `listen`, `tls`, `insecure` and `workers` of `[server]`, and its time-outs and limits for connections.
#[derive(Debug)]
pub struct Settings {
    /// The address.
    pub address: SocketAddr,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// Whether plain HTTP is meant also where others can reach it.
    pub is_insecure: bool,
    /// How many workers.
    pub workers: usize,
    /// How long a client may take.
    pub timeouts: Timeouts,
    /// How much it may have.
    pub bounds: Bounds,
    /// Whose word counts of where a connection or a request comes from.
    pub trusted: Trusted,
    /// Whether connections begin with the PROXY protocol.
    pub proxy_protocol: bool,
    /// How long connections are accepted after balancers were told that they will not be.
    pub notice: Duration,
    /// How long calls may go on after that.
    pub drain: Duration,
}

impl Settings {
    /// Reads them; what is wrong is noted.
    pub fn read(table: &Table<'_>, timeouts: &Table<'_>, limits: &Table<'_>, environment: &Environment) -> Self {
        let address = table.get("listen").and_then(|value| {
            let address = value.text_of("an address and a port, such as \"127.0.0.1:8080\"")?.parse().ok();
            if address.is_none() {
                value.problem("must be an address and a port, such as \"127.0.0.1:8080\" or \"[::]:8443\"");
            }
            address
        });
        let address = address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
        let insecure = table.flag("insecure", false);
        let has_tls = table.get("tls").is_some();
        let tls = has_tls.then(|| read_tls(table, environment)).flatten();
        if !has_tls && !insecure && !address.ip().is_loopback() {
            table.problem(
                "listen",
                "plain HTTP on an address that others can reach would show tokens to the network; give tls = { cert = \
                 \"…\", key = \"…\" }, or listen on 127.0.0.1, or write insecure = true where a load balancer in front \
                 speaks TLS",
            );
        }
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let workers =
            table.get("workers").and_then(|value| value.integer(1, 1024)).and_then(|count| usize::try_from(count).ok());
        let (timeouts, bounds) = (Timeouts::read(timeouts), Bounds::read(limits));
        let trusted = Trusted::new(table.get("trusted_proxies").map_or_else(Vec::new, |value| networks(&value)));
        let proxy_protocol = table.flag("proxy_protocol", false);
        if proxy_protocol && trusted.is_empty() {
            table.problem(
                "proxy_protocol",
                "needs trusted_proxies, the networks of the load balancers: connections of all others are closed",
            );
        }
        let time = |key: &str, default| table.get(key).and_then(|value| value.duration()).unwrap_or(default);
        Self {
            address,
            tls,
            is_insecure: insecure,
            workers: workers.unwrap_or(cores),
            timeouts,
            bounds,
            trusted,
            proxy_protocol,
            notice: time("drain_notice", Duration::from_secs(5)),
            drain: time("drain", Duration::from_secs(30)),
        }
    }
}

fn networks(value: &Value<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in value.texts().unwrap_or_default() {
        match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) if network.prefix_len() == 0 => {
                value.problem(format!("`{text}` is everybody, and everybody could say where a request comes from"));
            }
            Ok(network) => networks.push(network.trunc()),
            Err(_) => value.problem(format!("`{text}` must be a network or an address, such as \"10.0.0.0/8\"")),
        }
    }
    networks
}

fn read_tls(table: &Table<'_>, environment: &Environment) -> Option<Tls> {
    let section = table.get("tls")?.table()?;
    let cert = section.required("cert", "the file of the certificate chain, in PEM");
    let key = section.required("key", "the file of the private key, in PEM");
    let (cert, key) = (environment.input(cert?.text()?), environment.input(key?.text()?));
    let tls = tls::read(&cert, &key).map_err(|message| section.value().problem(message)).ok()?;
    let public_url = table.get("public_url").and_then(|value| BaseUrl::parse(value.as_text()?).ok());
    tls.warnings(environment.now(), public_url.as_ref().map(BaseUrl::host))
        .into_iter()
        .for_each(|warning| section.warn("cert", warning));
    Some(tls)
}

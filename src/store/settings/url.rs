//! Where a Redis is, as a URL says it.
//!
//! `redis://` and `rediss://` (TLS), with `[USER@]HOST[:PORT][/DATABASE]`; `+sentinel` with
//! `HOST[:PORT],…/MASTER[/DATABASE]`, `+cluster` with `HOST[:PORT],…`. Read here and not by the crate: it takes a password
//! in the URL, and a fragment that switches certificate checks off.

use std::fmt;

use crate::net::is_loopback;
use crate::secret::Secret;

const HOW: &str = "must be \"sqlite:PATH\", \"redis://HOST:PORT/DATABASE\", \"rediss://…\", or either with +sentinel \
                   (\"rediss+sentinel://HOST,HOST/MASTER\") or +cluster (\"rediss+cluster://HOST,HOST\")";
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where a Redis is, and who we are there.
#[derive(Clone, Debug)]
pub struct RedisPlace {
    /// How its servers are found.
    pub topology: Topology,
    /// Hosts and ports: of the server, of the sentinels, or of some servers of the cluster.
    pub nodes: Vec<(String, u16)>,
    /// Whether the connections are TLS.
    pub is_tls: bool,
    /// The number of the database.
    pub database: i64,
    /// Our name there.
    pub user: Option<String>,
    /// Our password there.
    pub password: Option<Secret>,
    /// The authorities, in PEM, of which its certificate must come from one; absent: those of this machine.
    pub authorities: Option<Vec<u8>>,
}

/// How the servers of a Redis are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// It is one.
    One,
    /// Sentinels know it.
    Sentinel {
        /// The name by which they do.
        master: String,
    },
    /// They know each other.
    Cluster,
}

impl RedisPlace {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What would be right; nothing of the URL is in it.
    pub(super) fn parse(url: &str, password: Option<Secret>) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or(HOW)?;
        let (tls, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let is_tls = match tls {
            "redis" => false,
            "rediss" => true,
            _ => return Err(HOW.to_owned()),
        };
        if rest.contains(['?', '#']) {
            return Err("must have no query and no fragment".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = user(authority)?;
        let (topology, database) = topology(kind, path)?;
        let port = if matches!(topology, Topology::Sentinel { .. }) { SENTINEL_PORT } else { PORT };
        let nodes = hosts.split(',').map(|host| node(host, port)).collect::<Option<Vec<_>>>().ok_or(HOW)?;
        if topology == Topology::One && nodes.len() > 1 {
            return Err("must name one host; several are for +sentinel and +cluster".to_owned());
        }
        Ok(Self { topology, nodes, is_tls, database, user, password, authorities: None })
    }

    /// A host that would be spoken to in the clear although it is another machine.
    pub(super) fn plain_host(&self) -> Option<&str> {
        let mut hosts = self.nodes.iter().map(|(host, _)| host.as_str());
        (!self.is_tls).then(|| hosts.find(|host| !is_loopback(host))).flatten()
    }
}

/// Hosts and ports alone.
impl fmt::Display for RedisPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (host, port)) in self.nodes.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            match host.contains(':') {
                true => write!(formatter, "{comma}[{host}]:{port}")?,
                false => write!(formatter, "{comma}{host}:{port}")?,
            }
        }
        Ok(())
    }
}

/// Our name there, and the hosts.
fn user(authority: &str) -> Result<(Option<String>, &str), String> {
    let Some((user, hosts)) = authority.rsplit_once('@') else { return Ok((None, authority)) };
    if user.contains(':') {
        return Err("has a password in it; take it out and write password = { env = \"NAME\" } or { file = \"PATH\" }"
            .to_owned());
    }
    Ok((Some(user.to_owned()).filter(|user| !user.is_empty()), hosts))
}

fn topology(kind: &str, path: &str) -> Result<(Topology, i64), String> {
    let number = |text: &str| match text {
        "" => Ok(0),
        text => match text.parse::<u16>() {
            Ok(number) => Ok(i64::from(number)),
            Err(_error) => {
                Err("must end in the number of a database, from 0 to 65535 (a Redis has 0 to 15, unless it is told \
                                otherwise)"
                    .to_owned())
            }
        },
    };
    match kind {
        "" => Ok((Topology::One, number(path)?)),
        "cluster" if path.is_empty() => Ok((Topology::Cluster, 0)),
        "cluster" => Err("must end after the hosts: a cluster has one database".to_owned()),
        "sentinel" => {
            let (master, database) = path.split_once('/').unwrap_or((path, ""));
            if master.is_empty() {
                return Err(
                    "must name the master after the sentinels, as in \"rediss+sentinel://HOST/MASTER\"".to_owned()
                );
            }
            Ok((Topology::Sentinel { master: master.to_owned() }, number(database)?))
        }
        _ => Err(HOW.to_owned()),
    }
}

/// `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT`.
fn node(text: &str, port: u16) -> Option<(String, u16)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let port = if rest.is_empty() { port } else { rest.strip_prefix(':')?.parse().ok()? };
    let is_host = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(is_host)).then(|| (host.to_owned(), port))
}

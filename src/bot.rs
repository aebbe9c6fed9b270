//! Bots, vendors as this gateway offers them, and clients: the data that the configuration gives.
//!
//! A [`Directory`] is made once and only read afterwards.

mod client;
mod origin;
mod read;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderName;
use serde_json::Value;

pub use self::client::{Client, NewClient, PUBLIC, is_client_secret, is_name as is_client_name, warn_of_placeholder};
pub use self::origin::{Origin, Origins};
pub use self::read::{Settings, VendorSettings};
use crate::document::Rate;
use crate::fault::{Code, Fault};
use crate::secret::Secret;
use crate::upstream::Upstream;
use crate::upstream::keys::{VendorKey, VendorKeys};
use crate::vendor::{BotId, Profile};

/// A conversational API in front of which the gateway stands.
#[derive(Debug)]
pub struct Vendor {
    /// Its name in the configuration.
    pub name: String,
    /// Its number, from 0: the place of what other modules keep about it.
    pub index: usize,
    /// What its API is.
    pub profile: Arc<Profile>,
    /// Where it is.
    pub upstream: Upstream,
    /// Its keys.
    pub keys: VendorKeys,
    /// How many secrets were masked in what it answered.
    masked: Arc<AtomicU64>,
}

impl Vendor {
    /// Notes that so many secrets were found in what it answered, and tells the operator, also in which part of it.
    pub fn note_masked(&self, hits: u32, part: &str) {
        if hits > 0 {
            self.masked.fetch_add(hits.into(), Ordering::Relaxed);
            tracing::error!(vendor = self.name.as_str(), part, hits, "secrets were masked in what a vendor answered");
        }
    }

    /// How many were, so far.
    pub fn masked_so_far(&self) -> u64 {
        self.masked.load(Ordering::Relaxed)
    }
}

/// Where a vendor's paths stand on this gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// Below this prefix, on every host that no vendor has for itself.
    Prefix(String),
    /// On this host alone, in lower case.
    Host(String),
}

impl fmt::Display for Mount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => formatter.write_str(prefix),
            Self::Host(host) => write!(formatter, "host {host}"),
        }
    }
}

/// Who may ask for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// A page of an allowed origin, and owners.
    Public,
    /// Owners only.
    Private,
}

/// What a session needs to know of its visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactNeed {
    /// Nothing is taken.
    None,
    /// What is given is taken.
    Optional,
    /// Something must be given.
    Required,
}

/// How long a token of a bot lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// Where the caller says nothing.
    pub default: Duration,
    /// At most.
    pub max: Duration,
}

/// How much may be done with a bot. `None` is "off".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Mints by one address.
    pub mint_per_ip: Option<Rate>,
    /// Calls and mints of the bot in all.
    pub per_bot: Option<Rate>,
    /// Calls of one session.
    pub per_session: Option<Rate>,
    /// Calls of one session that are open at once.
    pub streams: Option<u32>,
    /// Open sessions of visitors at one address.
    pub sessions_per_ip: Option<u32>,
    /// Open sessions of one contact for whom an owner vouches.
    pub sessions_per_contact: Option<u32>,
    /// Bytes of a JSON body that is read.
    pub body: u64,
    /// Bytes of a body that streams.
    pub upload: Option<u64>,
    /// Bytes of a WebSocket message.
    pub message: u64,
}

/// One assistant of a vendor, as this gateway offers it.
#[derive(Debug)]
pub struct Bot {
    /// Its name in the configuration.
    pub name: String,
    /// Its number, from 0: the scope of its limits.
    pub number: u32,
    /// Whose it is.
    pub vendor: Arc<Vendor>,
    /// The vendor's API with this bot's own options; its routes are in the order of the vendor's.
    pub profile: Arc<Profile>,
    /// The vendor's own id of it.
    pub vendor_id: String,
    /// Who may ask for a session.
    pub visibility: Visibility,
    /// The pages that may use it.
    pub origins: Origins,
    /// The clients that may mint for it.
    pub owners: Vec<String>,
    /// How long its tokens live.
    pub ttl: Ttl,
    /// What a session needs to know of its visitor.
    pub contact: ContactNeed,
    /// Whether its calls stop where nobody can know any more what is revoked.
    pub strict_revocation: bool,
    /// How much may be done with it.
    pub limits: Limits,
}

impl Bot {
    /// The vendor's own id of it, with the type that the vendor's JSON has.
    pub fn vendor_id_json(&self) -> Value {
        match self.vendor.profile.bot_id {
            BotId::Number => {
                self.vendor_id.parse::<u64>().map_or_else(|_| Value::from(self.vendor_id.as_str()), Value::from)
            }
            BotId::Text => Value::from(self.vendor_id.as_str()),
        }
    }

    /// Whether `client` may mint for it.
    pub fn is_owned_by(&self, client: &str) -> bool {
        self.owners.iter().any(|owner| owner == client)
    }
}

/// Asked at each call.
type ByName<T> = HashMap<String, Arc<T>, ahash::RandomState>;

/// All bots, vendors and clients.
#[derive(Debug)]
pub struct Directory {
    bots: ByName<Bot>,
    vendors: Vec<(Arc<Vendor>, Mount)>,
    clients: ByName<Client>,
    /// By vendor: the longest JSON body that one of its bots takes.
    bodies: Vec<u64>,
    /// What an unknown client's secret is compared with, so that it costs the same as a known one's.
    nobody: Client,
}

impl Directory {
    /// The directory that `settings` say, where another was `before`, or none. `fingerprint` names a vendor key without
    /// giving it away.
    pub fn new(settings: Settings, before: Option<&Self>, fingerprint: impl Fn(&Secret) -> [u8; 32]) -> Self {
        let vendors: Vec<(Arc<Vendor>, Mount)> = settings
            .vendors
            .into_iter()
            .enumerate()
            .map(|(index, vendor)| {
                let key = |secret: Secret| VendorKey { fingerprint: fingerprint(&secret), secret };
                let before = before.and_then(|before| before.vendor_named(&vendor.name));
                let known = before.map(|before| &before.keys);
                let keys = VendorKeys::new(vendor.keys.into_iter().map(key).collect(), vendor.per_key, known);
                let (name, profile, upstream) = (vendor.name, vendor.profile, vendor.upstream);
                let masked = before.map(|before| Arc::clone(&before.masked)).unwrap_or_default();
                (Arc::new(Vendor { name, index, profile, upstream, keys, masked }), vendor.mount)
            })
            .collect();
        let bots = settings.bots.into_iter().filter_map(|bot| {
            let (vendor, _) = vendors.iter().find(|(vendor, _)| vendor.name == bot.vendor)?;
            Some((bot.name.clone(), Arc::new(bot.with_vendor(Arc::clone(vendor)))))
        });
        let bots: ByName<Bot> = bots.collect();
        let longest = |vendor: &Vendor| {
            bots.values().filter(|bot| bot.vendor.index == vendor.index).map(|bot| bot.limits.body).max().unwrap_or(0)
        };
        let bodies = vendors.iter().map(|(vendor, _)| longest(vendor)).collect();
        let clients = settings.clients.into_iter().map(|client| (client.name.clone(), Arc::new(client)));
        Self { bots, clients: clients.collect(), bodies, nobody: Client::nobody(), vendors }
    }

    fn vendor_named(&self, name: &str) -> Option<&Vendor> {
        self.vendors.iter().map(|(vendor, _)| &**vendor).find(|vendor| vendor.name == name)
    }

    /// The bots, each with the clients whose sessions of it may go on.
    pub fn offered(&self) -> HashMap<String, HashSet<String>> {
        let clients = |bot: &Bot| {
            let owners = bot.owners.iter().filter(|owner| self.clients.contains_key(*owner)).cloned();
            owners.chain((bot.visibility == Visibility::Public).then(|| PUBLIC.to_owned())).collect()
        };
        self.bots.values().map(|bot| (bot.name.clone(), clients(bot))).collect()
    }

    /// The longest JSON body that a bot of `vendor` takes: what is read before the bot is known.
    pub fn longest_body(&self, vendor: &Vendor) -> u64 {
        self.bodies.get(vendor.index).copied().unwrap_or(0)
    }

    /// The bot of `vendor` that a call means which names none: the only one that `is_meant`.
    ///
    /// # Errors
    ///
    /// There is none, or there are several.
    pub fn only_bot_of(&self, vendor: &Vendor, is_meant: impl Fn(&Bot) -> bool) -> Result<&Arc<Bot>, Fault> {
        let mut meant = self.bots_of(vendor).filter(|bot| is_meant(bot));
        match (meant.next(), meant.next()) {
            (Some(bot), None) => Ok(bot),
            (None, _) => Err(Fault::new(Code::OwnerRequired, "none of this vendor's bots is for this caller")),
            (Some(_), Some(_)) => Err(Fault::new(
                Code::BadRequest,
                "several of this vendor's bots are for this caller, and this call has no place to name one; use \
                 `POST /v1/bots/{bot}/sessions`, or give each bot a vendor of its own with its own mount",
            )),
        }
    }

    /// The bot of this name.
    pub fn bot(&self, name: &str) -> Option<&Arc<Bot>> {
        self.bots.get(name)
    }

    /// The bot of `vendor` that a caller means by the gateway's name or the vendor's id.
    pub fn bot_of(&self, vendor: &Vendor, name_or_id: &str) -> Option<&Arc<Bot>> {
        self.bots_of(vendor).find(|bot| bot.name == name_or_id || bot.vendor_id == name_or_id)
    }

    /// All bots of `vendor`.
    pub fn bots_of(&self, vendor: &Vendor) -> impl Iterator<Item = &Arc<Bot>> {
        let index = vendor.index;
        self.bots.values().filter(move |bot| bot.vendor.index == index)
    }

    /// All bots.
    pub fn bots(&self) -> impl Iterator<Item = &Arc<Bot>> {
        self.bots.values()
    }

    /// All vendors, and where they stand.
    pub fn vendors(&self) -> impl Iterator<Item = (&Arc<Vendor>, &Mount)> {
        self.vendors.iter().map(|(vendor, mount)| (vendor, mount))
    }

    /// The headers in which vendors' clients send their keys.
    pub fn key_headers(&self) -> Vec<HeaderName> {
        let accepts = self.vendors.iter().filter_map(|(vendor, _)| vendor.profile.accept.as_ref());
        accepts.filter_map(|accept| accept.credential.header().cloned()).collect()
    }

    /// Whether there is a client of this name.
    pub fn has_client(&self, name: &str) -> bool {
        self.clients.contains_key(name)
    }

    /// The client of this name.
    pub fn client_named(&self, name: &str) -> Option<&Arc<Client>> {
        self.clients.get(name)
    }

    /// The client whose secret this is. An unknown name costs the same as a known one.
    pub fn client(&self, secret: &str) -> Option<&Arc<Client>> {
        let known = client::name_in(secret).and_then(|name| self.clients.get(name));
        match known {
            Some(client) => client.has_secret(secret).then_some(client),
            None => {
                let _same_cost = self.nobody.has_secret(secret);
                None
            }
        }
    }
}

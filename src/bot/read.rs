//! Reading `[vendors.*]`, `[bots.*]` and `[clients.*]`, with every problem kept.

mod vendor;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub use self::vendor::VendorSettings;
use super::{Bot, Client, ContactNeed, Limits, Origins, Ttl, Vendor, Visibility, client};
use crate::document::{Environment, Problems, Rate, Table, Value};
use crate::token::{LONGEST_TTL, read_ttl};
use crate::vendor::{BotId, Profile, is_value};

/// What the configuration says about vendors, bots and clients.
#[derive(Debug, Default)]
pub struct Settings {
    /// `[vendors.*]`
    pub vendors: Vec<VendorSettings>,
    /// `[bots.*]`
    pub(super) bots: Vec<BotSettings>,
    /// `[clients.*]`
    pub(super) clients: Vec<Client>,
}

impl Settings {
    /// Gives each bot the number that it had, and new ones a new one: limits are kept under it.
    pub fn number(&mut self, known: &mut HashMap<String, u32>) {
        for bot in &mut self.bots {
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            bot.number = *known.entry(bot.name.clone()).or_insert(next);
        }
    }
}

/// One bot.
#[derive(Debug)]
pub(super) struct BotSettings {
    pub(super) name: String,
    is_enabled: bool,
    pub(super) vendor: String,
    /// Where it has options of its own.
    profile: Option<Arc<Profile>>,
    number: u32,
    vendor_id: String,
    visibility: Visibility,
    origins: Origins,
    owners: Vec<String>,
    ttl: Ttl,
    contact: ContactNeed,
    strict_revocation: bool,
    limits: Limits,
}

impl BotSettings {
    pub(super) fn with_vendor(self, vendor: Arc<Vendor>) -> Bot {
        Bot {
            name: self.name,
            number: self.number,
            profile: self.profile.unwrap_or_else(|| Arc::clone(&vendor.profile)),
            vendor,
            vendor_id: self.vendor_id,
            visibility: self.visibility,
            origins: self.origins,
            owners: self.owners,
            ttl: self.ttl,
            contact: self.contact,
            strict_revocation: self.strict_revocation,
            limits: self.limits,
        }
    }
}

impl Settings {
    /// Reads the three sections. `default_ttl` is `tokens.default_ttl`, `public_url` where clients find the gateway.
    pub fn read(
        root: &Table<'_>,
        environment: &Environment,
        problems: &Problems,
        default_ttl: Duration,
        public_url: &str,
    ) -> Self {
        let named_clients: Vec<(&str, Value<'_>)> = root.section("clients").named();
        let known: BTreeSet<&str> = named_clients.iter().map(|(name, _)| *name).collect();
        let clients: Vec<Client> = named_clients.iter().filter_map(|(name, value)| read_client(name, value)).collect();
        let named: Vec<(&str, Value<'_>)> = root.section("vendors").named();
        let reader = vendor::Reader { environment, problems, public_url };
        let vendors: Vec<VendorSettings> = named.iter().filter_map(|(name, value)| reader.read(name, value)).collect();
        if named.is_empty() {
            root.warn("vendors", "there is none: nothing can be called");
        }
        let all: BTreeSet<&str> = named.iter().map(|(name, _)| *name).collect();
        let mut bots: Vec<BotSettings> = Vec::new();
        let named = root.section("bots").named();
        if named.is_empty() && !all.is_empty() {
            root.warn("bots", "there is none: nobody can open a session");
        }
        for (number, (name, value)) in (0..).zip(named) {
            let reader = BotReader { vendors: &vendors, named: &all, clients: &known, default_ttl };
            if let Some(bot) = reader.read(name, number, &value)
                && is_unique(&bot, &bots, &vendors, &value)
            {
                bots.push(bot);
            }
        }
        Self::offered(vendors, bots, clients)
    }
}

impl Settings {
    /// Without what is not enabled, and without the bots of such vendors: all of it has been read, and must be right.
    fn offered(mut vendors: Vec<VendorSettings>, mut bots: Vec<BotSettings>, clients: Vec<Client>) -> Self {
        vendors.retain(|vendor| vendor.is_enabled);
        bots.retain(|bot| bot.is_enabled && vendors.iter().any(|vendor| vendor.name == bot.vendor));
        Self { vendors, bots, clients }
    }

    /// How many bots there are.
    pub fn count(&self) -> usize {
        self.bots.len()
    }

    /// Bytes of the longest JSON body that may have to be held.
    pub fn longest_body(&self) -> u64 {
        let routes = self.vendors.iter().flat_map(|vendor| &vendor.profile.routes).filter_map(|route| route.body_limit);
        self.bots.iter().map(|bot| bot.limits.body).chain(routes).max().unwrap_or(0)
    }
}

/// Within a vendor, the gateway's names and the vendor's ids share one name space: a session call may use either. Where
/// no call names a bot, nothing has to tell them apart.
fn is_unique(bot: &BotSettings, others: &[BotSettings], vendors: &[VendorSettings], value: &Value<'_>) -> bool {
    let vendor = vendors.iter().find(|vendor| vendor.name == bot.vendor);
    if vendor.is_some_and(|vendor| !vendor.profile.names_bots()) {
        return true;
    }
    let clash = others.iter().filter(|other| other.vendor == bot.vendor).find(|other| {
        let theirs = [&other.name, &other.vendor_id];
        theirs.contains(&&bot.name) || theirs.contains(&&bot.vendor_id)
    });
    if let Some(other) = clash {
        value.problem(format!(
            "shares a name or vendor_id with bots.{} of the same vendor: a session call could not tell them apart",
            other.name
        ));
    }
    clash.is_none()
}

/// `enabled`, of a vendor, bot or client: whether it is there for anybody.
fn is_enabled(table: &Table<'_>) -> bool {
    table.flag("enabled", true)
}

/// A client, if it is one and enabled.
fn read_client(name: &str, value: &Value<'_>) -> Option<Client> {
    let table = value.table()?;
    if !client::is_name(name) {
        value.problem("a client's name is made of letters, digits, - and _, at most 64, and is not `public`");
    }
    let browser = table.flag("browser", false);
    let is_enabled = is_enabled(&table);
    let digests = table.required("secret_sha256", &format!("what `keystile client new {name}` prints"))?;
    let texts = digests.one_or_texts()?;
    let per_client = table.section("limits").get("per_client").and_then(|value| Rate::read(&value));
    client::warn_of_placeholder(&table, "secret_sha256", &texts, name);
    let mut client = Client::new(name, &texts, browser).map_err(|message| digests.problem(message)).ok()?;
    client.per_client = per_client.unwrap_or(client.per_client);
    is_enabled.then_some(client)
}

struct BotReader<'r> {
    vendors: &'r [VendorSettings],
    /// Also those that could not be read, so that one problem does not bring another.
    named: &'r BTreeSet<&'r str>,
    /// The same of clients.
    clients: &'r BTreeSet<&'r str>,
    default_ttl: Duration,
}

impl BotReader<'_> {
    fn read(&self, name: &str, number: u32, value: &Value<'_>) -> Option<BotSettings> {
        let table = value.table()?;
        if !is_value(name) {
            value.problem("a bot's name is made of letters, digits, . _ ~ and -, at most 128");
        }
        let vendor = table.required("vendor", "the name of one of [vendors]").and_then(|value| self.vendor(&value));
        let vendor_id = table.required("vendor_id", "the vendor's own id of the bot").and_then(|value| value.text());
        let visibility = table.required("visibility", "\"public\" or \"private\"").and_then(|value| visibility(&value));
        let origins = table.get("origins").map_or_else(|| Some(Origins::default()), |value| origins(&value));
        let owners = table.get("owners").map_or_else(Vec::new, |value| self.owners(&value));
        let ttl = self.ttl(&table);
        let contact = table.get("contact").map_or(Some(ContactNeed::Optional), |value| contact(&value));
        let strict_revocation = table.flag("strict_revocation", false);
        let is_enabled = is_enabled(&table);
        let (limits, are_said) = limits(&table);
        if visibility == Some(Visibility::Public) {
            check_public(&table, origins.as_ref(), &limits, are_said);
        } else if visibility == Some(Visibility::Private) && owners.is_empty() {
            table.problem("owners", "a private bot without owners could be used by nobody; name a client");
        }
        let vendor_id = vendor_id?.to_owned();
        let known = self.vendors.iter().find(|known| Some(known.name.as_str()) == vendor);
        let given = table.get("options");
        let profile = known.and_then(|vendor| vendor.with_options_of(given.as_ref(), &table));
        if let Some(vendor) = known {
            check_vendor_id(&table, &vendor_id, vendor.profile.bot_id);
        }
        let (name, vendor) = (name.to_owned(), vendor?.to_owned());
        let (visibility, contact, origins) = (visibility?, contact?, origins?);
        Some(BotSettings {
            name,
            is_enabled,
            vendor,
            profile,
            number,
            vendor_id,
            visibility,
            origins,
            owners,
            ttl,
            contact,
            strict_revocation,
            limits,
        })
    }

    fn vendor<'v>(&self, value: &Value<'v>) -> Option<&'v str> {
        let name = value.text()?;
        if !self.named.contains(name) {
            let known = self.named.iter().copied().collect::<Vec<_>>().join(", ");
            value.problem(format!("there is no [vendors.{name}]; there are: {known}"));
            return None;
        }
        Some(name)
    }

    fn owners(&self, value: &Value<'_>) -> Vec<String> {
        let names = value.texts().unwrap_or_default();
        for name in names.iter().filter(|name| !self.clients.contains(**name)) {
            value.problem(if client::is_client_secret(name) {
                "this is a client's secret; an owner is named by the client's name".to_owned()
            } else {
                format!("there is no [clients.{name}]; `keystile client new {name}` makes one")
            });
        }
        names.into_iter().map(str::to_owned).collect()
    }

    fn ttl(&self, table: &Table<'_>) -> Ttl {
        let section = table.section("ttl");
        let read = |key: &str| section.get(key).and_then(|value| read_ttl(&value));
        let (default, max) = (read("default"), read("max").unwrap_or(LONGEST_TTL));
        if default.is_some_and(|default| default > max) {
            section.problem("default", "must not be longer than ttl.max");
        }
        Ttl { default: default.unwrap_or(self.default_ttl).min(max), max }
    }
}

fn visibility(value: &Value<'_>) -> Option<Visibility> {
    value.one_of(&[("public", Visibility::Public), ("private", Visibility::Private)])
}

fn contact(value: &Value<'_>) -> Option<ContactNeed> {
    value.one_of(&[
        ("none", ContactNeed::None),
        ("optional", ContactNeed::Optional),
        ("required", ContactNeed::Required),
    ])
}

fn origins(value: &Value<'_>) -> Option<Origins> {
    let mut origins = Origins::default();
    let mut are_origins = true;
    for text in value.texts()? {
        if let Err(message) = origins.add(text) {
            value.problem(message);
            are_origins = false;
        }
    }
    are_origins.then_some(origins)
}

/// The limits, and whether those that a public bot lives by are written out.
fn limits(table: &Table<'_>) -> (Limits, bool) {
    let section = table.section("limits");
    let rate = |key: &str, count: u32| {
        let default = Some(Rate::new(count, Duration::from_secs(60)));
        section.get(key).and_then(|value| Rate::read(&value)).unwrap_or(default)
    };
    let count = |key: &str, default: u32| {
        section.get(key).map_or(Some(default), |value| match value.as_text() {
            Some("off") => None,
            Some(_) => {
                value.problem("must be an integer from 1 to 100000, without quotes, or \"off\"");
                None
            }
            None => value.integer(1, 100_000).and_then(|count| u32::try_from(count).ok()),
        })
    };
    let upload = section.get("upload").and_then(|value| match value.as_text() {
        Some("off") => None,
        _ => value.size(),
    });
    let limits = Limits {
        mint_per_ip: rate("mint_per_ip", 30),
        per_bot: rate("per_bot", 600),
        per_session: rate("per_session", 60),
        streams: count("streams", 4),
        sessions_per_ip: count("sessions_per_ip", 20),
        sessions_per_contact: count("sessions_per_contact", 20),
        body: section.get("body").and_then(|value| value.size()).unwrap_or(256 << 10),
        upload,
        message: section.get("message").and_then(|value| value.size()).unwrap_or(1 << 20),
    };
    check_share(&section, &limits);
    let are_said = section.get("mint_per_ip").is_some() && section.get("per_bot").is_some();
    (limits, are_said)
}

/// What one session may take must leave something to others.
fn check_share(section: &Table<'_>, limits: &Limits) {
    // A second's worth is compared: the windows may differ.
    let is_all =
        |session: Rate, bot: Rate| session.interval_micros() <= bot.interval_micros() || session.count() >= bot.count();
    let Some(bot) = limits.per_bot else { return };
    if limits.per_session.is_none_or(|session| is_all(session, bot)) {
        let session = limits.per_session.map_or_else(|| "off".to_owned(), |rate| rate.to_string());
        section.warn(
            "per_session",
            format!(
                "is {session} and per_bot {bot}: one session could use up the bot, and all others would be refused"
            ),
        );
    }
}

fn check_public(table: &Table<'_>, origins: Option<&Origins>, limits: &Limits, are_said: bool) {
    if origins.is_some_and(Origins::is_empty) {
        table.problem(
            "origins",
            "is missing: a public bot is for pages of certain origins, such as [\"https://www.example.com\"]",
        );
    }
    if limits.mint_per_ip.is_none() || limits.per_bot.is_none() {
        table.problem(
            "limits",
            "a public bot needs mint_per_ip and per_bot: an Origin is a browser's word, and anybody else can write it",
        );
    } else if origins.is_some_and(Origins::is_any) && !are_said {
        table.problem(
            "origins",
            "\"*\" lets every page in the world use this bot; if that is meant, write limits.mint_per_ip and \
             limits.per_bot out",
        );
    }
}

fn check_vendor_id(table: &Table<'_>, id: &str, kind: BotId) {
    let is_number = id.parse::<u64>().is_ok_and(|number| number.to_string() == id);
    if kind == BotId::Number && !is_number {
        let detail = "must be a number, in quotes, as this vendor writes its bot ids: without sign or leading zeros";
        table.problem("vendor_id", format!("`{id}` {detail}"));
    }
    if id.is_empty() || id == "." || id == ".." || id.chars().any(char::is_control) {
        table.problem("vendor_id", format!("`{}` is no id that a vendor could have", id.escape_debug()));
    }
}

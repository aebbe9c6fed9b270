//! Reading `[vendors.*]`: what a vendor's API is, where it is, its keys and options.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::is_enabled;
use crate::bot::Mount;
use crate::document::{Environment, Problem, Problems, Rate, Table, Value, utf8};
use crate::net::BaseUrl;
use crate::secret::{Secret, same};
use crate::upstream::{self, Upstream};
use crate::vendor::{self, Declared, Options, Place, Profile};

/// One vendor.
#[derive(Debug)]
pub struct VendorSettings {
    /// Its name.
    pub name: String,
    /// What its API is.
    pub profile: Arc<Profile>,
    /// Where its paths stand.
    pub mount: Mount,
    /// Whether it is offered.
    pub(in crate::bot) is_enabled: bool,
    /// Where it stands in the configuration: for problems that show only when all vendors are known.
    pub line: usize,
    pub(in crate::bot) upstream: Upstream,
    pub(in crate::bot) keys: Vec<Secret>,
    /// Calls with each of the keys.
    pub(in crate::bot) per_key: Option<Rate>,
    source: Source,
    options: Options,
}

/// Where a profile comes from: a bot with options of its own needs it once more.
#[derive(Debug)]
struct Source {
    name: String,
    file: String,
    text: String,
}

impl Source {
    /// The profile with these options, and what is wrong with it anyhow. What is wrong because of one that is given is
    /// noted there, and once, however many places of the profile it stands in: that shows by what is right with `instead`.
    fn read(
        &self,
        options: &Options,
        given: &[Given<'_>],
        instead: impl Fn(&Declared) -> serde_json::Value,
    ) -> (Option<Profile>, Vec<Problem>) {
        let (profile, mut found) = self.attempt(options);
        for given in given {
            if found.is_empty() {
                break;
            }
            let mut others = options.clone();
            others.values.insert(given.option.name.clone(), instead(&given.option));
            let (_, without) = self.attempt(&others);
            let (left, its): (Vec<Problem>, _) = found.into_iter().partition(|problem| without.contains(problem));
            if let Some(problem) = its.first() {
                let how = if given.value == "" { "is empty, and needs a value" } else { "does not fit" };
                given.place.problem(format!("{how} in the profile: {problem}"));
            }
            found = left;
        }
        (profile, found)
    }

    fn attempt(&self, options: &Options) -> (Option<Profile>, Vec<Problem>) {
        let problems = Problems::default();
        let profile = vendor::read(&self.name, &self.file, &self.text, options, &problems);
        (profile, problems.into_sorted())
    }
}

/// An option to which a value is given, and where.
struct Given<'d> {
    option: Declared,
    value: serde_json::Value,
    place: Value<'d>,
}

impl VendorSettings {
    /// The profile with a bot's own options; nothing, if the bot has none. What is wrong with them is noted.
    pub(super) fn with_options_of(&self, given: Option<&Value<'_>>, bot: &Table<'_>) -> Option<Arc<Profile>> {
        let given = read_options(&self.source.text, given);
        let mut options = self.options.clone();
        options.values.extend(values_of(&given));
        for option in vendor::declared(&self.source.text) {
            if option.default.is_none() && !options.values.contains_key(&option.name) {
                bot.problem(
                    "options",
                    format!(
                        "the profile {} needs `{}`: here, or in [vendors.{}.options]",
                        self.source.name, option.name, self.name
                    ),
                );
            }
        }
        if options == self.options {
            return None;
        }
        let vendors = |option: &Declared| self.options.values.get(&option.name).cloned();
        let (profile, problems) =
            self.source.read(&options, &given, |option| vendors(option).unwrap_or_else(|| option.stand_in()));
        if profile.as_ref().is_some_and(|profile| slots(profile) != slots(&self.profile)) {
            bot.problem(
                "options",
                format!(
                    "change where a credential or the bot stands, which is read before the bot is known: give them in \
                     [vendors.{}.options]",
                    self.name
                ),
            );
        }
        // What is wrong with the profile itself has been told of the vendor.
        let known = if problems.is_empty() { Vec::new() } else { self.source.attempt(&self.options).1 };
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            bot.problem("options", format!("do not fit into the profile: {problem}"));
        }
        profile.map(Arc::new)
    }
}

/// Where a call names its bot and its credential, but for headers, which never pass: all that is read of a call while the
/// vendor's own options count.
fn slots(profile: &Profile) -> Vec<&Place> {
    let accept = profile.accept.iter().flat_map(|accept| [Some(&accept.credential), accept.bot.as_ref()]).flatten();
    let tokens = profile.routes.iter().flat_map(|route| &route.token);
    accept.chain(tokens).filter(|place| place.header().is_none()).collect()
}

/// What every vendor is read with.
pub(super) struct Reader<'r> {
    pub(super) environment: &'r Environment,
    pub(super) problems: &'r Problems,
    pub(super) public_url: &'r str,
}

impl Reader<'_> {
    /// Reads one vendor.
    pub(super) fn read(&self, name: &str, value: &Value<'_>) -> Option<VendorSettings> {
        let table = value.table()?;
        let source = table.required("profile", "a built-in profile's name, or a path to one");
        let source = source.and_then(|value| self.source(&value));
        let given = table.get("base_url");
        let connections = upstream::Settings::read(&table, self.environment);
        let mount = table.get("mount").map_or(Some(Mount::Prefix("/".to_owned())), |value| read_mount(&value));
        let keys = read_keys(&table, self.environment);
        let per_key = table.section("limits").get("per_key").and_then(|value| Rate::read(&value)).flatten();
        let options = table.get("options");
        let is_enabled = is_enabled(&table);
        let source = source?;
        let given_options = read_options(&source.text, options.as_ref());
        let mount = mount?;
        let options = Options { values: values_of(&given_options), gateway: gateway(self.public_url, &mount) };
        let (profile, problems) = source.read(&options, &given_options, Declared::stand_in);
        problems.iter().for_each(|found| self.problems.add(&found.file, found.line, &found.path, &*found.message));
        let profile = profile?;
        let url = match (&given, &profile.base_url) {
            (Some(value), _) => vendor::base_url(value)?,
            (None, Some(url)) => url.clone(),
            (None, None) => {
                table.problem("base_url", "is missing, and the profile has none either: where the vendor's API is");
                return None;
            }
        };
        let upstream = Upstream::read(given.as_ref().unwrap_or(value), &url, connections?)?;
        let (name, line, profile) = (name.to_owned(), value.line(), Arc::new(profile));
        Some(VendorSettings { name, profile, mount, is_enabled, line, upstream, keys: keys?, per_key, source, options })
    }

    fn source(&self, value: &Value<'_>) -> Option<Source> {
        let name = value.text()?;
        if let Some(text) = vendor::built_in(name) {
            return Some(Source { name: name.to_owned(), file: format!("profile {name}"), text: text.to_owned() });
        }
        if !name.contains(['/', '.']) {
            let known = vendor::built_in_names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            value.problem(format!(
                "there is no built-in profile `{name}`; there are {known}. Or name the path of a file, with a `/` or a `.` \
                 in it"
            ));
            return None;
        }
        match std::fs::read(self.environment.input(name)) {
            Ok(bytes) => {
                let text = utf8(name, bytes, self.problems)?;
                Some(Source { name: name.to_owned(), file: name.to_owned(), text })
            }
            Err(error) => {
                value.problem(format!("the profile {name} cannot be read: {error}"));
                None
            }
        }
    }
}

/// The options that are given, of those that the profile declares; others are problems.
fn read_options<'d>(profile: &str, given: Option<&Value<'d>>) -> Vec<Given<'d>> {
    let Some(table) = given.and_then(Value::table) else { return Vec::new() };
    let declared = vendor::declared(profile);
    if declared.is_empty() && !table.named().is_empty() {
        table.value().problem("the profile has no options");
        return Vec::new();
    }
    let read = |option: Declared| {
        let place = table.get(&option.name)?;
        Some(Given { value: option.given(&place)?, option, place })
    };
    declared.into_iter().filter_map(read).collect()
}

fn values_of(given: &[Given<'_>]) -> BTreeMap<String, serde_json::Value> {
    given.iter().map(|given| (given.option.name.clone(), given.value.clone())).collect()
}

/// Where the vendor's paths stand, for whoever is far away.
fn gateway(public_url: &str, mount: &Mount) -> String {
    match mount {
        Mount::Prefix(prefix) => format!("{public_url}{}", prefix.trim_end_matches('/')),
        Mount::Host(host) => {
            let public = BaseUrl::parse(public_url).ok();
            let scheme = if public.as_ref().is_none_or(BaseUrl::is_https) { "https" } else { "http" };
            let port = public.and_then(|public| public.port()).map(|port| format!(":{port}")).unwrap_or_default();
            format!("{scheme}://{host}{port}")
        }
    }
}

fn read_keys(table: &Table<'_>, environment: &Environment) -> Option<Vec<Secret>> {
    let value = table.required("keys", "the vendor's keys, such as [{ env = \"VENDOR_KEY\" }]")?;
    let items = value.items()?;
    if items.is_empty() {
        value.problem("must hold at least one key, such as [{ env = \"VENDOR_KEY\" }]");
        return None;
    }
    // All are read before the first failure counts, so that all are reported.
    let keys: Vec<Option<Secret>> = items.iter().map(|item| Secret::read(item, environment)).collect();
    let keys: Vec<Secret> = keys.into_iter().collect::<Option<_>>()?;
    warn_of_doubles(table, &keys);
    Some(keys)
}

/// A key that is there twice is most likely one that was to be another.
fn warn_of_doubles(table: &Table<'_>, keys: &[Secret]) {
    let is_same = |one: &Secret, other: &Secret| same(&one.sha256(), &other.sha256());
    for (number, key) in keys.iter().enumerate() {
        if let Some(earlier) = keys.iter().take(number).position(|earlier| is_same(earlier, key)) {
            table.warn(
                "keys",
                format!(
                    "[{number}] is the same key as [{earlier}]: where the vendor refuses one, there is no other to take"
                ),
            );
        }
    }
}

fn read_mount(value: &Value<'_>) -> Option<Mount> {
    if value.is_table() {
        let table = value.table()?;
        let host = table.required("host", "the host that this vendor has for itself")?;
        let name = host.text()?.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            host.problem(format!(
                "`{name}` must be the name of one host as clients send it, without scheme, port, path and pattern"
            ));
            return None;
        }
        return Some(Mount::Host(name));
    }
    let prefix = value.text()?;
    let is_plain = vendor::check(prefix).is_ok() && !prefix.contains(['{', '}']);
    if !is_plain || (prefix.len() > 1 && prefix.ends_with('/')) {
        value.problem(format!("`{prefix}` must be \"/\", a prefix such as \"/acme\", or {{ host = \"…\" }}"));
        return None;
    }
    Some(Mount::Prefix(prefix.to_owned()))
}

//! Text → settings that cannot be wrong.
//!
//! Each module reads its own section; this one puts them together and adds what shows only when all are known. After
//! [`load`] nobody checks configuration again.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::admin;
use crate::bot;
use crate::document::{Document, Environment, Problem, Problems, Table, utf8};
use crate::gateway;
use crate::id::hex;
use crate::listen;
use crate::secret::sha256;
use crate::store;
use crate::telemetry::audit;
use crate::token;
use crate::upstream::collector;

/// Everything that the configuration says.
#[derive(Debug)]
pub struct Settings {
    /// `[server]`: where to listen.
    pub listen: listen::Settings,
    /// `[server]`: who we are.
    pub gateway: gateway::Settings,
    /// `[admin]`: where operators call.
    pub admin: admin::Settings,
    /// `[tokens]`
    pub tokens: token::Settings,
    /// `[store]`
    pub store: store::Settings,
    /// `[audit]`
    pub audit: audit::Settings,
    /// `[traces]`
    pub traces: collector::Settings,
    /// `[vendors.*]`, `[bots.*]`, `[clients.*]`
    pub bots: bot::Settings,
    /// What is allowed in it and probably not meant.
    pub warnings: Vec<Problem>,
    /// The files that it is made of, besides its own.
    pub inputs: Vec<PathBuf>,
    /// What the sections say that hold for a process's whole life: digests, as secrets are in it.
    said: Vec<(&'static str, String)>,
}

impl Settings {
    /// What a process has for its whole life, by section or key: comparable, and not to be shown.
    pub fn fixed(&self) -> Vec<(&'static str, String)> {
        let listen = &self.listen;
        let mut fixed = vec![
            ("server.listen", listen.address.to_string()),
            ("server.workers", listen.workers.to_string()),
            ("server.tls, given or not", listen.tls.is_some().to_string()),
            ("server.proxy_protocol", listen.proxy_protocol.to_string()),
            ("server.timeouts of connections", format!("{:?}", listen.timeouts)),
            ("server.limits of connections", listen.bounds.configured()),
            ("server.drain", format!("{:?} {:?}", listen.notice, listen.drain)),
            ("server.public_url", self.gateway.public_url.clone()),
            ("server.api", self.gateway.api.clone()),
        ];
        fixed.extend(self.said.iter().cloned());
        fixed
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("keystile: {file} cannot be read: {source}; -c FILE names another")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it is wrong: all of it.
    #[error("{}", lines(.0))]
    Problems(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    text.push_str(&format!(
        "{} in the configuration",
        if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) }
    ));
    text
}

/// Reads the configuration file.
///
/// # Errors
///
/// The file cannot be read, or all that is wrong in it.
pub fn load(file: &Path) -> Result<Settings, ConfigError> {
    load_and_name(file).0
}

/// The same, and the files that it is made of besides its own, also where something is wrong in it or in them.
pub fn load_and_name(file: &Path) -> (Result<Settings, ConfigError>, Vec<PathBuf>) {
    let (name, environment) = (file.display().to_string(), Environment::process(folder_of(file)));
    let loaded = text_of(file, &name).and_then(|text| parse(&name, &text, &environment));
    (loaded, environment.inputs())
}

/// What is in the file, which problems call `name`.
fn text_of(file: &Path, name: &str) -> Result<String, ConfigError> {
    let bytes = std::fs::read(file).map_err(|source| ConfigError::Unreadable { file: name.to_owned(), source })?;
    let problems = Problems::default();
    utf8(name, bytes, &problems).ok_or_else(|| ConfigError::Problems(problems.into_sorted()))
}

/// Relative paths in `config/keystile.toml` start from the folder above `config`, where the project is; those of a file
/// elsewhere from its own folder.
fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().unwrap_or(Path::new(""));
    if folder.file_name().is_some_and(|name| name == "config") {
        folder.parent().unwrap_or(Path::new(""))
    } else {
        folder
    }
}

/// What the file says about tokens alone, and who issues them: for commands that look at keys and tokens, and need no
/// vendor's key.
///
/// # Errors
///
/// The file cannot be read, or what is wrong in `[server]` and `[tokens]`.
pub fn load_tokens(file: &Path) -> Result<(token::Settings, String), ConfigError> {
    // Sections that nobody knows count, too: `[token]` would mean other keys than those that were meant.
    let others = ["vendors", "bots", "clients", "store", "audit", "admin", "traces"];
    let settings = load_sections(file, |section| !others.contains(&section))?;
    Ok((settings.tokens, settings.gateway.public_url))
}

/// What the file says about the admin listener alone: for commands that call it, and need no vendor's key.
///
/// # Errors
///
/// The file cannot be read, or what is wrong in `[admin]`.
pub fn load_admin(file: &Path) -> Result<admin::Settings, ConfigError> {
    load_sections(file, |section| ["", "admin"].contains(&section)).map(|settings| settings.admin)
}

/// What the file says about the audit record alone: for the command that reads it, and needs no vendor's key.
///
/// # Errors
///
/// The file cannot be read, or what is wrong in `[audit]`.
pub fn load_audit(file: &Path) -> Result<audit::Settings, ConfigError> {
    load_sections(file, |section| ["", "audit"].contains(&section)).map(|settings| settings.audit)
}

/// The settings of a file that has no problem in the sections which `matter`, and what is no section; others may.
fn load_sections(file: &Path, matters: impl Fn(&str) -> bool) -> Result<Settings, ConfigError> {
    let name = file.display().to_string();
    let text = text_of(file, &name)?;
    let problems = Problems::default();
    let settings = read(&name, &text, &Environment::process(folder_of(file)), &problems);
    let mut problems = problems.into_sorted();
    problems.retain(|problem| problem.file == name && matters(problem.path.split('.').next().unwrap_or_default()));
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(ConfigError::Problems(problems)),
    }
}

/// Reads the configuration from `text`, which is that of `file`.
///
/// # Errors
///
/// All that is wrong in it.
pub fn parse(file: &str, text: &str, environment: &Environment) -> Result<Settings, ConfigError> {
    let problems = Problems::default();
    let settings = read(file, text, environment, &problems);
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(ConfigError::Problems(problems.into_sorted())),
    }
}

/// Reads what can be read, and notes what is wrong.
pub fn read(file: &str, text: &str, environment: &Environment, problems: &Problems) -> Option<Settings> {
    let document = Document::parse(file, text, problems)?;
    let root = document.root(problems);
    let server = root.section("server");
    let (timeouts, limits) = (server.section("timeouts"), server.section("limits"));
    let listen = listen::Settings::read(&server, &timeouts, &limits, environment);
    let gateway = gateway::Settings::read(&server, &timeouts, &limits);
    let mut said = Vec::new();
    let admin = noted("admin", &root, environment, &mut said, |table| {
        let settings = admin::Settings::read(table, environment);
        check_apart(&settings, listen.address, table);
        if let Some(admin::Place::Socket(path)) = &settings.place {
            check_made(path, "listen", table);
        }
        settings
    });
    let tokens =
        noted("tokens", &root, environment, &mut said, |table| token::Settings::read(table, environment.folder()));
    let store = noted("store", &root, environment, &mut said, |table| {
        let settings = store::Settings::read(table, environment);
        if let store::Place::Sqlite(path) = &settings.place {
            check_made(path, "url", table);
        }
        settings
    });
    check_fleet(&listen, &store, &server);
    let audit = noted("audit", &root, environment, &mut said, |table| {
        let settings = audit::Settings::read(table, environment);
        settings.file.iter().for_each(|path| check_made(path, "file", table));
        settings
    });
    let traces = noted("traces", &root, environment, &mut said, |table| collector::Settings::read(table, environment));
    let bots = bot::Settings::read(&root, environment, problems, tokens.default_ttl, &gateway.public_url);
    let longest = bots.longest_body();
    if longest > gateway.bodies {
        limits.problem(
            "bodies",
            format!("must hold one body of the longest that a bot or a profile allows: {longest} bytes"),
        );
    }
    drop((server, timeouts, limits));
    for (index, clash) in gateway::clashes(&bots.vendors, &gateway.api) {
        if let Some(vendor) = bots.vendors.get(index) {
            problems.add(file, vendor.line, &format!("vendors.{}.mount", vendor.name), clash.to_string());
        }
    }
    Some(Settings {
        listen,
        gateway,
        admin,
        tokens,
        store,
        audit,
        traces,
        bots,
        warnings: problems.warnings(),
        inputs: environment.inputs(),
        said,
    })
}

/// Clients and operators cannot be told apart at one address.
fn check_apart(admin: &admin::Settings, clients: SocketAddr, table: &Table<'_>) {
    let Some(admin::Place::Address(operators)) = admin.place else { return };
    let is_any = operators.ip().is_unspecified() || clients.ip().is_unspecified();
    if clients.port() == 0 || operators.port() != clients.port() || !(is_any || operators.ip() == clients.ip()) {
        return;
    }
    if admin.is_written {
        table.problem("listen", "is the address of server.listen; operators need another, such as \"127.0.0.1:9091\"");
    } else {
        table.warn(
            "listen",
            format!("is {operators} by default, which server.listen takes: there is no admin listener; write another, or \"off\""),
        );
    }
}

/// What is made at the start where it is not there needs a folder. That may be one which only the host has that the
/// configuration is for, so its absence is a warning.
fn check_made(path: &Path, key: &str, table: &Table<'_>) {
    if path.is_dir() {
        return table.problem(key, format!("{} is a directory; name a file", path.display()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_absent = match std::fs::metadata(folder) {
        Ok(metadata) => !metadata.is_dir(),
        Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    };
    if is_absent {
        let shown = folder.display();
        table.warn(key, format!("there is no folder {shown}, and the gateway makes none: it would not start here"));
    }
}

/// A balancer in front is hardly there for one process, and a file is for one host.
fn check_fleet(listen: &listen::Settings, store: &store::Settings, server: &Table<'_>) {
    let key = match (listen.proxy_protocol, listen.trusted.has_others()) {
        (true, _) => "proxy_protocol",
        (false, true) => "trusted_proxies",
        (false, false) => return,
    };
    if matches!(store.place, store::Place::Sqlite(_)) {
        server.warn(
            key,
            "says that there is a load balancer in front, and the store is a file for one host: gateways on several would \
             not share sessions, revocations and limits, so that what is ended at one goes on at the others. Write \
             store.url = \"redis://…\"; nothing is wrong if there is one process only",
        );
    }
}

/// Reads a section, and notes what it says, with what is in the files that it names.
fn noted<T>(
    name: &'static str,
    root: &Table<'_>,
    environment: &Environment,
    said: &mut Vec<(&'static str, String)>,
    read: impl FnOnce(&Table<'_>) -> T,
) -> T {
    let (table, before) = (root.section(name), environment.inputs().len());
    let settings = read(&table);
    let mut all = table.said().into_bytes();
    for file in environment.inputs().iter().skip(before) {
        // One that cannot be read is a problem of its own.
        all.extend(sha256(&std::fs::read(file).unwrap_or_default()));
    }
    said.push((name, hex(&sha256(&all))));
    settings
}

#[cfg(test)]
mod tests;

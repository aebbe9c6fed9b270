//! The rules of the configuration, one test each; and what the documented file says is true.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use toml::de::{DeTable, DeValue};

use super::*;
use crate::clock::{Clock, Timestamp};

/// The file that documents every key.
const DOCUMENTED: &str = include_str!("../../config/keystile.toml");

/// The page that everybody reads first.
const README: &str = include_str!("../../README.md");

/// The guide to profiles.
const GUIDE: &str = include_str!("../../docs/profiles.md");

/// Keys of a vendor's profile, which the guide documents.
const PROFILE_KEYS: &[&str] = &[
    "accept",
    "allow",
    "answer",
    "base_url",
    "body",
    "bot",
    "bot_id",
    "call",
    "code",
    "codes",
    "contact",
    "credential",
    "default",
    "error",
    "expired",
    "expires",
    "failure",
    "fields",
    "header",
    "identify",
    "json",
    "key",
    "limits",
    "message",
    "messages",
    "meta",
    "open",
    "options",
    "query",
    "refuse",
    "renew",
    "renews",
    "reply",
    "route",
    "scrub",
    "session",
    "session_type",
    "set",
    "status",
    "strip",
    "text",
    "title",
    "to",
    "token",
    "ttl",
    "vendor_token",
    "visit",
    "when",
    "who",
];

/// A configuration without problems, for tests that spoil it in one place.
const GOOD: &str = r#"
[server]
public_url = "https://chat.example.com"

[vendors.acme]
profile = "chatbotkit"
base_url = "https://api.example.com"
keys = [{ env = "KEY" }]

[bots.support]
vendor = "acme"
vendor_id = "bot_1"
visibility = "public"
origins = ["https://www.example.com"]
owners = ["website"]

[bots.staff]
vendor = "acme"
vendor_id = "bot_2"
visibility = "private"
owners = ["website"]

[clients.website]
secret_sha256 = "d2f0b3c1a49586776859a4b3c2d1e0f0d2f0b3c1a49586776859a4b3c2d1e0f0"
"#;

/// The place of the files that a configuration names.
fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn environment(folder: &Path) -> Environment {
    let key = "sk-0123456789abcdef";
    let variables = [("KEY", key), ("CHATBOTKIT_KEY", key), ("SHORT", "sk-0123"), ("PROXY", "user:0123456789abcdef")];
    Environment::given(folder, variables)
}

/// What is wrong with `text`, as the operator reads it.
fn problems_in(folder: &Path, text: &str) -> Vec<String> {
    match parse("test.toml", text, &environment(folder)) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(other @ ConfigError::Unreadable { .. }) => panic!("{other}"),
    }
}

fn problems(text: &str) -> Vec<String> {
    problems_in(folder().path(), text)
}

/// The only problem of the good configuration in which `from` reads `to`.
fn problem(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let found = problems(&GOOD.replacen(from, to, 1));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

#[track_caller]
fn has(problem: &str, parts: &[&str]) {
    for part in parts {
        assert!(problem.contains(part), "`{part}` is not in: {problem}");
    }
}

/// The documented file with every `# key = value` in force; without the lines that show an example if so told.
fn in_force(with_examples: bool) -> String {
    let line = |line: &str| {
        let commented = line.strip_prefix("# ").filter(|rest| {
            let key = rest.split_once('=').map(|(key, _)| key.trim_end()).unwrap_or_default();
            let is_key =
                !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte));
            is_key && (with_examples || !rest.contains("# an example"))
        });
        format!("{}\n", commented.unwrap_or(line))
    };
    DOCUMENTED.lines().map(line).collect()
}

/// All keys of a TOML text, but for the names that the user chose.
fn keys_of(text: &str) -> BTreeSet<String> {
    fn add(table: &DeTable<'_>, are_names: bool, keys: &mut BTreeSet<String>) {
        for (key, value) in table {
            let key = key.get_ref().to_string();
            if let DeValue::Table(inner) = value.get_ref() {
                add(inner, !are_names && ["vendors", "bots", "clients"].contains(&key.as_str()), keys);
            }
            if let DeValue::Array(items) = value.get_ref() {
                for item in items.iter() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        add(inner, false, keys);
                    }
                }
            }
            if !are_names {
                keys.insert(key);
            }
        }
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    assert!(errors.is_empty(), "{errors:?}");
    let mut keys = BTreeSet::new();
    add(table.get_ref(), false, &mut keys);
    keys
}

#[test]
fn the_documented_configuration_loads() {
    assert_eq!(problems(DOCUMENTED), [""; 0]);
    assert_eq!(problems(GOOD), [""; 0]);
}

#[test]
fn every_key_that_the_reader_asks_for_is_documented() {
    let text = in_force(true);
    let asked = Problems::default();
    read("test.toml", &text, &environment(folder().path()), &asked);
    let documented = keys_of(&text);
    let missing: Vec<String> = asked
        .known_keys()
        .into_iter()
        .filter(|key| !documented.contains(key) && !PROFILE_KEYS.contains(&key.as_str()))
        .collect();
    assert_eq!(missing, [""; 0], "config/keystile.toml does not document these");
    // A secret's place is one of two; the comment beside `keys` shows the other.
    assert!(DOCUMENTED.contains("{ file = \"PATH\" }"));
}

#[test]
fn no_key_is_documented_that_the_reader_does_not_know() {
    let found = problems(&in_force(true));
    // The examples name files and variables that are not there; that they were looked for says that the keys are known.
    let absent: [&[&str]; 11] = [
        &["server.tls: ", "certs/tls.crt cannot be read"],
        &["store.ca: ", "certs/redis-ca.crt cannot be read"],
        &["store.ca: ", "only a Redis at rediss://"],
        &["store.password: ", "a file has no password"],
        &["store.password.env: ", "REDIS_PASSWORD is not set"],
        &["traces.ca: ", "certs/collector-ca.crt cannot be read"],
        &["traces.client_cert: ", "certs/collector.crt cannot be read"],
        &["traces.headers.authorization.env: ", "OTLP_AUTHORIZATION is not set"],
        &["vendors.acme.ca: ", "certs/acme-ca.crt cannot be read"],
        &["vendors.acme.client_cert: ", "certs/acme.crt cannot be read"],
        &["vendors.acme.proxy_credentials.env: ", "ACME_PROXY is not set"],
    ];
    assert_eq!(found.len(), absent.len(), "{found:#?}");
    for (problem, parts) in found.iter().zip(absent) {
        has(problem, parts);
    }
}

#[test]
fn the_defaults_that_are_documented_are_the_defaults() {
    let folder = folder();
    let settings = |text: &str| parse("test.toml", text, &environment(folder.path())).unwrap();
    let (absent, written) = (settings(DOCUMENTED), settings(&in_force(false)));
    let shown = |settings: &Settings| {
        let bots = format!("{:?}", settings.bots);
        let timeouts = bots.split_once("timeouts: ").map(|(_, rest)| rest.split('}').next().unwrap().to_owned());
        let (_, bots) = bots.split_once("bots: [").unwrap();
        let listen = (settings.listen.address, settings.listen.tls.is_some(), &settings.admin.place);
        let (gateway, tokens, traces) = (&settings.gateway, &settings.tokens, &settings.traces);
        format!("{listen:?}\n{gateway:?}\n{tokens:?}\n{traces:?}\n{}\n{bots}", timeouts.unwrap())
    };
    assert_ne!(DOCUMENTED, in_force(false));
    assert_eq!(shown(&absent), shown(&written));
}

#[test]
fn every_key_of_a_profile_is_documented() {
    let asked = Problems::default();
    let given = crate::vendor::Options::default();
    for name in crate::vendor::built_in_names() {
        crate::vendor::read(name, name, crate::vendor::built_in(name).unwrap(), &given, &asked);
    }
    let known = asked.known_keys();
    assert_eq!(known.iter().map(String::as_str).collect::<Vec<_>>(), PROFILE_KEYS);
    // What is said about a key counts, not an example that has it.
    let words: String = GUIDE.split("```").step_by(2).collect();
    for key in &known {
        let is_named = ["`", ".", "["]
            .iter()
            .any(|before| ["`", ".", "]"].iter().any(|after| words.contains(&format!("{before}{key}{after}"))));
        assert!(is_named, "docs/profiles.md does not name `{key}`");
    }
}

#[test]
fn the_configuration_in_the_readme_loads() {
    let block = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(problems(block), [""; 0]);
}

#[test]
fn every_error_is_in_the_readmes_table() {
    for code in crate::fault::Code::ALL {
        let is_there = README.lines().any(|line| {
            line.starts_with(&format!("| {} |", code.status().as_u16())) && line.contains(&format!("`{}`", code.name()))
        });
        assert!(is_there, "README.md does not have {} with `{}`", code.status().as_u16(), code.name());
    }
}

#[test]
fn every_problem_is_reported_at_once_with_its_path_and_line() {
    let broken = r#"[server]
listen = "everywhere"
public_url = "http://chat.example.com"
api = "v1/"
workers = 0
failed_credentials = "many"
drian = "30s"

[tokens]
algorithm = "none"
default_ttl = "10m"
contact = 7

[vendors.acme]
profile = "chatbotkid"
base_url = "http://api.example.com"
keys = [{ env = "NOWHERE" }, "sk-0123456789abcdef"]
mount = "acme/"
timeouts = { connect = "0s", header = "soon" }

[vendors.other]
keys = []

[bots."the support"]
vendor = "acne"
vendor_id = "bot_1"
visibility = "secret"
owners = ["nobody"]
ttl = { default = "2h", max = "1h" }
limits = { mint_per_ip = "30", streams = 0, body = "lots" }

[clients.public]
secret_sha256 = "abc"

[clients.website]
browser = "yes"
"#;
    let found = problems(broken);
    assert_eq!(found, EXPECTED, "{found:#?}");
}

/// What is wrong with the thoroughly broken configuration.
const EXPECTED: &[&str] = &[
    "test.toml:2: server.listen: must be an address and a port, such as \"127.0.0.1:8080\" or \"[::]:8443\"",
    "test.toml:3: server.public_url: `http://chat.example.com` must be https: tokens travel to it (http only for this machine itself)",
    "test.toml:4: server.api: `v1/` must be a prefix such as \"/v1\"",
    "test.toml:5: server.workers: must be an integer from 1 to 1024",
    "test.toml:6: server.failed_credentials: `many` is not a rate; write how many in which time, such as \"30/1m\", or \"off\"",
    "test.toml:7: server.drian: is not a key here; the keys are: api, drain, drain_notice, failed_credentials, insecure, limits, listen, proxy_protocol, public_url, timeouts, tls, trusted_proxies, workers",
    "test.toml:10: tokens.algorithm: `none` must be \"EdDSA\", \"ES256\", \"RS256\" or \"HS256\"",
    "test.toml:11: tokens.default_ttl: must be from 30m to 24h, both inclusive, in whole seconds",
    "test.toml:12: tokens.contact: must be a string, not an integer",
    "test.toml:15: vendors.acme.profile: there is no built-in profile `chatbotkid`; there are `aichatbothub`, `chatbotkit`, `directline`, `genesys`, `hottask`, `openai`, `superseek`. Or name the path of a file, with a `/` or a `.` in it",
    "test.toml:17: vendors.acme.keys[0].env: the environment variable NOWHERE is not set; set it to the secret",
    "test.toml:17: vendors.acme.keys[1]: a secret is never written here; write { env = \"NAME\" } or { file = \"PATH\" }",
    "test.toml:18: vendors.acme.mount: `acme/` must be \"/\", a prefix such as \"/acme\", or { host = \"…\" }",
    "test.toml:19: vendors.acme.timeouts.connect: must be longer than nothing",
    "test.toml:19: vendors.acme.timeouts.header: `soon` is not a duration; write a number and ms, s, m, h or d, such as \"30m\"",
    "test.toml:21: vendors.other.profile: is missing: a built-in profile's name, or a path to one",
    "test.toml:22: vendors.other.keys: must hold at least one key, such as [{ env = \"VENDOR_KEY\" }]",
    "test.toml:24: bots.the support: a bot's name is made of letters, digits, . _ ~ and -, at most 128",
    "test.toml:25: bots.the support.vendor: there is no [vendors.acne]; there are: acme, other",
    "test.toml:27: bots.the support.visibility: `secret` must be \"public\" or \"private\"",
    "test.toml:28: bots.the support.owners: there is no [clients.nobody]; `keystile client new nobody` makes one",
    "test.toml:29: bots.the support.ttl.default: must not be longer than ttl.max",
    "test.toml:30: bots.the support.limits.body: `lots` is not a size; write a number and B, KiB, MiB or GiB, such as \"256KiB\"",
    "test.toml:30: bots.the support.limits.mint_per_ip: `30` is not a rate; write how many in which time, such as \"30/1m\", or \"off\"",
    "test.toml:30: bots.the support.limits.streams: must be an integer from 1 to 100000",
    "test.toml:32: clients.public: a client's name is made of letters, digits, - and _, at most 64, and is not `public`",
    "test.toml:33: clients.public.secret_sha256: must be the 64 hexadecimal digits that `keystile client new public` prints as secret_sha256",
    "test.toml:35: clients.website.secret_sha256: is missing: what `keystile client new website` prints",
    "test.toml:36: clients.website.browser: must be true or false, not a string",
];

#[test]
fn a_missing_secret_is_told_by_its_variable() {
    has(&problem("env = \"KEY\"", "env = \"NOWHERE\""), &["test.toml:8: vendors.acme.keys[0]", "NOWHERE is not set"]);
    has(&problem("keys = [{ env = \"KEY\" }]", ""), &["vendors.acme.keys: is missing", "{ env = "]);
    has(&problem("[{ env = \"KEY\" }]", "[]"), &["vendors.acme.keys: must hold at least one key"]);
}

#[test]
fn a_secret_that_is_too_short_to_be_scrubbed_is_refused() {
    has(&problem("env = \"KEY\"", "env = \"SHORT\""), &["vendors.acme.keys[0]", "shorter than 16 bytes"]);
}

#[test]
fn a_vendors_address_has_a_port_that_exists() {
    let base = "base_url = \"https://api.example.com\"";
    for wrong in ["https://api.example.com:99999", "https://api.example.com:", "https://[::1]:65536"] {
        has(&problem(base, &format!("base_url = \"{wrong}\"")), &["vendors.acme.base_url", wrong, "port"]);
    }
    for right in ["https://api.example.com:8443/v2", "https://[::1]:65535", "https://[::1]"] {
        let text = GOOD.replacen(base, &format!("base_url = \"{right}\""), 1);
        assert_eq!(problems(&text), [""; 0], "{right}");
    }
}

#[test]
fn a_secret_in_the_configuration_itself_is_refused_and_not_repeated() {
    let found = problem("{ env = \"KEY\" }", "\"sk-inline-0123456789\"");
    has(&found, &["vendors.acme.keys[0]", "never written here", "{ file = "]);
    assert!(!found.contains("sk-inline"));
}

#[test]
fn a_key_file_that_everybody_can_read_is_refused() {
    let folder = folder();
    let file = folder.path().join("vendor.key");
    std::fs::write(&file, "sk-0123456789abcdef\n").unwrap();
    let text = GOOD.replace("{ env = \"KEY\" }", "{ file = \"vendor.key\" }");
    for (mode, is_good) in [(0o600, true), (0o640, true), (0o644, false), (0o604, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let found = problems_in(folder.path(), &text);
        assert_eq!(found.is_empty(), is_good, "{mode:o}: {found:?}");
        if let [only] = found.as_slice() {
            has(only, &["vendors.acme.keys[0]", "can be read by everybody", "chmod 600"]);
        }
    }
    std::fs::remove_file(&file).unwrap();
    has(&problems_in(folder.path(), &text)[0], &["vendors.acme.keys[0]", "cannot be read"]);
}

#[test]
fn plain_http_on_a_public_address_needs_an_explicit_word() {
    let server = "[server]\n";
    for address in ["0.0.0.0:8080", "192.0.2.1:80", "[::]:8080"] {
        let found = problem(server, &format!("[server]\nlisten = \"{address}\"\n"));
        has(&found, &["server.listen", "plain HTTP", "tls = ", "127.0.0.1", "insecure = true"]);
    }
    for lines in
        ["listen = \"0.0.0.0:8080\"\ninsecure = true\n", "listen = \"[::1]:8080\"\n", "listen = \"127.0.0.2:80\"\n"]
    {
        assert_eq!(problems(&GOOD.replace(server, &format!("{server}{lines}"))), [""; 0]);
    }
}

#[test]
fn a_public_url_is_https_but_for_this_machine() {
    let good = "\"https://chat.example.com\"";
    has(&problem(good, "\"http://chat.example.com\""), &["server.public_url", "must be https"]);
    for wrong in
        ["https://chat.example.com/", "chat.example.com", "https://chat.example.com/chat", "ftp://chat.example.com"]
    {
        has(&problem(good, &format!("\"{wrong}\"")), &["server.public_url", "must be scheme and host"]);
    }
    for right in ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"] {
        assert_eq!(problems(&GOOD.replace(good, &format!("\"{right}\""))), [""; 0], "{right}");
    }
    has(&problem("public_url = \"https://chat.example.com\"", ""), &["server.public_url: is missing"]);
}

/// A second vendor with the same profile: each of its calls is at a path of the first one's.
const SECOND: &str = "\n[vendors.second]\nprofile = \"chatbotkit\"\nkeys = [{ env = \"KEY\" }]\n";

#[test]
fn two_vendors_with_one_path_are_refused_with_the_ways_out() {
    let found = problems(&format!("{GOOD}{SECOND}"));
    assert!(!found.is_empty());
    for problem in &found {
        has(
            problem,
            &["vendors.second.mount", "is also of vendors.acme", "mount = \"/name\"", "mount = { host = \"…\" }"],
        );
    }
    has(&found[0], &["`POST /api/v1/"]);
}

#[test]
fn a_prefix_or_a_host_of_its_own_ends_a_clash() {
    for mount in ["\"/second\"", "{ host = \"second.example.com\" }"] {
        assert_eq!(problems(&format!("{GOOD}{SECOND}mount = {mount}\n")), [""; 0], "{mount}");
    }
    let both = GOOD.replace("[vendors.acme]\n", "[vendors.acme]\nmount = { host = \"second.example.com\" }\n");
    assert!(!problems(&format!("{both}{SECOND}mount = {{ host = \"SECOND.example.com\" }}\n")).is_empty());
}

#[test]
fn a_host_of_its_own_is_one_name() {
    for host in ["*.example.com", "münchen.example", "https://second.example.com", "second.example.com:443", ""] {
        let found = problems(&format!("{GOOD}{SECOND}mount = {{ host = \"{host}\" }}\n"));
        assert_eq!(found.len(), 1, "{host}: {found:#?}");
        has(&found[0], &["vendors.second.mount.host", "must be the name of one host", "without scheme, port, path"]);
    }
}

#[test]
fn a_vendor_does_not_stand_where_the_gateways_own_calls_are() {
    let folder = folder();
    let profile = "title = \"Own\"\n[[route]]\ncall = \"POST /Bots/{bot}/sessions\"\n";
    std::fs::write(folder.path().join("own.toml"), profile).unwrap();
    let vendor = "\n[vendors.own]\nprofile = \"./own.toml\"\nbase_url = \"https://own.example.com\"\nkeys = [{ env = \"KEY\" }]\n";
    let found = problems_in(folder.path(), &format!("{GOOD}{vendor}mount = \"/v1\"\n"));
    assert_eq!(found.len(), 1, "{found:#?}");
    has(&found[0], &["vendors.own.mount", "is also the gateway's own"]);
    assert_eq!(problems_in(folder.path(), &format!("{GOOD}{vendor}")), [""; 0]);
}

#[test]
fn a_private_bot_needs_an_owner() {
    let found = problem("visibility = \"private\"\nowners = [\"website\"]", "visibility = \"private\"");
    has(&found, &["bots.staff.owners", "private bot without owners"]);
    has(
        &problem("owners = [\"website\"]", "owners = [\"webside\"]"),
        &["bots.support.owners", "no [clients.webside]", "keystile client new"],
    );
}

#[test]
fn a_public_bot_needs_origins() {
    has(&problem("origins = [\"https://www.example.com\"]\n", ""), &["bots.support.origins: is missing"]);
    has(&problem("https://www.example.com", "http://www.example.com"), &["bots.support.origins", "plain HTTP"]);
}

#[test]
fn a_public_bot_needs_limits() {
    for limit in ["mint_per_ip", "per_bot"] {
        let found = problem("owners = [", &format!("limits = {{ {limit} = \"off\" }}\nowners = ["));
        has(&found, &["bots.support.limits", "needs mint_per_ip and per_bot"]);
    }
    let private = GOOD.replace(
        "visibility = \"private\"",
        "visibility = \"private\"\nlimits = { mint_per_ip = \"off\", per_bot = \"off\" }",
    );
    assert_eq!(problems(&private), [""; 0]);
}

#[test]
fn every_origin_is_allowed_only_with_limits_that_are_written_out() {
    let origins = "origins = [\"https://www.example.com\"]";
    has(
        &problem(origins, "origins = [\"*\"]"),
        &["bots.support.origins", "every page in the world", "limits.mint_per_ip"],
    );
    has(&problem(origins, "origins = [\"*\"]\nlimits = { per_bot = \"60/1m\" }"), &["bots.support.origins"]);
    let written = "origins = [\"*\"]\nlimits = { mint_per_ip = \"3/1m\", per_bot = \"60/1m\" }";
    assert_eq!(problems(&GOOD.replace(origins, written)), [""; 0]);
}

#[test]
fn a_ttl_is_from_half_an_hour_to_a_day() {
    let owners = "owners = [\"website\"]\n\n[bots.staff]";
    let ttl = |ttl: &str| GOOD.replace(owners, &format!("ttl = {{ {ttl} }}\n{owners}"));
    for good in ["default = \"30m\", max = \"24h\"", "default = \"1d\"", "max = \"30m\""] {
        assert_eq!(problems(&ttl(good)), [""; 0], "{good}");
    }
    for (wrong, path) in [
        ("default = \"29m\"", "bots.support.ttl.default"),
        ("max = \"25h\"", "bots.support.ttl.max"),
        ("max = \"1799s\"", "bots.support.ttl.max"),
        ("default = \"1800500ms\"", "bots.support.ttl.default"),
    ] {
        let found = problems(&ttl(wrong));
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
        has(&found[0], &[path, "30m", "24h"]);
    }
    has(
        &problems(&ttl("default = \"2h\", max = \"1h\""))[0],
        &["bots.support.ttl.default", "must not be longer than ttl.max"],
    );
    has(
        &problem("[vendors.acme]", "[tokens]\ndefault_ttl = \"29m\"\n[vendors.acme]"),
        &["tokens.default_ttl", "30m", "24h"],
    );
}

#[test]
fn an_unknown_key_is_refused_with_what_was_meant() {
    has(&problem("[server]", "[servre]\n[server]"), &["test.toml:2: servre: is not a key here", "the keys are: "]);
    has(
        &problem("[server]\n", "[server]\nworker = 4\n"),
        &["server.worker: is not a key here; did you mean `workers`?"],
    );
    has(&problem("owners = [", "owner = [\"website\"]\nowners = ["), &["bots.support.owner", "did you mean `owners`?"]);
    has(
        &problem("owners = [", "limits = { perbot = \"1/1s\" }\nowners = ["),
        &["bots.support.limits.perbot", "did you mean `per_bot`?"],
    );
    has(
        &problem("[clients.website]", "[identity.corp]\nissuer = \"x\"\n[clients.website]"),
        &["identity: is not a key here"],
    );
}

#[test]
fn a_vendor_off_this_machine_is_reached_by_https_or_with_an_explicit_word() {
    let base = "base_url = \"https://api.example.com\"";
    has(
        &problem(base, "base_url = \"http://api.example.com\""),
        &["vendors.acme.base_url", "in clear text", "insecure = true"],
    );
    for right in
        ["base_url = \"http://127.0.0.1:9000/v2\"", "base_url = \"http://api.example.com\"\ninsecure = true", ""]
    {
        assert_eq!(problems(&GOOD.replace(base, right)), [""; 0], "{right}");
    }
    has(
        &problem(base, "base_url = \"https://user:password@api.example.com\""),
        &["vendors.acme.base_url", "user or password"],
    );
    has(&problem(base, "base_url = \"api.example.com\""), &["vendors.acme.base_url", "must be a URL"]);
}

#[test]
fn a_vendor_at_a_link_local_or_metadata_address_is_refused() {
    for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "100.100.100.200", "[fd00:ec2::254]"] {
        for scheme in ["https", "http"] {
            let url = format!("base_url = \"{scheme}://{host}\"\ninsecure = true");
            let found = problem("base_url = \"https://api.example.com\"", &url);
            has(&found, &["vendors.acme.base_url", "link-local or metadata", "no connection goes there"]);
        }
    }
    has(&problem("https://api.example.com", "https://0.0.0.0"), &["vendors.acme.base_url", "no address of a host"]);
}

#[test]
fn what_a_vendor_is_reached_by_is_checked_when_it_is_read() {
    let folder = folder();
    let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["b.test".to_owned()]).unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("a.crt", &made.cert.pem(), 0o644);
    write("a.key", &made.signing_key.serialize_pem(), 0o600);
    write("open.key", &made.signing_key.serialize_pem(), 0o644);
    write("b.key", &other.signing_key.serialize_pem(), 0o600);
    write("empty.crt", "", 0o644);
    let with =
        |lines: &str| problems_in(folder.path(), &GOOD.replace("[bots.support]", &format!("{lines}\n[bots.support]")));
    for good in [
        "ca = \"a.crt\"",
        "client_cert = { cert = \"a.crt\", key = \"a.key\" }",
        "proxy = \"http://proxy.example.com:3128\"",
        "proxy = \"http://10.0.0.1\"\nproxy_credentials = { env = \"PROXY\" }",
    ] {
        assert_eq!(with(good), [""; 0], "{good}");
    }
    for (wrong, parts) in [
        ("ca = \"none.crt\"", &["vendors.acme.ca", "cannot be read"][..]),
        ("ca = \"empty.crt\"", &["vendors.acme.ca", "holds no certificate"]),
        ("ca = 1", &["vendors.acme.ca", "must be a string"]),
        ("client_cert = { cert = \"a.crt\" }", &["vendors.acme.client_cert.key", "is missing"]),
        ("client_cert = { cert = \"a.crt\", key = \"open.key\" }", &["client_cert", "can be read by everybody"]),
        ("client_cert = { cert = \"a.crt\", key = \"b.key\" }", &["vendors.acme", "is `client_cert` a pair?"]),
        ("proxy = \"https://proxy.example.com\"", &["vendors.acme.proxy", "must be a proxy such as"]),
        ("proxy = \"http://user:word@proxy.example.com\"", &["vendors.acme.proxy", "proxy_credentials"]),
        ("proxy = \"http://169.254.169.254\"", &["vendors.acme.proxy", "link-local"]),
        ("proxy_credentials = { env = \"PROXY\" }", &["vendors.acme.proxy_credentials", "without `proxy`"]),
        ("proxy = \"http://p\"\nproxy_credentials = { env = \"KEY\" }", &["proxy_credentials", "user:password"]),
        ("verify = false", &["vendors.acme.verify: is not a key here"]),
    ] {
        let found = with(wrong);
        assert_eq!(found.len(), 1, "{wrong}: {found:#?}");
        has(&found[0], parts);
    }
}

#[test]
fn bots_of_a_vendor_share_one_name_space() {
    has(
        &problem("vendor_id = \"bot_2\"", "vendor_id = \"bot_1\""),
        &["bots.staff", "shares a name or vendor_id with bots.support"],
    );
    has(
        &problem("vendor_id = \"bot_2\"", "vendor_id = \"support\""),
        &["bots.staff", "shares a name or vendor_id with bots.support"],
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    has(&problems("[server]\nlisten = \n")[0], &["test.toml:2: not TOML"]);
}

#[test]
fn what_could_never_work_is_refused_with_the_way_out() {
    let api = problem("[server]", "[server]\napi = \"/:v1\"");
    has(&api, &["server.api", "must be a prefix such as"]);
    for url in ["https://user:secret@chat.example.com", "https://chat.example.com:99999"] {
        has(&problem("https://chat.example.com", url), &["server.public_url", "without user"]);
    }
    for id in ["..", "."] {
        has(&problem("\"bot_1\"", &format!("\"{id}\"")), &["bots.support.vendor_id", "no id"]);
    }
    has(
        &problem("https://www.example.com", "https://www.example.com:443"),
        &["bots.support.origins", "is not an origin"],
    );
}

#[test]
fn what_is_wrong_with_a_client_is_not_told_again_of_the_bots_that_it_owns() {
    let digest = GOOD.lines().find(|line| line.starts_with("secret_sha256")).unwrap();
    let found = problems(&GOOD.replace(digest, "secret_sha256 = \"short\""));
    assert_eq!(found.len(), 1, "{found:#?}");
    has(&found[0], &["clients.website.secret_sha256"]);
}

/// What is allowed in `text` and probably not meant.
fn warnings(text: &str) -> Vec<String> {
    let settings = parse("test.toml", text, &environment(folder().path())).unwrap();
    settings.warnings.iter().map(ToString::to_string).collect()
}

/// The only warning about the good configuration in which `from` reads `to`.
fn warning(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let found = warnings(&GOOD.replacen(from, to, 1));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

#[test]
fn a_file_as_store_behind_a_load_balancer_is_a_warning() {
    let server = "[server]\n";
    for (lines, key) in [
        ("trusted_proxies = [\"10.0.0.0/8\"]\n", "server.trusted_proxies"),
        ("trusted_proxies = [\"127.0.0.1\", \"2001:db8::/32\"]\n", "server.trusted_proxies"),
        ("trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true\n", "server.proxy_protocol"),
    ] {
        let found = warning(server, &format!("{server}{lines}"));
        has(&found, &["test.toml:", key, "not share sessions, revocations and limits", "redis://", "one process"]);
        let with_redis = format!("[store]\nurl = \"redis://127.0.0.1\"\n{server}{lines}");
        assert_eq!(warnings(&GOOD.replacen(server, &with_redis, 1)), [""; 0], "{lines}");
    }
    let here = format!("{server}trusted_proxies = [\"127.0.0.0/8\", \"::1\"]\n");
    assert_eq!(warnings(&GOOD.replacen(server, &here, 1)), [""; 0]);
}

#[test]
fn a_certificate_that_clients_would_refuse_is_a_warning() {
    let folder = folder();
    let mut params = rcgen::CertificateParams::new(vec!["www.example.com".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(folder.path().join("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.path().join("tls.key"), key.serialize_pem()).unwrap();
    std::fs::set_permissions(folder.path().join("tls.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let tls = "[server]\ntls = { cert = \"tls.crt\", key = \"tls.key\" }\n";
    let warnings = |text: &str, now: u64| {
        let clock = Clock::manual(Timestamp::from_seconds(now));
        let settings = parse("test.toml", text, &environment(folder.path()).at(clock)).unwrap();
        settings.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let text = GOOD.replacen("[server]\n", tls, 1);
    let found = warnings(&text, 1_800_000_000);
    assert_eq!(found.len(), 2, "{found:?}");
    has(&found[0], &["test.toml:3: server.tls.cert: has expired: it ended at 2027-01-01T00:00:00Z"]);
    has(&found[1], &["server.tls.cert: is not for chat.example.com, the host of public_url"]);
    assert_eq!(warnings(&text.replace("chat.example.com", "www.example.com"), 1_790_000_000), [""; 0]);
}

#[test]
fn a_value_of_another_kind_is_one_problem() {
    let traces = "[traces]\nendpoint = \"http://127.0.0.1:4318\"\nsample = 0.01\n[server]\n";
    has(&problem("[server]\n", traces), &["traces.sample: must be a share of all traces, such as \"1%\", not a float"]);
    has(&problem("[server]\n", "[server]\ntls = true\n"), &["server.tls: must be a table, not a boolean"]);
    has(&problem("{ env = \"KEY\" }", "{ env = \"\" }"), &["keys[0].env: no environment variable has this name"]);
}

#[test]
fn a_place_holder_in_the_place_of_a_digest_is_a_warning() {
    let digest = GOOD.lines().find(|line| line.starts_with("secret_sha256")).unwrap();
    let zeros = "0".repeat(64);
    let found = warning(digest, &format!("secret_sha256 = \"{zeros}\""));
    has(&found, &["clients.website.secret_sha256", "place-holder", "`keystile client new website`"]);
    let list = digest.replacen("= ", "= [", 1);
    assert_eq!(warnings(&GOOD.replacen(digest, &format!("{list}, \"{zeros}\"]"), 1)).len(), 1);
    let admin = format!("[admin]\nsecret_sha256 = \"{zeros}\"\n[server]\n");
    has(&warning("[server]\n", &admin), &["admin.secret_sha256", "`keystile client new admin`"]);
}

#[test]
fn a_vendors_key_that_is_there_twice_is_a_warning_and_not_shown() {
    let found = warning("{ env = \"KEY\" }", "{ env = \"KEY\" }, { env = \"PROXY\" }, { env = \"CHATBOTKIT_KEY\" }");
    has(&found, &["vendors.acme.keys", "[2] is the same key as [0]"]);
    assert!(!found.contains("0123456789"), "{found}");
}

#[test]
fn a_configuration_without_vendors_or_bots_is_a_warning() {
    let (server, rest) = GOOD.split_once("[vendors.acme]").unwrap();
    let found = warnings(server);
    assert_eq!(found.len(), 1, "{found:?}");
    has(&found[0], &["vendors: there is none"]);
    let (vendor, _) = rest.split_once("[bots.").unwrap();
    let found = warnings(&format!("{server}[vendors.acme]{vendor}"));
    assert_eq!(found.len(), 1, "{found:?}");
    has(&found[0], &["bots: there is none", "nobody can open a session"]);
}

#[test]
fn operators_and_clients_do_not_share_an_address() {
    let both = |server: &str, admin: &str| format!("[admin]\nlisten = \"{admin}\"\n[server]\nlisten = \"{server}\"\n");
    let found = problem("[server]\n", &both("127.0.0.1:9091", "127.0.0.1:9091"));
    has(&found, &["test.toml:3: admin.listen", "is the address of server.listen"]);
    // All addresses are that one, too.
    let found = problem(
        "[server]\n",
        &both("127.0.0.1:9091", "[::]:9091\"\nsecret_sha256 = \"")
            .replace(" = \"\"", &format!(" = \"{}\"", "ab".repeat(32))),
    );
    has(&found, &["admin.listen", "is the address of server.listen"]);
    for apart in [both("127.0.0.1:0", "127.0.0.1:0"), both("127.0.0.1:9091", "127.0.0.1:9092")] {
        assert_eq!(problems(&GOOD.replacen("[server]\n", &apart, 1)), [""; 0]);
    }
    let found = warning("[server]\n", "[server]\nlisten = \"127.0.0.1:9090\"\n");
    has(&found, &["admin.listen", "127.0.0.1:9090 by default", "no admin listener"]);
}

#[test]
fn a_session_that_could_use_up_its_bot_is_a_warning_and_no_problem() {
    let warnings = |limits: &str| {
        warnings(&GOOD.replacen("vendor_id = \"bot_2\"", &format!("vendor_id = \"bot_2\"\nlimits = {{ {limits} }}"), 1))
    };
    for fair in ["per_bot = \"61/1m\"", "per_bot = \"off\", per_session = \"off\"", "per_session = \"100/1h\""] {
        assert_eq!(warnings(fair), [""; 0], "{fair}");
    }
    for greedy in
        ["per_bot = \"60/1m\"", "per_session = \"off\"", "per_session = \"20/1s\"", "per_session = \"600/1h\""]
    {
        let found = warnings(greedy);
        assert_eq!(found.len(), 1, "{greedy}: {found:?}");
        has(&found[0], &["test.toml:", "bots.staff.limits.per_session: is ", "one session could use up the bot"]);
    }
}

/// The good configuration with another vendor of this profile and these options.
fn with_options(profile: &str, options: &str) -> String {
    format!(
        "{GOOD}\n[vendors.other]\nprofile = \"{profile}\"\nbase_url = \"https://other.example.com\"\nmount = \"/other\"\n\
         keys = [{{ env = \"KEY\" }}]\noptions = {{ {options} }}\n"
    )
}

#[test]
fn a_wrong_option_is_one_problem_at_the_users_own_line() {
    for (options, path, says) in [
        ("key_header = \"X Y\"", "key_header", &["does not fit in the profile: profile genesys:", "`X Y` is not"][..]),
        ("key_header = \"\"", "key_header", &["is empty, and needs a value in the profile: profile genesys:"]),
        ("key_header = \"gkc_agentId\", agent = \"a\"", "key_header", &["`gkc_agentid` is set twice"]),
        ("session_id = \"a~b\"", "session_id", &["`/a~b` must be a JSON pointer"]),
        ("customer = \"{foo}\"", "customer", &["`{foo}`", "{contact.email}", "no other placeholders"]),
        ("customer = \"{key}\"", "customer", &["`{key}`", "no other placeholders"]),
    ] {
        let text = with_options("genesys", options);
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{options}: {found:#?}");
        let line = text.lines().count();
        has(&found[0], &[&format!("test.toml:{line}: vendors.other.options.{path}: ")]);
        has(&found[0], says);
        let bot =
            "\n[bots.other]\nvendor = \"other\"\nvendor_id = \"1\"\nvisibility = \"private\"\nowners = [\"website\"]";
        let text = format!("{}{bot}\noptions = {{ {options} }}\n", with_options("genesys", ""));
        let found = problems(&text);
        assert!(!found.is_empty(), "{options}");
        has(&found[0], &[&format!("test.toml:{}: bots.other.options.{path}: ", text.lines().count())]);
        has(&found[0], says);
    }
    let both = problems(&with_options("genesys", "key_header = \"X Y\", customer = \"{foo}\""));
    assert_eq!(both.len(), 2, "{both:#?}");
}

#[test]
fn a_number_of_a_bot_is_written_as_its_vendor_writes_it() {
    let with = |id: &str| {
        let bot = format!("[bots.other]\nvendor = \"other\"\nvendor_id = \"{id}\"\nvisibility = \"private\"\n");
        problems(&format!("{}{bot}owners = [\"website\"]\n", with_options("superseek", "")))
    };
    assert!(with("7").is_empty(), "{:?}", with("7"));
    // Of two that are one number the vendor has one bot.
    for id in ["007", "+7", "7.0", "seven"] {
        has(&with(id)[0], &["bots.other.vendor_id: ", "must be a number, in quotes", "without sign or leading zeros"]);
    }
}

#[test]
fn what_is_wrong_with_a_profile_is_not_laid_to_its_options() {
    let folder = folder();
    let profile = "title = \"Own\"\n[options]\nkey_header = { default = \"X-Key\" }\n[[route]]\ncall = \"GET /own\"\n\
                   set.header = { \"{option.key_header}\" = \"{kee}\" }\n";
    std::fs::write(folder.path().join("own.toml"), profile).unwrap();
    let found = problems_in(folder.path(), &with_options("./own.toml", "key_header = \"X-Other\""));
    assert_eq!(found.len(), 1, "{found:#?}");
    has(&found[0], &["./own.toml:6: route[0].set.header.", "{kee} is not a placeholder"]);
    // Nor to those of a bot, where the vendor's own reading goes on.
    std::fs::write(folder.path().join("own.toml"), profile.replace("{kee}", "{bot}").replace("call", "mood = 1\ncall"))
        .unwrap();
    let bot = "[bots.other]\nvendor = \"other\"\nvendor_id = \"1\"\nvisibility = \"private\"\nowners = [\"website\"]\n\
               options = { key_header = \"X-Bots\" }\n";
    let found = problems_in(folder.path(), &format!("{}{bot}", with_options("./own.toml", "")));
    assert_eq!(found.len(), 1, "{found:#?}");
    has(&found[0], &["./own.toml:5: route[0].mood: is not a key here"]);
}

#[test]
fn an_option_has_the_type_of_its_default() {
    for (profile, options, says) in [
        ("openai", "max_output_tokens = \"abc\"", "must be an integer, as its default 4096 is, not a string"),
        ("openai", "max_output_tokens = -1", "must not be negative; its default is 4096"),
        ("openai", "max_output_tokens = true", "must be an integer, as its default 4096 is, not true or false"),
        ("genesys", "tenant = 5", "must be a string, as its default \"\" is, not an integer"),
        ("genesys", "tenant = []", "must be a string, an integer, true or false"),
    ] {
        let found = problems(&with_options(profile, options));
        assert_eq!(found.len(), 1, "{options}: {found:#?}");
        has(&found[0], &["test.toml:", "vendors.other.options.", says]);
    }
    assert_eq!(problems(&with_options("openai", "max_output_tokens = 100")), [""; 0]);
}

#[test]
fn a_count_that_may_be_off_says_so() {
    for (written, says) in [
        (
            "streams = \"4\"",
            "bots.support.limits.streams: must be an integer from 1 to 100000, without quotes, or \"off\"",
        ),
        ("sessions_per_ip = \"no\"", "bots.support.limits.sessions_per_ip: must be an integer from 1 to 100000"),
        ("per_bot = 600", "bots.support.limits.per_bot: must be a rate such as \"30/1m\", or \"off\", not an integer"),
    ] {
        has(&problem("owners = [", &format!("limits = {{ {written} }}\nowners = [")), &[says]);
    }
    let digest = GOOD.lines().find(|line| line.starts_with("secret_sha256")).unwrap();
    has(&problem(digest, "secret_sha256 = 5"), &["must be a string or an array of strings, not an integer"]);
}

#[test]
fn a_file_that_is_not_utf8_is_told_with_its_line() {
    let folder = folder();
    let (file, profile) = (folder.path().join("keystile.toml"), folder.path().join("own.toml"));
    std::fs::write(&file, b"[server]\n# f\xfcr\n").unwrap();
    for loaded in [load(&file).err(), load_tokens(&file).err(), load_admin(&file).err()] {
        let Some(ConfigError::Problems(found)) = loaded else { panic!("{loaded:?}") };
        assert_eq!(found.len(), 1, "{found:?}");
        has(&found[0].to_string(), &["keystile.toml:2: not UTF-8", "byte 4 of this line is 0xFC"]);
    }
    std::fs::write(&profile, b"title = \"\xfc\"\n").unwrap();
    let found = problems_in(folder.path(), &with_options("./own.toml", ""));
    assert_eq!(found.len(), 1, "{found:?}");
    has(&found[0], &["./own.toml:1: not UTF-8"]);
}

#[test]
fn a_place_where_no_file_can_be_made_is_told_before_the_start() {
    let folder = folder();
    std::fs::write(folder.path().join("file"), "").unwrap();
    std::fs::create_dir(folder.path().join("there")).unwrap();
    let places = [("store", "url", "sqlite:"), ("audit", "file", ""), ("admin", "listen", "unix:")];
    for (section, key, before) in places {
        let text =
            |path: &str| GOOD.replacen("[server]", &format!("[{section}]\n{key} = \"{before}{path}\"\n[server]"), 1);
        let found = problems_in(folder.path(), &text("there"));
        assert_eq!(found.len(), 1, "{found:?}");
        has(&found[0], &[&format!("test.toml:3: {section}.{key}: "), "there is a directory; name a file"]);
        let warnings = |path: &str| {
            let settings = parse("test.toml", &text(path), &environment(folder.path())).unwrap();
            settings.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for absent in ["nowhere/x", "file/x"] {
            let found = warnings(absent);
            assert_eq!(found.len(), 1, "{found:?}");
            has(&found[0], &[&format!("test.toml:3: {section}.{key}: there is no folder "), "would not start here"]);
        }
        for fine in ["there/x", "x"] {
            assert_eq!(warnings(fine), [""; 0], "{fine}");
        }
    }
    let made = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(made, 2, "it looked, and made nothing");
}

#[test]
fn keys_for_tokens_that_others_can_read_are_a_warning() {
    let folder = folder();
    let text = GOOD.replacen("[server]", "[tokens]\nkeys = \"keys\"\n[server]", 1);
    let warnings = || {
        let settings = parse("test.toml", &text, &environment(folder.path())).unwrap();
        settings.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(warnings(), [""; 0], "the first start makes them");

    let file = folder.path().join("keys/keys.json");
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    std::fs::write(&file, "it is not read").unwrap();
    for (mode, is_good) in [(0o600, true), (0o604, false), (0o640, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let found = warnings();
        assert_eq!(found.is_empty(), is_good, "{found:?}");
        if !is_good {
            has(&found[0], &["test.toml:3: tokens.keys: ", "keys.json can be accessed by others", "chmod 600"]);
        }
    }
}

//! `keystile explain`: what the gateway would do with a call.

use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::{complained, keystile, run, said};

const DONE: Option<i32> = Some(0);
const FAILED: Option<i32> = Some(1);
const MISUSED: Option<i32> = Some(2);

/// Fake keys, by the variables that hold them.
const KEYS: [(&str, &str); 3] = [
    ("EXPLAIN_SEEK", "sk-seek-0123456789abcdef"),
    ("EXPLAIN_KIT", "sk-kit-0123456789abcdef"),
    ("EXPLAIN_KNOW", "sk-know-0123456789abcdef"),
];

/// A superseek at the root, a chatbotkit on a host of its own, a genesys below a prefix, where one bot has its own options.
const CONFIG: &str = r#"[server]
public_url = "https://chat.example.com"

[vendors.seek]
profile = "superseek"
base_url = "https://seek.example.com/api"
keys = [{ env = "EXPLAIN_SEEK" }]

[vendors.kit]
profile = "chatbotkit"
keys = [{ env = "EXPLAIN_KIT" }]
mount = { host = "kit.example.com" }

[vendors.know]
profile = "genesys"
base_url = "https://know.example.com"
keys = [{ env = "EXPLAIN_KNOW" }]
mount = "/know"
options = { tenant = "acme" }

[bots.shop]
vendor = "seek"
vendor_id = "7"
visibility = "public"
origins = ["https://www.example.com", "https://*.example.org"]
limits = { per_session = "5/1s", body = "64KiB", streams = "off" }

[bots.office]
vendor = "seek"
vendor_id = "8"
visibility = "private"
owners = ["website"]
contact = "required"
ttl = { default = "30m", max = "2h" }

[bots.helper]
vendor = "kit"
vendor_id = "bot_9"
visibility = "private"
owners = ["website"]

[bots.library]
vendor = "know"
vendor_id = "k1"
visibility = "private"
owners = ["website"]

[bots.archive]
vendor = "know"
vendor_id = "k2"
visibility = "private"
owners = ["website"]
options = { agent = "agent-9" }

[clients.website]
secret_sha256 = "fa285b321065080b4dec042e2f11da9d6fef6e2b2825f1578cbab9db43d16a6f"
"#;

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self::with(CONFIG)
    }

    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keystile.toml"), config).unwrap();
        Self(folder)
    }

    fn explain(&self, arguments: &[&str]) -> Output {
        let mut command = keystile();
        command.arg("explain").arg("-c").arg(self.0.path().join("keystile.toml")).args(arguments).envs(KEYS);
        command.output().unwrap()
    }

    /// What is said of a call that is served, one space between columns.
    fn found(&self, method: &str, url: &str) -> String {
        let shown = self.explain(&[method, url]);
        assert_eq!((shown.status.code(), complained(&shown).as_str()), (DONE, ""), "{method} {url}: {}", said(&shown));
        lines(&shown)
    }

    /// What is said of a call that is not.
    fn missing(&self, method: &str, url: &str) -> String {
        let shown = self.explain(&[method, url]);
        assert_eq!(
            (shown.status.code(), complained(&shown).as_str()),
            (FAILED, ""),
            "{method} {url}: {}",
            said(&shown)
        );
        lines(&shown)
    }
}

/// The text with its columns one space apart.
fn lines(output: &Output) -> String {
    said(output).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}\n---\n{text}");
    }
}

#[test]
fn a_conversation_call_is_told_with_what_is_sent_who_may_and_which_limits_hold() {
    let text = Home::new().found("POST", "/chat");
    has(
        &text,
        &[
            "POST /chat\nis a conversation call: it goes to the vendor\nvendor seek, profile superseek\n",
            "at https://seek.example.com/api\nerrors problem+json\n",
            "What becomes of it, for bots shop, office\nwho the bearer of a session token\n",
            "set body api_key = {key}\nbody bot_id = {bot}\nbody session_id = {session}\n",
            "stripped query api_key\nbody session_id, api_key\n",
            "query: none\nbody question, history\n",
            "Bot shop\nvendor's id 7\nvisibility public: pages of its origins and its owners open sessions\n",
            "origins https://www.example.com\nhttps://*.example.org\n",
            "limits per_session = 5/1s\nstreams = off\nper_bot = 600/1m\nbody = 65536 bytes\n",
            "Bot office\nvendor's id 8\nvisibility private: only its owners open sessions\nowners website\n",
        ],
    );
}

#[test]
fn a_vendors_session_call_is_told_in_both_directions() {
    let home = Home::new();
    let text = home.found("get", "https://chat.example.com/session-id?bot_id=7");
    has(
        &text,
        &[
            "is the session call of the vendor's own clients: it opens a session\n",
            "sent GET /session-id\nset query bot_id = {bot}\nquery api_key = {key}\n",
            "call GET /session-id\ncredential query api_key\nbot query bot_id\n",
            "contact required\ntoken lives 30m, at most 2h\nlimits mint_per_ip = 30/1m\n",
            "sessions_per_ip = 20\nsessions_per_contact = 20\n",
        ],
    );
    let url = "https://KIT.example.com:8443/api/v1/bot/helper/session/create";
    let text = home.found("POST", url);
    has(&text, &["vendor kit, profile chatbotkit\n", "{\"message\":\"{message}\"", "for bot helper\n"]);
    let text = home.missing("POST", &url.replace("helper", "nobody"));
    has(&text, &["answer 404 unknown_bot\nbecause there is no such bot\n"]);
}

#[test]
fn the_gateways_own_calls_are_told() {
    let home = Home::new();
    let text = home.found("POST", "/v1/bots/office/sessions");
    has(
        &text,
        &[
            "errors problem+json\n",
            "the gateway's own: it opens a session of a bot\n",
            "sent GET /session-id\n",
            "Bot office\n",
        ],
    );
    assert!(!text.contains("Bot shop"), "{text}");
    has(&home.missing("POST", "/v1/bots/none/sessions"), &["answer 404 unknown_bot\n"]);
    let text = home.found("POST", "/v1/sessions/s1/contact");
    has(&text, &["What vendor know is told\nsent POST /sessions/{session}\n"]);
    has(&home.found("GET", "/.well-known/jwks.json"), &["it answers by itself, and sends nothing\nwho everybody\n"]);
}

#[test]
fn calls_about_sessions_are_told_with_who_may_make_them() {
    let home =
        Home::with(&CONFIG.replace("[clients.website]\n", "[clients.website]\nlimits = { per_client = \"9/1s\" }\n"));
    let owner = "Client website\nowns office\nhelper\nlibrary\narchive\nlimits per_client = 9/1s\n";
    let listed = home.found("GET", "/v1/sessions?bot=office");
    has(&listed, &["is the gateway's own: sessions are listed", "who a client, for the bots that it owns\n", owner]);
    let ended = home.found("DELETE", "/v1/sessions?bot=office");
    has(&ended, &["sessions of a contact, or of a bot, are ended\n", "?bot=: a client that owns the bot\n", owner]);
    let who = "who the bearer of the session's token, or a client that owns its bot\n";
    let shown = home.found("GET", "/v1/sessions/s1");
    has(
        &shown,
        &["a session is shown, without secrets\n", who, "limits per_session = 5/1s\nper_bot = 600/1m\n", owner],
    );
    let one = home.found("DELETE", "/v1/sessions/s1");
    has(&one, &["a session is ended, on all replicas\n", who, owner]);
    assert!(!one.contains("per_session"), "a bearer may always end its session: {one}");
    let renewed = home.found("POST", "/v1/sessions/s1/renew");
    has(
        &renewed,
        &[
            "is the gateway's own: the bearer gets another token; those before live to their own end\n",
            "who the bearer of the session's token\n",
            "How the token of vendor kit may be exchanged for a new one\nsent POST ",
            "Bot shop\n",
            "limits per_session = 5/1s\nper_bot = 600/1m\n",
        ],
    );
    for text in [listed, ended, shown, one, renewed] {
        assert!(!text.contains("everybody") && !text.contains("sends nothing"), "{text}");
    }
}

#[test]
fn a_client_that_may_be_in_a_page_is_not_told_as_one_that_sees_and_ends_sessions() {
    let home = Home::with(&CONFIG.replace("[clients.website]\n", "[clients.website]\nbrowser = true\n"));
    for (method, path) in
        [("GET", "/v1/sessions"), ("DELETE", "/v1/sessions?bot=office"), ("DELETE", "/v1/sessions/s1")]
    {
        let text = home.found(method, path);
        has(&text, &["Client website\nrefused its secret may be in a page"]);
        assert!(!text.contains("per_client"), "{text}");
    }
}

#[test]
fn bots_with_options_of_their_own_are_told_apart() {
    let text = Home::new().found("GET", "/know/sessions/abc");
    let (library, archive) = text.split_once("What becomes of it, for bot archive\n").unwrap();
    has(
        library,
        &["for bot library\n", "header gkc_agentid: never sent, as its option is empty\n", "tenantId = acme\n"],
    );
    has(archive, &["header gkc_agentid = agent-9\n", "query tenantId = acme\n", "Bot archive\n"]);
}

#[test]
fn what_is_not_there_is_told_as_the_gateway_answers_it() {
    let home = Home::new();
    let text = home.missing("GET", "/nothing");
    has(&text, &["GET /nothing on chat.example.com\nanswer 404 not_found\nbecause there is no such call\n"]);
    has(&home.missing("GET", "/chat"), &["answer 405 method_not_allowed\nallow POST\n"]);
    has(&home.missing("OPTIONS", "/chat"), &["preflight"]);
    for path in ["/a/../chat", "/chat%2f", "//chat", "/chat\\x", "https://chat.example.com/./chat"] {
        has(&home.missing("POST", path), &["answer 400 ambiguous_path\n"]);
    }
    // A host of its own has nothing of the others, and they have nothing of it.
    has(&home.missing("POST", "https://kit.example.com/chat"), &["answer 404 not_found\n"]);
    has(&home.missing("POST", "/api/v1/bot/helper/session/create"), &["answer 404 not_found\n"]);
}

#[test]
fn explain_tells_programs_the_same() {
    let home = Home::new();
    let shown: Value = serde_json::from_str(&said(&home.explain(&["POST", "/chat", "--json"]))).unwrap();
    assert_eq!((&shown["found"], &shown["parts"][0]["heading"]), (&Value::from(true), &Value::from("POST /chat")));
    assert_eq!(shown["parts"][1]["rows"]["sent"], Value::from(vec!["POST /chat"]));
    let missing = home.explain(&["POST", "/nothing", "--json"]);
    assert_eq!(missing.status.code(), FAILED);
    let missing: Value = serde_json::from_str(&said(&missing)).unwrap();
    assert_eq!(missing["found"], false);
    assert_eq!(missing["parts"][0]["rows"]["answer"], Value::from(vec!["404 not_found"]));
}

#[test]
fn no_secret_is_ever_explained() {
    let seek = KEYS[0].1;
    // A profile that has a key written into it is wrong, and still tells nobody.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    let profile = format!(
        "title = \"{seek}\"\n[[route]]\ncall = \"POST /chat\"\nset.header = {{ Authorization = \"Bearer {seek}\" }}\n"
    );
    std::fs::write(&file, profile).unwrap();
    let leaking = CONFIG.replace("\"superseek\"", &format!("{file:?}"));
    for home in [Home::new(), Home::with(&leaking)] {
        for call in ["POST /chat", "GET /session-id", "POST /v1/bots/shop/sessions", "GET /know/sessions/a", "GET /x"] {
            let (method, path) = call.split_once(' ').unwrap();
            for url in [path.to_owned(), format!("{path}?api_key={seek}"), format!("{path}/{seek}")] {
                for more in [&[][..], &["--json"]] {
                    let ran = home.explain(&[&[method, url.as_str()], more].concat());
                    let all = said(&ran) + &complained(&ran);
                    assert!(ran.status.code() != MISUSED, "{call}: {all}");
                    for (_, key) in KEYS {
                        assert!(!all.contains(key), "{call} shows {key}: {all}");
                    }
                    assert!(!all.contains("fa285b321065080b"), "{call} shows a digest: {all}");
                }
            }
        }
    }
}

#[test]
fn a_key_that_is_not_set_is_told_by_its_variable() {
    let home = Home::new();
    let explain = |more: &[&str]| {
        let mut command = keystile();
        let file = home.0.path().join("keystile.toml");
        command.args(["explain", "POST", "/chat", "-c"]).arg(file).args(more).env(KEYS[0].0, KEYS[0].1);
        command.output().unwrap()
    };
    let ran = explain(&[]);
    assert_eq!((ran.status.code(), said(&ran).as_str()), (MISUSED, ""));
    let lines = complained(&ran);
    assert!(lines.contains("vendors.kit.keys[0].env: ") && lines.contains("EXPLAIN_KIT is not set"), "{lines}");
    assert!(lines.contains("EXPLAIN_KNOW is not set") && !lines.contains("EXPLAIN_SEEK"), "{lines}");
    let json = explain(&["--json"]);
    assert_eq!(
        (json.status.code(), serde_json::from_str::<Value>(&said(&json)).unwrap()["ok"].clone()),
        (MISUSED, Value::from(false))
    );
}

#[test]
fn wrong_usage_ends_with_2() {
    let home = Home::new();
    for arguments in [&["POST"][..], &["POST", "chat"], &["PO ST", "/chat"], &["GET", "ftp://h/x"], &[]] {
        let ran = home.explain(arguments);
        assert_eq!((ran.status.code(), said(&ran).as_str()), (MISUSED, ""), "{arguments:?}");
        assert!(!complained(&ran).is_empty());
    }
    let help = run(&["explain", "--help"]);
    assert_eq!(help.status.code(), DONE);
    assert!(said(&help).contains("Example:\n  keystile explain "), "{}", said(&help));
}

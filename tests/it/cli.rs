//! The commands, as a shell runs them: what they say, and how they end.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::{Running, complained, keystile, listening, run, said};

const DONE: Option<i32> = Some(0);
const FAILED: Option<i32> = Some(1);
const MISUSED: Option<i32> = Some(2);

/// A folder with a configuration that needs no vendor: its profile has no session call.
struct Home {
    folder: TempDir,
    secret: String,
}

impl Home {
    fn new() -> Self {
        let made: Value = serde_json::from_str(&said(&run(&["client", "new", "website", "--json"]))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let profile = "title = \"Plain\"\n[[route]]\ncall = \"POST /echo\"\n";
        std::fs::write(folder.path().join("plain.toml"), profile).unwrap();
        let text = format!(
            r#"[server]
listen = "127.0.0.1:0"
public_url = "http://127.0.0.1:8080"
workers = 1

[vendors.acme]
profile = "./plain.toml"
base_url = "http://127.0.0.1:9"
keys = [{{ env = "CLI_TEST_KEY" }}]

[bots.support]
vendor = "acme"
vendor_id = "bot_1"
visibility = "private"
owners = ["website"]

[clients.website]
secret_sha256 = {}
"#,
            made["secret_sha256"]
        );
        std::fs::write(folder.path().join("keystile.toml"), text).unwrap();
        Self { folder, secret: made["secret"].as_str().unwrap().to_owned() }
    }

    fn config(&self) -> String {
        self.folder.path().join("keystile.toml").to_str().unwrap().to_owned()
    }

    /// A token of a running `keystile serve`.
    async fn token(&self) -> String {
        let log = self.folder.path().join("log");
        let mut command = keystile();
        command.args(["serve", "-c", &self.config()]).env("CLI_TEST_KEY", "sk-0123456789abcdef");
        let program = Running::start(&mut command, &log);
        let address = listening(&log).await;
        let call = reqwest::Client::new().post(format!("http://{address}/v1/bots/support/sessions"));
        let answer: Value = call.bearer_auth(&self.secret).send().await.unwrap().json().await.unwrap();
        assert_eq!(program.terminate().code(), DONE);
        answer["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

fn documented() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/keystile.toml")
}

#[test]
fn check_finds_nothing_wrong_with_the_documented_configuration() {
    let check = |more: &[&str]| {
        let mut command = keystile();
        command.args(["check", "-c"]).arg(documented()).args(more).env("CHATBOTKIT_KEY", "0123456789abcdef0123");
        command.output().unwrap()
    };
    let text = check(&[]);
    assert_eq!((text.status.code(), complained(&text).as_str()), (DONE, ""));
    assert!(said(&text).ends_with("config/keystile.toml: no problems\n"), "{}", said(&text));
    let json = check(&["--json"]);
    assert_eq!(json.status.code(), DONE);
    assert_eq!(
        serde_json::from_str::<Value>(&said(&json)).unwrap(),
        json!({"ok": true, "problems": [], "warnings": []})
    );
}

#[test]
fn check_reads_config_keystile_toml_of_the_working_folder_by_default() {
    let mut command = keystile();
    command.arg("check").current_dir(env!("CARGO_MANIFEST_DIR")).env("CHATBOTKIT_KEY", "0123456789abcdef0123");
    assert_eq!(said(&command.output().unwrap()), "config/keystile.toml: no problems\n");
}

#[test]
fn check_warns_of_what_is_hardly_meant_and_ends_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doubtful.toml");
    let text =
        std::fs::read_to_string(documented()).unwrap().replace("# per_session = \"60/1m\"", "per_session = \"off\"");
    std::fs::write(&file, text).unwrap();
    let check = |more: &[&str]| {
        let mut command = keystile();
        command.args(["check", "-c"]).arg(&file).args(more).env("CHATBOTKIT_KEY", "0123456789abcdef0123");
        command.output().unwrap()
    };
    let output = check(&[]);
    assert_eq!((output.status.code(), complained(&output).as_str()), (DONE, ""));
    let lines = said(&output);
    assert!(lines.starts_with("warning: ") && lines.contains("bots.support.limits.per_session: is off"), "{lines}");
    assert!(lines.ends_with(": no problems\n"), "{lines}");
    let json: Value = serde_json::from_str(&said(&check(&["--json"]))).unwrap();
    assert_eq!((&json["ok"], &json["warnings"][0]["path"]), (&json!(true), &json!("bots.support.limits.per_session")));
}

#[test]
fn check_reports_every_problem_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    std::fs::write(&file, "[server]\nlisten = \"nowhere\"\nworkers = 0\n").unwrap();
    let file = file.to_str().unwrap();
    let text = run(&["check", "-c", file]);
    assert_eq!((text.status.code(), said(&text).as_str()), (MISUSED, ""));
    let lines = complained(&text);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines[0].starts_with(&format!("{file}:1: server.public_url: is missing")), "{}", lines[0]);
    assert!(lines[1].starts_with(&format!("{file}:2: server.listen: must be")), "{}", lines[1]);
    assert!(lines[2].starts_with(&format!("{file}:3: server.workers: must be")), "{}", lines[2]);
    assert_eq!(lines[3], "3 problems in the configuration");

    let json = run(&["check", "-c", file, "--json"]);
    assert_eq!(json.status.code(), MISUSED);
    let json: Value = serde_json::from_str(&said(&json)).unwrap();
    assert_eq!(json["ok"], false);
    let problem = &json["problems"][1];
    assert_eq!(
        (&problem["file"], &problem["line"], &problem["path"]),
        (&json!(file), &json!(2), &json!("server.listen"))
    );
    assert!(problem["message"].as_str().unwrap().starts_with("must be an address and a port"));
}

#[test]
fn a_configuration_that_is_not_there_ends_with_2() {
    for command in [["check"].as_slice(), &["serve"], &["keys", "list"], &["token", "inspect", "x"]] {
        let ran = run(&[command, &["-c", "/nowhere/keystile.toml"]].concat());
        assert_eq!(ran.status.code(), MISUSED, "{command:?}");
        assert!(
            complained(&ran).contains("/nowhere/keystile.toml cannot be read"),
            "{command:?}: {}",
            complained(&ran)
        );
    }
}

#[test]
fn client_new_shows_a_secret_and_the_digest_that_goes_with_it() {
    let json = run(&["client", "new", "website", "--json"]);
    assert_eq!(json.status.code(), DONE);
    let json: Value = serde_json::from_str(&said(&json)).unwrap();
    let mut names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["client", "secret", "secret_sha256"]);
    assert_eq!(json["client"], "website");
    let secret = json["secret"].as_str().unwrap();
    assert_eq!(
        (secret.strip_prefix("ksc_website_").map(str::len), json["secret_sha256"].as_str().unwrap().len()),
        (Some(43), 64)
    );

    let text = said(&run(&["client", "new", "website"]));
    assert!(text.contains("[clients.website]\nsecret_sha256 = \"") && text.contains("  ksc_website_"), "{text}");
    assert!(!text.contains(secret), "a second secret is another one");
    let (client, operators) = text.split_once("[admin]\nsecret_sha256 = ").unwrap();
    assert!(client.contains(operators.trim()), "the digest is the same: {text}");
}

#[test]
fn a_wrong_client_name_and_a_wrong_command_end_with_2() {
    for arguments in [
        ["client", "new", "public"].as_slice(),
        &["client", "new", "a b"],
        &["client"],
        &["serf"],
        &[],
        &["token", "inspect"],
    ] {
        let ran = run(arguments);
        assert_eq!((ran.status.code(), said(&ran).as_str()), (MISUSED, ""), "{arguments:?}");
        assert!(!complained(&ran).is_empty());
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        ["serve"].as_slice(),
        &["demo"],
        &["check"],
        &["explain"],
        &["client", "new"],
        &["keys", "list"],
        &["profile", "list"],
        &["profile", "show"],
        &["audit", "verify"],
        &["token", "inspect"],
    ] {
        let ran = run(&[command, &["--help"]].concat());
        assert_eq!(ran.status.code(), DONE);
        let (help, example) = (said(&ran), format!(":\n  keystile {}", command.join(" ")));
        let has = ["Example", "Examples"].iter().any(|word| help.contains(&format!("{word}{example}")));
        assert!(has, "{command:?}: {help}");
    }
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), DONE);
    for command in ["serve", "demo", "check", "explain", "audit", "client", "keys", "profile", "token"] {
        assert!(said(&help).contains(&format!("\n  {command}")), "{}", said(&help));
    }
    assert_eq!(said(&run(&["--version"])), concat!("keystile ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn keys_list_makes_the_keys_at_first_and_then_shows_the_same() {
    let home = Home::new();
    let list = || run(&["keys", "list", "-c", &home.config(), "--json"]);
    let first = list();
    assert_eq!(first.status.code(), DONE, "{}", complained(&first));
    let keys: Value = serde_json::from_str(&said(&first)).unwrap();
    let keys = keys.as_array().unwrap();
    for key in keys {
        let mut names: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["algorithm", "created", "from", "kid", "state", "until", "use"]);
    }
    assert!(keys.iter().any(|key| key["algorithm"] == "EdDSA"), "{keys:?}");
    assert_eq!(said(&list()), said(&first));

    let text = said(&run(&["keys", "list", "-c", &home.config()]));
    for key in keys {
        assert!(text.contains(key["kid"].as_str().unwrap()), "{text}");
    }
    let file = std::fs::read_to_string(home.folder.path().join("certs/signing/keys.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    for key in file["keys"].as_array().unwrap() {
        assert!(
            !said(&first).contains(key["private"].as_str().unwrap())
                && !text.contains(key["private"].as_str().unwrap())
        );
    }
}

#[tokio::test]
async fn token_inspect_explains_a_token_and_ends_with_1_if_it_is_refused() {
    let home = Home::new();
    let token = home.token().await;
    let inspect =
        |token: &str, more: &[&str]| run(&[&["token", "inspect", token, "-c", &home.config()], more].concat());

    let good = inspect(&token, &["--json"]);
    assert_eq!(good.status.code(), DONE, "{}", complained(&good));
    let good: Value = serde_json::from_str(&said(&good)).unwrap();
    assert_eq!((&good["valid"], &good["code"], &good["refusal"]), (&json!(true), &Value::Null, &Value::Null));
    assert_eq!((&good["header"]["typ"], &good["header"]["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    assert_eq!((&good["claims"]["bot"], &good["claims"]["iss"]), (&json!("support"), &json!("http://127.0.0.1:8080")));
    assert_eq!((&good["binding"]["vendor"], &good["binding"]["hasVendorToken"]), (&json!("acme"), &json!(false)));
    let text = said(&inspect(&token, &[]));
    assert!(
        text.starts_with("The token is valid") && text.contains("token expires") && text.contains("bound to"),
        "{text}"
    );
    assert!(text.contains("No gateway was asked: its session may have been revoked"), "{text}");
    assert_eq!(said(&inspect(&format!("Bearer {token}"), &[])), text);

    let at = token.len() - 10;
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
    let bad = inspect(&forged, &["--json"]);
    assert_eq!(bad.status.code(), FAILED);
    let bad: Value = serde_json::from_str(&said(&bad)).unwrap();
    assert_eq!((&bad["valid"], &bad["code"]), (&json!(false), &json!("invalid_token")));
    assert_eq!(inspect("not-a-token", &[]).status.code(), FAILED);
}

#[test]
fn serve_names_the_key_of_what_it_cannot_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listen = format!("listen = \"{address}\"");
    for (from, to, message) in [
        ("[server]", "[tokens]\nkeys = \"/dev/null/keys\"\n[server]", "tokens.keys: the signing keys cannot be used: "),
        (
            "[server]",
            "[store]\nurl = \"sqlite:/nowhere/k.db\"\n[server]",
            "store.url: the store cannot be used: /nowhere/",
        ),
        (
            "[server]",
            "[audit]\nfile = \"/nowhere/a\"\n[server]",
            "audit.file: the audit record cannot be used: /nowhere/",
        ),
        ("listen = \"127.0.0.1:0\"", &listen, "server.listen: 127.0.0.1:"),
    ] {
        let home = Home::new();
        let text = std::fs::read_to_string(home.config()).unwrap().replacen(from, to, 1);
        std::fs::write(home.config(), text).unwrap();
        let mut command = keystile();
        command.args(["serve", "-c", &home.config()]).env("CLI_TEST_KEY", "sk-0123456789abcdef");
        let ran = command.output().unwrap();
        let told = complained(&ran);
        assert_eq!(ran.status.code(), FAILED, "{told}");
        assert!(told.contains(&format!("keystile: {message}")), "{told}");
    }
}

#[test]
fn token_inspect_knows_a_clients_secret_and_does_not_repeat_it() {
    let secret = format!("ksc_website_{}", "x".repeat(43));
    for given in [secret.clone(), format!("Bearer {secret}")] {
        let text = run(&["token", "inspect", &given]);
        assert_eq!((text.status.code(), said(&text).as_str()), (FAILED, ""));
        let told = complained(&text);
        assert!(told.contains("the secret of a client, and no session token") && !told.contains("xxx"), "{told}");
        let json = run(&["token", "inspect", &given, "--json"]);
        let (status, json) = (json.status.code(), said(&json));
        assert!(status == FAILED && !json.contains("xxx"), "{json}");
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["valid"], &json["code"]), (&json!(false), &json!("session_token_required")));
    }
}

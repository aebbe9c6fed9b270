//! `keystile session` over the admin listener: sessions are opened, listed, shown and ended from a shell; at an address
//! with the operators' secret, at a Unix socket without.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use http::Method;
use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::{PAGE, TestGateway, claims, refusal};
use crate::support::program::{complained, keystile, said};
use crate::support::vendor::TestVendor;

/// A gateway with a Unix socket for operators, and the configuration with which a command finds it.
struct Operated {
    gateway: TestGateway,
    folder: TempDir,
    _vendor: TestVendor,
}

impl Operated {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vendor = TestVendor::echo();
        let line = format!("listen = \"unix:{}\"", folder.path().join("admin.sock").display());
        std::fs::write(folder.path().join("keystile.toml"), format!("[admin]\n{line}\n")).unwrap();
        let gateway = TestGateway::in_front_of(&vendor).admin(&line).start();
        Self { gateway, folder, _vendor: vendor }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let client = Client::builder().unix_socket(self.socket()).build().unwrap();
        client.request(method, format!("http://localhost{path}"))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(self.folder.path(), arguments)
    }

    /// The answer of a command that does what it should.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", complained(&output));
        serde_json::from_str(&said(&output)).unwrap()
    }

    /// The status of a session's call, as a page of `origin` makes it.
    async fn says(&self, session: &Value, origin: Option<&str>) -> u16 {
        let path = format!("/sessions/{}/say", session["sessionId"].as_str().unwrap());
        let mut call = self.gateway.post(&path).bearer_auth(session["token"].as_str().unwrap());
        if let Some(origin) = origin {
            call = call.header("origin", origin);
        }
        call.json(&json!({"text": "hi"})).send().await.unwrap().status().as_u16()
    }
}

/// Runs `keystile session` with the configuration of this folder.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = keystile();
    command.arg("session").args(arguments).arg("-c").arg(folder.join("keystile.toml")).env_remove("KEYSTILE_ADMIN");
    command.output().unwrap()
}

fn ids(answer: &Value) -> Vec<String> {
    let ids = answer["sessions"].as_array().unwrap().iter();
    ids.map(|session| session["sessionId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_unix_socket_is_its_owners_alone_and_asks_for_no_secret() {
    let operated = Operated::start();
    let mode = std::fs::metadata(operated.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for path in ["/livez", "/readyz", "/v1/sessions"] {
        assert_eq!(operated.call(Method::GET, path).send().await.unwrap().status(), 200, "{path}");
    }
    let page = operated.call(Method::GET, "/v1/sessions").header("origin", "http://localhost");
    assert_eq!(refusal(page.send().await.unwrap()).await, (403, "origin_not_allowed".to_owned()));
    let rebound = operated.call(Method::GET, "/v1/sessions").header("host", "evil.example.com");
    assert_eq!(refusal(rebound.send().await.unwrap()).await, (403, "host_not_allowed".to_owned()));

    let (socket, Operated { gateway, folder: _folder, .. }) = (operated.socket(), operated);
    drop(gateway);
    assert!(!socket.exists(), "it is removed at the end");
}

#[tokio::test]
async fn a_session_that_an_operator_opens_is_the_clients_that_it_names_and_its_token_works() {
    let operated = Operated::start();
    let minted = operated.json(&["mint", "--bot", "support", "--client", "website", "--email", "ada@example.com"]);
    assert_eq!(operated.says(&minted, None).await, 200);
    let token = claims(minted["token"].as_str().unwrap());
    assert_eq!((&token["client_id"], &token["email"]), (&json!("website"), &json!("ada@example.com")));

    // The client vouches for the contact, as if it had said it itself.
    let of_ada = operated.json(&["list", "--contact", "ada@example.com", "--client", "website"]);
    assert_eq!(ids(&of_ada), [minted["sessionId"].as_str().unwrap()]);
    assert_eq!(of_ada["sessions"][0]["contactSource"], "asserted");
    let again = operated.gateway.mint_with("support", json!({"contact": {"email": "ada@example.com"}})).await;
    assert_eq!(claims(&again.token)["sub"], token["sub"]);

    let ended = operated.run(&["revoke", "--contact", "ada@example.com", "--client", "website"]);
    assert_eq!(ended.status.code(), Some(0), "{}", complained(&ended));
    assert_eq!(operated.says(&minted, None).await, 401);
    // Nobody counts them: it may have been none.
    let told = said(&ended);
    assert!(told.starts_with("every session of contact ada@example.com opened until 20"), "{told}");
    assert!(told.ends_with("Z is ended, if there were any\n"), "{told}");
    let of_bot = said(&operated.run(&["revoke", "--bot", "support"]));
    assert!(of_bot.starts_with("every session of bot support opened until 20"), "{of_bot}");
}

#[tokio::test]
async fn people_are_told_of_a_session_with_its_conversation_and_with_dates() {
    let operated = Operated::start();
    let minted = said(&operated.run(&["mint", "--bot", "support"]));
    let line = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    assert!(line(&minted, "token ").starts_with("eyJ"));
    let shown = said(&operated.run(&["show", &line(&minted, "session ")]));
    assert_eq!(line(&shown, "conversationId "), format!("\"{}\"", line(&minted, "conversation ")));
    assert_eq!(line(&shown, "expiresAt "), line(&minted, "expires "));
    for moment in ["openedAt ", "endsAt "] {
        assert!(line(&shown, moment).ends_with('Z') && line(&shown, moment).starts_with("20"), "{shown}");
    }
    assert_eq!(line(&shown, "endedAt "), "null");
}

#[tokio::test]
async fn without_a_client_a_session_is_nobodys_at_a_public_bot_and_the_only_owners_at_a_private_one() {
    let operated = Operated::start();
    for (bot, client) in [("support", "public"), ("hidden", "website")] {
        let minted = operated.json(&["mint", "--bot", bot, "--ttl", "30m"]);
        let token = claims(minted["token"].as_str().unwrap());
        assert_eq!((&token["client_id"], minted["expiresIn"].as_u64()), (&json!(client), Some(1800)), "{bot}");
        assert_eq!(operated.says(&minted, None).await, 200, "{bot}");
    }
    // Nobody vouches for this contact.
    let claimed = operated.json(&["mint", "--bot", "support", "--name", "Ada"]);
    let shown = operated.json(&["show", claimed["sessionId"].as_str().unwrap()]);
    assert_eq!((&shown["contactSource"], &shown["client"]), (&json!("claimed"), &json!("public")));
}

#[tokio::test]
async fn of_several_owners_an_operator_names_one_and_no_rate_counts_what_it_opens() {
    let folder = tempfile::tempdir().unwrap();
    let vendor = TestVendor::echo();
    let line = format!("listen = \"unix:{}\"", folder.path().join("admin.sock").display());
    std::fs::write(folder.path().join("keystile.toml"), format!("[admin]\n{line}\n")).unwrap();
    let shared = "[bots.shared]\nvendor = \"acme\"\nvendor_id = \"bot_3\"\nvisibility = \"private\"\n\
                  owners = [\"website\", \"stranger\"]\nlimits = { per_bot = \"1/1h\" }";
    let _gateway = TestGateway::in_front_of(&vendor).admin(&line).sections(shared).start();
    let mint = |more: &[&str]| run(folder.path(), &[&["mint", "--bot", "shared"], more].concat());
    let unnamed = mint(&[]);
    assert_eq!(unnamed.status.code(), Some(1));
    assert!(complained(&unnamed).contains("name one with `client`"), "{}", complained(&unnamed));
    for client in ["website", "stranger", "stranger"] {
        let minted = mint(&["--client", client]);
        assert_eq!(minted.status.code(), Some(0), "{}", complained(&minted));
    }
}

#[tokio::test]
async fn the_token_of_a_session_opened_for_a_page_is_good_from_that_page_alone() {
    let operated = Operated::start();
    let minted = operated.json(&["mint", "--bot", "support", "--origin", PAGE]);
    assert_eq!((operated.says(&minted, Some(PAGE)).await, operated.says(&minted, None).await), (200, 403));
}

#[tokio::test]
async fn a_mint_that_cannot_be_ends_with_1_and_one_that_is_no_command_with_2() {
    let operated = Operated::start();
    for (arguments, why) in [
        (&["--bot", "nosuch"][..], "404: there is no bot of this name"),
        (&["--bot", "support", "--client", "stranger"], "400: `client` must be a client that owns the bot"),
        (&["--bot", "support", "--client", "nobody"], "400: `client` must be a client that owns the bot"),
        (&["--bot", "support", "--ttl", "1m"], "400: `--ttl` (`durationInSeconds`) must be an integer from 1800"),
        (&["--bot", "support", "--email", "none"], "400: "),
        (&["--bot", "support", "--origin", "https://evil.example.com"], "400: `origin` must be one of the bot's"),
    ] {
        let output = operated.run(&[&["mint"], arguments].concat());
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(1), ""), "{arguments:?}");
        assert!(complained(&output).contains(why), "{arguments:?}: {}", complained(&output));
    }
    for (misuse, why) in [
        (&["mint"][..], "--bot <BOT>"),
        (&["mint", "--bot", "support", "--ttl", "soon"], "30m"),
        (&["list", "--from", "yesterday"], "how long ago"),
        (&["list", "--limit", "0"], "1..=200"),
        (&["list", "--limit", "201"], "1..=200"),
        (&["revoke"], "<ID|--bot <BOT>|--contact <CONTACT>>"),
        (&["revoke", "s1", "--bot", "support"], "cannot be used with"),
        (&["revoke", "--bot", "support", "--contact", "a@b.co", "--client", "website"], "cannot be used with"),
    ] {
        let output = operated.run(misuse);
        assert_eq!(output.status.code(), Some(2), "{misuse:?}");
        assert!(complained(&output).contains(why), "{misuse:?}: {}", complained(&output));
    }
}

#[tokio::test]
async fn for_people_a_mint_says_session_conversation_end_and_token_and_the_log_does_not() {
    let operated = Operated::start();
    let output = operated.run(&["mint", "--bot", "support"]);
    let (text, trouble) = (said(&output), complained(&output));
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(char::is_whitespace)).collect();
    let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["session", "conversation", "expires", "token"], "{text}");
    let token = lines[3].1.trim();
    assert!(token.starts_with("eyJ") && !trouble.contains(token), "{text}");
    assert!(lines[2].1.ends_with('Z'), "{text}");
}

#[tokio::test]
async fn lists_are_of_a_bot_and_a_time_and_go_on_at_their_cursor() {
    let operated = Operated::start();
    let mut opened = Vec::new();
    for bot in ["support", "support", "hidden"] {
        opened.push(operated.gateway.mint(bot).await.id);
        operated.gateway.clock.advance(Duration::from_secs(1));
    }
    opened.reverse();
    assert_eq!(ids(&operated.json(&["list"])), opened);
    assert_eq!(ids(&operated.json(&["list", "--bot", "hidden"])), opened[..1]);
    assert_eq!(ids(&operated.json(&["list", "--from", "2h"])), opened);
    assert_eq!(ids(&operated.json(&["list", "--to", "2h"])), [""; 0]);
    assert_eq!(ids(&operated.json(&["list", "--from", "2100-01-01T00:00:00Z"])), [""; 0]);

    let first = operated.json(&["list", "--limit", "2"]);
    assert_eq!(ids(&first), opened[..2]);
    let next = first["next"].as_str().unwrap();
    let text = said(&operated.run(&["list", "--limit", "2"]));
    assert!(text.ends_with(&format!("\nmore: --cursor {next}\n")), "{text}");
    let second = operated.json(&["list", "--limit", "2", "--cursor", next]);
    assert_eq!((ids(&second), &second["next"]), (opened[2..].to_vec(), &json!(null)));
    assert_eq!(ids(&operated.json(&["list", "--limit", "1", "--all"])), opened);
    assert_eq!(said(&operated.run(&["list", "--limit", "1", "--all"])).lines().count(), 3);
}

#[test]
fn a_command_says_that_no_gateway_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let configure = |line: &str| std::fs::write(folder.path().join("keystile.toml"), format!("[admin]\n{line}\n"));
    configure("listen = \"unix:admin.sock\"").unwrap();
    for arguments in [&["list"][..], &["show", "x"], &["revoke", "x"], &["mint", "--bot", "x"]] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(complained(&output).contains("it may not be running"), "{arguments:?}: {}", complained(&output));
    }
    configure("listen = \"off\"").unwrap();
    assert_eq!(run(folder.path(), &["list"]).status.code(), Some(2));
    // At an address a secret is needed before anybody is asked.
    configure("listen = \"127.0.0.1:1\"").unwrap();
    let output = run(folder.path(), &["list"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(complained(&output).contains("KEYSTILE_ADMIN"), "{}", complained(&output));
}

#[tokio::test]
async fn at_an_address_an_operator_opens_a_session_with_the_secret_and_nobody_without() {
    let made = NewClient::make("admin", &Entropy::system());
    let vendor = TestVendor::echo();
    let lines = format!("listen = \"127.0.0.1:0\"\nsecret_sha256 = \"{}\"", made.secret_sha256);
    let gateway = TestGateway::in_front_of(&vendor).admin(&lines).start();
    let url = format!("{}/v1/bots/support/sessions", gateway.admin.as_deref().unwrap());
    let ask = |secret: &str| gateway.client.post(&url).bearer_auth(secret).json(&json!({})).send();
    assert_eq!(ask(made.secret.expose()).await.unwrap().status(), 201);
    assert_eq!(refusal(ask(gateway.owner.expose()).await.unwrap()).await, (401, "invalid_client".to_owned()));
    let nobody = gateway.client.post(&url).json(&json!({})).send().await.unwrap();
    assert_eq!(refusal(nobody).await, (401, "credential_required".to_owned()));

    // A call made once is an operator's own: a client's with the same key is another.
    let once = |secret: &str, url: &str| {
        gateway.client.post(url).bearer_auth(secret).header("idempotency-key", "k").json(&json!({})).send()
    };
    let first: Value = once(made.secret.expose(), &url).await.unwrap().json().await.unwrap();
    let again: Value = once(made.secret.expose(), &url).await.unwrap().json().await.unwrap();
    assert_eq!(first["token"], again["token"]);
    let own = format!("{}/v1/bots/support/sessions", gateway.url);
    let other: Value = once(gateway.owner.expose(), &own).await.unwrap().json().await.unwrap();
    assert_ne!(first["sessionId"], other["sessionId"]);
}

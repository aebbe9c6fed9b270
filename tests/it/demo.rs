//! `keystile demo`, as somebody meets it who has just cloned the repository.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::{Running, keystile};

/// What every throw-away key of the demo's vendors begins with.
const KEY: &str = "sk-demo-";

/// A demo on a free port, with a folder that all its temporary files go to.
struct Demo {
    program: Running,
    folder: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let mut command = keystile();
        command.args(["demo", "--listen", "127.0.0.1:0"]).args(arguments).env("TMPDIR", state);
        let program = Running::start(&mut command, &folder.path().join("log"));
        Self { program, folder }
    }

    /// Ends it, and says what it left behind and what it logged.
    fn end(self) -> (Option<i32>, Vec<String>, String) {
        let status = self.program.terminate();
        let left = std::fs::read_dir(self.folder.path().join("state")).unwrap();
        let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        (status.code(), left, log)
    }
}

#[tokio::test]
async fn the_demo_shows_a_conversation_without_the_key_and_leaves_nothing_behind() {
    let mut demo = Demo::start(&["--json"]);
    let first: Value = serde_json::from_str(&demo.program.line()).unwrap();
    let (url, secret) = (first["url"].as_str().unwrap(), first["client"].as_str().unwrap());
    let bots = ["chatbotkit", "superseek", "aichatbothub", "hottask", "genesys", "openai", "directline"];
    assert_eq!(first["bots"], json!(bots));
    assert_eq!(first.as_object().unwrap().len(), 3);
    let client = reqwest::Client::new();

    let page = client.get(format!("{url}/")).send().await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let page = page.text().await.unwrap();
    assert!(page.contains("Keystile demo") && page.contains("\"chatbotkit\""));

    let opened = client.post(format!("{url}/v1/bots/chatbotkit/sessions")).bearer_auth(secret);
    let opened = opened.json(&json!({"durationInSeconds": 1800})).send().await.unwrap();
    let mut seen = format!("{page}{:?}", opened.headers());
    assert_eq!(opened.status(), 201);
    let opened: Value = opened.json().await.unwrap();
    let (token, conversation) = (opened["token"].as_str().unwrap(), opened["conversationId"].as_str().unwrap());

    let call = client.post(format!("{url}/api/v1/conversation/{conversation}/complete")).bearer_auth(token);
    let call = call.header("accept", "application/jsonl").json(&json!({"text": "Is anybody there?"}));
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    seen.push_str(&format!("{opened}{:?}", answer.headers()));
    let answer = answer.text().await.unwrap();
    assert!(answer.contains("\"type\":\"result\""), "{answer}");
    seen.push_str(&answer);

    let (token, secret) = (token.to_owned(), secret.to_owned());
    let (code, left, log) = demo.end();
    assert_eq!(code, Some(0));
    assert_eq!(left, [""; 0], "the temporary folder is still there");
    assert!(log.contains("/api/v1/conversation/{session}/complete"), "{log}");
    assert!(!seen.contains(KEY), "the client saw the vendor's key");
    for secret in [KEY, &token, &secret] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

/// The commands among what the demo prints: the indented paragraphs, but for the page's address.
fn commands(text: &str) -> String {
    let is_command =
        |paragraph: &&str| paragraph.lines().all(|line| line.starts_with("  ")) && !paragraph.starts_with("  http");
    text.split("\n\n").filter(is_command).map(|paragraph| format!("{paragraph}\n")).collect()
}

#[test]
fn what_the_demo_prints_can_be_pasted() {
    let mut demo = Demo::start(&[]);
    let mut text = String::new();
    while !text.lines().last().is_some_and(|line| line.contains("/session/create")) {
        text.push_str(&demo.program.line());
    }
    let commands = commands(text.trim_end());
    assert_eq!(commands.matches("curl ").count(), 3, "{commands}");

    let ran =
        Command::new("bash").args(["-eu", "-o", "pipefail", "-c", &commands]).stdin(Stdio::null()).output().unwrap();

    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{commands}\n{said}\n{complained}");
    for part in [
        "\"tokenType\":\"Bearer\"",
        "\"type\":\"token\"",
        "\"type\":\"result\"",
        "\"id\":\"chatbotkit\"",
        "\"conversationId\"",
    ] {
        assert!(said.contains(part), "`{part}` is not in: {said}\n{complained}");
    }
    assert!(!said.contains(KEY) && !text.contains(KEY));
    assert_eq!(demo.end().0, Some(0));
}

#[test]
fn the_demo_refuses_an_address_that_others_can_reach() {
    let ran = keystile().args(["demo", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("this machine itself only"));
}

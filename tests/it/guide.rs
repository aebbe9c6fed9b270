//! The guide to profiles, `docs/profiles.md`: its profiles are read, its walk ends in a vendor that can be talked to, and
//! its commands print what it shows.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::gateway::{KEY, TestGateway};
use crate::support::program::{complained, keystile, run, said};
use crate::support::vendor::{Answer, Seen, TestVendor, whole};

const GUIDE: &str = include_str!("../../docs/profiles.md");

/// Where the gateway is in the guide.
const ADDRESS: &str = "http://127.0.0.1:8080";

/// Between the outputs of two commands.
const BORDER: &str = "\n=== next ===\n";

/// A block of code: what it is, the file that it belongs to, its text.
struct Block {
    kind: &'static str,
    file: &'static str,
    text: &'static str,
}

fn blocks() -> Vec<Block> {
    let fenced = GUIDE.split("```").skip(1).step_by(2);
    fenced
        .map(|block| {
            let (head, text) = block.split_once('\n').unwrap();
            let (kind, file) = head.split_once(' ').unwrap_or((head, ""));
            Block { kind, file, text }
        })
        .collect()
}

/// A file of the guide, put together.
fn file(name: &str) -> String {
    let text: String = blocks().iter().filter(|block| block.file == name).map(|block| block.text).collect();
    assert!(!text.is_empty(), "{name}");
    text
}

/// A command that the guide shows, and what it prints.
#[derive(Debug)]
struct Shown {
    command: String,
    output: String,
}

/// The commands of a console: after `$`, over several lines where they end in `\`.
fn commands(console: &str) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    for line in console.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push(Shown { command: command.to_owned(), output: String::new() }),
            (None, Some(last)) if last.command.ends_with('\\') => last.command.push_str(&format!("\n{line}")),
            (None, Some(last)) => last.output.push_str(&format!("{line}\n")),
            (None, None) => panic!("a console begins with a command: {line}"),
        }
    }
    commands
}

/// Text without what differs from run to run: tokens, and blanks at the ends of lines.
fn plain(text: &str) -> String {
    let text = text.trim_matches('\n').lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let Some((before, token)) = text.split_once("eyJ") else { return text };
    let after = token.trim_start_matches(|sign: char| sign.is_ascii_alphanumeric() || "._-…".contains(sign));
    format!("{before}eyJ…{}", plain(after))
}

/// Acme, as its page says. It knows one session, and takes nothing that is not on the page.
fn acme(seen: &Seen) -> Answer {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let has_key = seen.headers.get("x-acme-key").is_some_and(|value| value == KEY);
    let answer = match (seen.method.as_str(), seen.target.as_str()) {
        _ if !has_key => return failure(401, "invalid_key"),
        ("POST", "/v2/sessions") if body["assistant"] == 4711 => {
            let session = json!({"session": {"id": "s_8f2c", "expires_in": body["lifetime"]}});
            return whole(201, "application/json", session.to_string());
        }
        ("POST", "/v2/messages") if body == json!({"text": body["text"], "session": "s_8f2c"}) => {
            json!({"reply": format!("{}!", body["text"].as_str().unwrap()), "session": "s_8f2c"})
        }
        ("POST", "/v2/sessions/s_8f2c/stream") if body == json!({"text": "Hello"}) => {
            let events = "data: {\"delta\":\"Hel\"}\n\ndata: {\"delta\":\"lo!\"}\n\n";
            return whole(200, "text/event-stream", events);
        }
        _ => return failure(404, "no_such_session"),
    };
    whole(200, "application/json", answer.to_string())
}

fn failure(status: u16, code: &str) -> Answer {
    whole(status, "application/json", json!({"error": {"code": code, "message": "No."}}).to_string())
}

/// Runs the guide from its beginning to its end in `folder`: writes its files and gives its commands to one shell.
fn follow(folder: &Path, gateway: &TestGateway) -> Vec<(Shown, String)> {
    let (mut script, mut shown) = (String::new(), Vec::new());
    for block in blocks() {
        if !block.file.is_empty() {
            script.push_str(&format!("cat >> {} <<'END OF FILE'\n{}END OF FILE\n", block.file, block.text));
        }
        if block.kind == "console" {
            for one in commands(block.text) {
                let command = one.command.replace(ADDRESS, &gateway.url);
                script.push_str(&format!("{command}\nprintf '%s' \"$BORDER\"\n"));
                shown.push(one);
            }
        }
    }
    let program = keystile();
    let programs = Path::new(program.get_program()).parent().unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("exec 2>&1\nPATH=$PROGRAMS:$PATH\n{script}")]).current_dir(folder);
    shell.env("PROGRAMS", programs).env("BORDER", BORDER).env("ACME_KEY", KEY).env("CLIENT", gateway.owner.expose());
    let printed = said(&shell.env_remove("RUST_LOG").output().unwrap());
    let outputs: Vec<String> = printed.split(BORDER).map(plain).collect();
    assert_eq!(outputs.len(), shown.len() + 1, "{printed}");
    shown.into_iter().zip(outputs).collect()
}

#[test]
fn every_command_of_the_guide_prints_what_it_shows() {
    let vendor = TestVendor::answering(acme);
    let gateway = TestGateway::with_profile(&vendor, &file("acme.toml")).ids("4711", "4712").start();
    let folder = tempfile::tempdir().unwrap();

    let followed = follow(folder.path(), &gateway);

    assert!(followed.len() > 10);
    let wrong: Vec<String> = followed
        .iter()
        .filter(|(shown, printed)| plain(&shown.output) != *printed)
        .map(|(shown, printed)| format!("$ {}\n{printed}\n", shown.command))
        .collect();
    assert!(wrong.is_empty(), "docs/profiles.md shows otherwise:\n{}", wrong.join("\n"));
    let seen = vendor.seen();
    assert_eq!(seen.len(), 4, "one session, two messages, one stream: all else was refused here");
    assert!(seen.iter().all(|call| !call.contains("eyJ") && !call.contains("ksc_")));
}

#[test]
fn every_example_of_the_guide_is_read_without_a_problem() {
    let examples: Vec<Block> =
        blocks().into_iter().filter(|block| block.kind == "toml" && block.file.is_empty()).collect();
    assert!(examples.len() >= 6);
    for example in examples {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("example.toml");
        std::fs::write(&path, format!("title = \"Example\"\n{}", example.text)).unwrap();
        let shown = run(&["profile", "show", path.to_str().unwrap()]);
        assert_eq!((shown.status.code(), complained(&shown).as_str()), (Some(0), ""), "{}", example.text);
    }
}

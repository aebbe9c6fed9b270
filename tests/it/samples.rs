//! The vendors' documented calls in the languages of their pages, run against the program as it is: only base URL and
//! credential are others.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::{TestGateway, claims};
use crate::support::node::NodeClient;
use crate::support::program::{Running, keystile};
use crate::support::vendor::TestVendor;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/samples");

/// The program in front of simulated vendors.
struct Program {
    _running: Running,
    _folder: TempDir,
    environment: [(String, String); 2],
}

fn start() -> Program {
    let folder = tempfile::tempdir().unwrap();
    let mut command = keystile();
    command.args(["demo", "--listen", "127.0.0.1:0", "--json"]).env("TMPDIR", folder.path());
    let mut running = Running::start(&mut command, &folder.path().join("log"));
    let first: Value = serde_json::from_str(&running.line()).unwrap();
    let text = |name: &str| first[name].as_str().unwrap().to_owned();
    let environment = [("BASE".to_owned(), text("url")), ("KEY".to_owned(), text("client"))];
    Program { _running: running, _folder: folder, environment }
}

fn run(command: &mut Command) -> String {
    let ran =
        command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run ({error}); tests/run installs it"));
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{command:?}\n{said}\n{complained}");
    assert!(!said.contains("sk-demo-"), "a sample saw a vendor's key: {said}");
    said.into_owned()
}

#[test]
fn the_documented_calls_work_with_curl() {
    let program = start();
    let said = run(Command::new("bash").arg(Path::new(SAMPLES).join("samples.sh")).envs(program.environment.clone()));

    for (vendor, part) in [
        ("chatbotkit", "I heard: Hello?"),
        ("superseek", "I heard: Hello?"),
        ("aichatbothub", "I heard: Hello?"),
        ("hottask", "I heard: Hello?"),
        ("genesys", "v-curl"),
        ("openai", "I heard: Hello?"),
        ("directline", "I heard: Hello?"),
        ("directline", r#""attachments":[{"contentType":"multipart/form-data"}]"#),
        ("directline-rest", r#"{"activities":[],"watermark":"4"}"#),
    ] {
        assert!(
            said.lines().any(|line| line.split(' ').next() == Some(vendor) && line.contains(part)),
            "{vendor}: {said}"
        );
    }
}

#[test]
fn the_documented_calls_work_with_python_and_openais_own_client() {
    let (program, place) = (start(), tempfile::tempdir().unwrap());
    let mut install = Command::new("python3");
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
    run(install.arg(place.path()).args(["-r", "requirements.txt"]).current_dir(SAMPLES));

    let mut python = Command::new("python3");
    python.arg("samples.py").current_dir(SAMPLES).envs(program.environment.clone());
    let said = run(python.env("PYTHONPATH", place.path()).env("PYTHONDONTWRITEBYTECODE", "1"));

    let said: Value = serde_json::from_str(&said).unwrap();
    for vendor in ["chatbotkit", "aichatbothub", "hottask", "directline"] {
        assert!(said[vendor].as_str().unwrap().contains("Hello?"), "{vendor}: {said}");
    }
    for vendor in ["superseek", "openai_client"] {
        assert!(said[vendor][0].as_str().unwrap().contains("Hello?"), "{vendor}: {said}");
        assert!(said[vendor][1].as_str().unwrap().contains("And now?"), "{vendor}: {said}");
    }
    assert_eq!(said["genesys"], "v-python");
}

/// What a client of `tests/clients` printed as JSON.
fn run_node(program: &Program, client: &str, script: &str) -> Value {
    let environment = program.environment.each_ref().map(|(name, value)| (name.as_str(), value.as_str()));
    let said = NodeClient::install(client).run(&[script], &environment);
    assert!(!said.contains("sk-demo-"), "{client} saw a vendor's key: {said}");
    serde_json::from_str(&said).unwrap()
}

#[test]
fn the_documented_calls_work_with_fetch_axios_and_openais_own_client() {
    let program = start();
    let said = run_node(&program, "samples", "samples.mjs");

    for vendor in ["chatbotkit", "superseek", "aichatbothub", "hottask", "openai"] {
        assert!(said[vendor].as_str().unwrap().contains("Hello?"), "{vendor}: {said}");
    }
    assert!(said["responses"].as_str().unwrap().contains("And now?"), "{said}");
    assert_eq!(said["genesys"], "v-node");
}

#[tokio::test]
async fn openais_own_client_does_not_repeat_a_call_whose_answer_was_lost() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let calls = Arc::clone(&counted);
        async move {
            let mut part = [0; 4096];
            let mut came = String::new();
            while let Ok(length @ 1..) = tokio::io::AsyncReadExt::read(&mut stream, &mut part).await {
                came.push_str(&String::from_utf8_lossy(&part[..length]));
                if came.contains("Hello?") {
                    calls.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
        }
    });
    let gateway = TestGateway::built_in(&vendor, "openai").start();
    let session = gateway.mint("support").await;
    let url = gateway.url.clone();
    let client = move || {
        let environment = [("BASE", url.as_str()), ("KEY", session.token.as_str())];
        NodeClient::install("samples").run(&["lost.mjs"], &environment)
    };
    let said = tokio::task::spawn_blocking(client).await.unwrap();
    assert_eq!((said.trim(), calls.load(Ordering::SeqCst)), ("409", 1));
}

#[test]
fn microsofts_own_client_talks_over_a_websocket_that_breaks_and_by_polling() {
    let program = start();
    let base = &program.environment[0].1;
    let said = run_node(&program, "directline", "talk.mjs");

    for way in ["streamed", "polled"] {
        let seen = &said[way];
        let (generated, token) = (&seen["generated"], seen["generated"]["token"].as_str().unwrap());
        assert_eq!((&seen["conversationId"], &seen["token"]), (&generated["conversationId"], &generated["token"]));
        assert_eq!(seen["statuses"], json!(["Uninitialized", "Connecting", "Online"]), "{way}");
        let activities = seen["activities"].as_array().unwrap();
        let told: Vec<_> = activities.iter().map(|activity| (&activity["from"]["id"], &activity["text"])).collect();
        let (user, bot) = (json!(format!("dl_{}", claims(token)["sub"].as_str().unwrap())), json!("bot"));
        let texts = ["Hello?", "I heard: Hello?", "And now?", "I heard: And now?"].map(Value::from);
        let [asked, answered, again, at_last] = &texts;
        assert_eq!(told, [(&user, asked), (&bot, answered), (&user, again), (&bot, at_last)], "{way}");
    }
    let sockets = said["streamed"]["sockets"].as_array().unwrap();
    let here = format!("{}/v3/directline/conversations/", base.replacen("http", "ws", 1));
    assert!(sockets.len() > 1 && sockets.iter().all(|url| url.as_str().unwrap().starts_with(&here)), "{sockets:?}");
}

//! Keys are rotated with `keystile keys rotate` while replicas that share them are at work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::gateway::{self, PUBLIC_URL, Session, TestGateway};
use crate::support::home::Home;
use crate::support::program::{complained, run, said};
use crate::support::vendor::TestVendor;
use crate::support::{eventually, until};

/// A configuration for the command alone, with the gateway's key directory.
fn configuration(gateway: &TestGateway, folder: &std::path::Path) -> String {
    let file = folder.join("keystile.toml");
    let text = format!("[server]\npublic_url = \"{PUBLIC_URL}\"\n[tokens]\nkeys = \"{}\"\n", gateway.keys().display());
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

async fn published(gateway: &TestGateway) -> Vec<String> {
    let set: Value = gateway.call(Method::GET, "/.well-known/jwks.json").send().await.unwrap().json().await.unwrap();
    let mut kids: Vec<String> =
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    kids.sort();
    kids
}

fn signer(session: &Session) -> String {
    gateway::header(&session.token)["kid"].as_str().unwrap().to_owned()
}

async fn call(gateway: &TestGateway, session: &Session) -> u16 {
    gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap().status().as_u16()
}

fn listed(arguments: &[&str]) -> Vec<Value> {
    let output = run(arguments);
    assert!(output.status.success(), "{}", complained(&output));
    serde_json::from_str(&said(&output)).unwrap()
}

#[tokio::test]
async fn replicas_follow_a_rotation_without_a_restart_and_tokens_of_both_keys_verify_throughout() {
    let (vendor, folder) = (TestVendor::echo(), tempfile::tempdir().unwrap());
    let one = TestGateway::in_front_of(&vendor).start();
    let two = TestGateway::in_front_of(&vendor).in_place_of(&one).start();
    let file = configuration(&one, folder.path());
    let before = one.mint("support").await;

    let keys = listed(&["keys", "rotate", "-c", &file, "--delay", "1h", "--json"]);
    let states: Vec<&str> = keys.iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["signing", "next", "next", "sealing"]);
    for gateway in [&one, &two] {
        // Nobody restarts it.
        until("the next key is published", async || (published(gateway).await.len() == 2).then_some(())).await;
    }
    let meanwhile = two.mint("support").await;
    assert_eq!(signer(&meanwhile), signer(&before), "published before it signs");
    let again = run(&["keys", "rotate", "-c", &file]);
    assert!(!again.status.success() && complained(&again).contains("rotate after that"), "{}", complained(&again));

    for gateway in [&one, &two] {
        gateway.clock.advance(Duration::from_secs(3700));
    }
    let wish = json!({"durationInSeconds": 86_400});
    let (after, other) = (one.mint_with("support", wish.clone()).await, two.mint_with("support", wish).await);
    assert_eq!((signer(&after), signer(&other)), (keys[1]["kid"].as_str().unwrap().to_owned(), signer(&after)));
    let last = two.mint_with("support", json!({"durationInSeconds": 86_400})).await;
    for session in [&after, &other, &last] {
        assert_eq!((call(&one, session).await, call(&two, session).await), (200, 200));
    }
}

#[tokio::test]
async fn a_token_of_a_key_that_another_replica_has_just_read_is_good_at_once() {
    let (vendor, folder) = (TestVendor::echo(), tempfile::tempdir().unwrap());
    let one = TestGateway::in_front_of(&vendor).start();
    let file = configuration(&one, folder.path());
    let before = one.mint_with("support", json!({"durationInSeconds": 86_400})).await;
    listed(&["keys", "rotate", "-c", &file, "--delay", "10s", "--json"]);
    let two = TestGateway::in_front_of(&vendor).in_place_of(&one).start();
    for gateway in [&one, &two] {
        gateway.clock.advance(Duration::from_secs(60));
    }
    let after = two.mint("support").await;
    assert_ne!(signer(&after), signer(&before));
    // Whether it has looked by itself already or not.
    assert_eq!((call(&one, &after).await, call(&one, &before).await), (200, 200));
}

#[tokio::test]
async fn a_key_directory_that_hangs_stops_no_call_whatever_keys_are_named() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    // Whoever opens it to read waits until somebody writes.
    let file = gateway.keys().join("keys.json");
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&file).status().unwrap().success());

    let stranger = TestGateway::in_front_of(&vendor).start().mint("support").await;
    for _ in 0..3 {
        let strange = (0..6).map(|_| call(&gateway, &stranger));
        let all = futures_util::future::join_all(strange);
        let all = tokio::time::timeout(Duration::from_secs(10), all).await.expect("an answer");
        assert_eq!(all, [401; 6]);
        let good = tokio::time::timeout(Duration::from_secs(10), call(&gateway, &session)).await;
        assert_eq!(good.expect("an answer"), 200);
        // The next of an unknown key asks for another look.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    // Lets go of who waits for it.
    drop(std::fs::OpenOptions::new().read(true).write(true).open(&file).unwrap());
}

#[tokio::test]
async fn a_key_that_is_taken_away_takes_its_tokens_along_and_a_broken_file_changes_nothing() {
    let (vendor, folder) = (TestVendor::echo(), tempfile::tempdir().unwrap());
    let limits = "limits = { mint_per_ip = \"30/1m\", per_bot = \"1000000/1m\", per_session = \"1000000/1m\" }";
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();
    let file = configuration(&gateway, folder.path());
    let before = gateway.mint_with("support", json!({"durationInSeconds": 86_400})).await;
    assert_eq!(call(&gateway, &before).await, 200, "it is in the cache now");
    listed(&["keys", "rotate", "-c", &file, "--delay", "10s", "--json"]);
    let keys = gateway.keys().join("keys.json");
    let whole = fs::read_to_string(&keys).unwrap();

    for broken in ["", "{\"keys\": []}", &whole[..whole.len() / 2]] {
        fs::write(&keys, broken).unwrap();
        let strange = before.token.replacen("eyJ", "eyK", 1);
        let refused = gateway.call(Method::GET, "/read").bearer_auth(strange).send().await.unwrap();
        assert_eq!((refused.status(), call(&gateway, &before).await), (http::StatusCode::UNAUTHORIZED, 200));
    }
    let mut contents: Value = serde_json::from_str(&whole).unwrap();
    contents["keys"].as_array_mut().unwrap().retain(|key| key["kid"] != json!(signer(&before)));
    fs::write(&keys, contents.to_string()).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();

    let refused = async || Some(call(&gateway, &before).await).filter(|status| *status != 200);
    assert_eq!(until("tokens of a key that is gone are refused", refused).await, 401);
    gateway.clock.advance(Duration::from_secs(60));
    let after = gateway.mint("support").await;
    assert_eq!(call(&gateway, &after).await, 200);
}

#[tokio::test]
async fn a_key_directory_that_is_gone_is_complained_of_and_what_was_read_stays_in_force() {
    let home = Home::new(&TestVendor::echo(), "");
    let at = home.start().await;
    let token = home.mint(&at).await;
    let keys = home.folder.path().join("certs/signing/keys.json");
    fs::rename(&keys, home.folder.path().join("elsewhere")).unwrap();
    let log = || fs::read_to_string(&at.log).unwrap();
    eventually("the log says so", || log().contains("the key directory has changed and cannot be used")).await;
    assert_eq!(home.say(&home.http, &at.url, &token).send().await.unwrap().status(), 200);
}

//! Commands that are given secrets in the wrong places.

use serde_json::json;

use super::{home, search};
use crate::support::gateway::KEY;
use crate::support::program::{complained, keystile, run, said};

/// A secret in a form that no message repeats.
const SECRETS: [&str; 5] = [
    KEY,
    "sk_live_0123456789abcdef",
    "123e4567-e89b-12d3-a456-426614174000",
    "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQ",
    "ksc_website_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
];

#[test]
fn check_repeats_no_secret_that_stands_in_the_wrong_place() {
    let folder = tempfile::tempdir().unwrap();
    home::write(folder.path(), "http://127.0.0.1:9", "http://127.0.0.1:9");
    let file = folder.path().join("keystile.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let key = "keys = [{ env = \"KEY\" }]";
    let digest = good.lines().find(|line| line.starts_with("secret_sha256")).unwrap();
    for secret in SECRETS {
        let pem = format!("-----BEGIN PRIVATE KEY-----\\n{secret}\\n-----END PRIVATE KEY-----\\n");
        for (from, to) in [
            (key, format!("keys = [\"{secret}\"]")),
            (key, format!("keys = \"{secret}\"")),
            (key, format!("keys = [{{ env = \"{secret}\" }}]")),
            (key, format!("keys = [{{ file = \"{secret}\" }}]")),
            (key, format!("keys = [{{ value = \"{secret}\" }}]")),
            (key, format!("keys = [{{ env = {secret} }}]")),
            (key, format!("keys = [{secret}]")),
            (key, format!("keys = [{{ env = \"{secret}\n\" }}]")),
            (key, format!("keys = [{{ env = '''{secret}")),
            (key, format!("{key}\nproxy = \"http://user:{secret}@proxy.test:3128\"")),
            (key, format!("{key}\nproxy = \"http://127.0.0.1:9\"\nproxy_credentials = \"user:{secret}\"")),
            (key, format!("{key}\nclient_cert = {{ cert = \"{pem}\", key = \"{pem}\" }}")),
            (key, format!("{key}\nca = \"{pem}\"")),
            ("base_url = \"http://127.0.0.1:9\"", format!("base_url = \"https://user:{secret}@127.0.0.1\"")),
            ("base_url = \"http://127.0.0.1:9\"", format!("base_url = \"https://vendor.test/?api_key={secret}\"")),
            ("base_url = \"http://127.0.0.1:9\"", format!("base_url = \"{secret}\"")),
            ("https://chat.example.com", format!("https://user:{secret}@chat.example.com")),
            ("workers = 2", format!("workers = 2\ntls = {{ cert = \"{pem}\", key = \"{pem}\" }}")),
            (digest, format!("secret_sha256 = \"{secret}\"")),
        ] {
            std::fs::write(&file, good.replacen(from, &to, 1)).unwrap();
            refused_in_silence(&file, secret, &to);
        }
    }
    let owner = SECRETS[4];
    let to = format!("owners = [\"{owner}\"]");
    std::fs::write(&file, good.replacen("owners = [\"website\"]", &to, 1)).unwrap();
    refused_in_silence(&file, owner, &to);
}

fn refused_in_silence(file: &std::path::Path, secret: &str, what: &str) {
    for command in [["check"].as_slice(), &["check", "--json"], &["serve"]] {
        let ran = keystile().args(command).arg("-c").arg(file).envs(home::variables()).output().unwrap();
        assert_eq!(ran.status.code(), Some(2), "{what}: {}{}", said(&ran), complained(&ran));
        search::refuse(secret, what, &said(&ran));
        search::refuse(secret, what, &complained(&ran));
    }
}

#[test]
fn inspect_explains_a_broken_token_and_shows_nothing_that_steers_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    home::write(folder.path(), "http://127.0.0.1:9", "http://127.0.0.1:9");
    let file = folder.path().join("keystile.toml");
    let file = file.to_str().unwrap();
    let part = |value: serde_json::Value| search::base64url(&value.to_string());
    let evil = "a\u{1b}[2J\u{202e}\n";
    let signature = "c2lnbmF0dXJlLXRoYXQtaXMtbm90LXNob3du";
    for token in [
        format!("{}.{}.{signature}", part(json!({"alg": evil, "kid": evil})), part(json!({"name": evil, evil: evil}))),
        format!("a.b.{signature}"),
        signature.to_owned(),
        format!("{evil}{signature}"),
        signature.repeat(1000),
    ] {
        for more in [&[][..], &["--json"]] {
            let ran = run(&[&["token", "inspect", token.as_str(), "-c", file], more].concat());
            assert_eq!(ran.status.code(), Some(1));
            let text = said(&ran) + &complained(&ran);
            assert!(!text.contains(signature) && text.lines().all(search::readable), "{text:?}");
            for private in home::private_keys(folder.path()) {
                search::refuse(&private, "what is inspected", &text);
            }
        }
    }
}

#[test]
fn a_wrong_name_of_a_client_is_not_repeated() {
    for secret in SECRETS.iter().map(|secret| format!("{secret} ")) {
        let ran = run(&["client", "new", &secret]);
        assert_eq!(ran.status.code(), Some(2));
        search::refuse(secret.trim(), "client new", &(said(&ran) + &complained(&ran)));
    }
}

//! The program is killed as soon as it has answered: what it answered is still so when it runs again.

use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::Client;
use serde_json::{Value, json};

use crate::support::program::{Running, keystile, listening};

const REPETITIONS: usize = 12;

/// OpenAI has no session call, so that no vendor is needed.
fn configuration(digest: &str) -> String {
    format!(
        r#"
[server]
listen     = "127.0.0.1:0"
public_url = "http://127.0.0.1:8080"
workers    = 2

[vendors.acme]
profile  = "openai"
base_url = "http://127.0.0.1:9"
keys     = [{{ env = "CRASH_KEY" }}]

[bots.support]
vendor     = "acme"
vendor_id  = "model-1"
visibility = "private"
owners     = ["website"]

[clients.website]
secret_sha256 = "{digest}"
"#
    )
}

#[tokio::test]
async fn what_was_answered_before_a_sigkill_is_still_so_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let owner = NewClient::make("website", &Entropy::system());
    let (file, log) = (folder.path().join("keystile.toml"), folder.path().join("log"));
    std::fs::write(&file, configuration(&owner.secret_sha256)).unwrap();
    let http = Client::new();
    let mut before: Option<(String, String, String)> = None;
    for round in 0..=REPETITIONS {
        let mut command = keystile();
        command.arg("serve").arg("-c").arg(&file).env("CRASH_KEY", "sk-crash-0123456789abcdef");
        let running = Running::start(&mut command, &log);
        let url = format!("http://{}", listening(&log).await);
        let get =
            |id: &str, credential: &str| http.get(format!("{url}/v1/sessions/{id}")).bearer_auth(credential).send();
        if let Some((kept, ended, token)) = &before {
            let shown: Value = get(kept, owner.secret.expose()).await.unwrap().json().await.unwrap();
            assert_eq!(shown["state"], "open", "round {round}: {shown}");
            let shown: Value = get(ended, owner.secret.expose()).await.unwrap().json().await.unwrap();
            assert_eq!(shown["state"], "ended", "round {round}: {shown}");
            let refused: Value = get(ended, token).await.unwrap().json().await.unwrap();
            assert_eq!(refused["code"], "token_revoked", "round {round}");
        }
        let mint = async || -> (String, String) {
            let call = http.post(format!("{url}/v1/bots/support/sessions")).bearer_auth(owner.secret.expose());
            let answer: Value = call.json(&json!({})).send().await.unwrap().json().await.unwrap();
            let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
            (text("sessionId"), text("token"))
        };
        let (ended, token) = mint().await;
        let gone = http.delete(format!("{url}/v1/sessions/{ended}")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(gone.status(), 204);
        let (kept, _) = mint().await;
        // SIGKILL, as soon as the last of them was answered.
        drop(running);
        before = Some((kept, ended, token));
    }
}

//! Keys of calls that are made once.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stage::{CANARY, Stage};

/// Provokes what can go wrong with them.
pub(super) async fn all(stage: &mut Stage) {
    let bearer = format!("authorization: Bearer {}", stage.owner);
    let json_body = "content-type: application/json";
    let call = "POST /v1/bots/support/sessions";
    let key = format!("idempotency-key: {CANARY}-{}", stage.stranger);
    let lines = [bearer.as_str(), json_body, key.as_str()];
    let answer = stage.call(call, &lines, "{}").await;
    let token = answer.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    stage.tokens.push(token.clone());
    let again = stage.call(call, &lines, "{}").await;
    assert!(again.contains("idempotent-replayed: true") && again.contains(&token), "{again}");
    stage.call(call, &lines, &json!({"meta": {CANARY: 1}}).to_string()).await;
    for wrong in [format!("\"{CANARY}"), CANARY.repeat(50), format!("{CANARY}\u{202e}")] {
        stage.call(call, &[&bearer, json_body, &format!("idempotency-key: {wrong}")], "{}").await;
    }
    // Of two with one key one is in flight while the vendor is silent.
    let body = json!({"visitId": "silent"}).to_string();
    let length = body.len();
    let head = format!("{call} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{bearer}\r\n{json_body}\r\n");
    let first = format!("{head}idempotency-key: {CANARY}\r\ncontent-length: {length}\r\n\r\n{body}");
    let mut held = TcpStream::connect(&stage.address).await.unwrap();
    held.write_all(first.as_bytes()).await.unwrap();
    stage.raw(&first).await;
    let mut answer = Vec::new();
    held.read_to_end(&mut answer).await.unwrap();
    stage.answers.push(String::from_utf8_lossy(&answer).into_owned());
}

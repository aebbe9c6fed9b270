//! Every failure there is.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::once;
use super::stage::{CANARY, Stage};
use crate::support::gateway::{KEY, claims};

/// A client's secret of nobody.
const WRONG: &str = "ksc_website_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const JSON: &str = "content-type: application/json";
const SOCKET: [&str; 3] = ["connection: Upgrade", "upgrade: websocket", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="];

/// Provokes them; those last that shut the caller out.
pub(super) async fn all(stage: &mut Stage) {
    let token = stage.mint("support", &json!({"contact": {"name": "Jo"}})).await;
    openings(stage).await;
    once::all(stage).await;
    answers(stage, &token).await;
    credentials(stage, &token).await;
    places(stage, &token).await;
    bodies(stage, &token).await;
    sockets(stage, &token).await;
    goaway(stage).await;
    limits(stage).await;
}

/// Sessions that the vendor does not give, or gives so that they are of no use.
async fn openings(stage: &mut Stage) {
    for mode in [
        "silent",
        "401",
        "403",
        "500",
        "business",
        "302",
        "text",
        "unquoted",
        "id",
        "token-id",
        "steers",
        "short",
        "past",
        "large",
        "close-malformed",
        "close-status",
        "close-body",
        "close",
    ] {
        stage.ask("support", &json!({"visitId": mode})).await;
    }
    for bot in ["dead", "far", "secure"] {
        stage.ask(bot, &json!({})).await;
    }
    stage.ask("spent", &json!({"visitId": "429"})).await;
    let owner = format!("x-api-key: {}", stage.owner);
    let answer = stage.call("POST /accept/id-support", &[&owner, JSON], "{}").await;
    assert!(answer.contains("\"said\":{"), "{answer}");
    // An answer with a token in it, as those of the native call are.
    let token = answer.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    stage.tokens.push(token.to_owned());
    for wish in [
        json!({"durationInSeconds": 1}),
        json!({"contact": {"email": format!("{CANARY}\u{1b}\u{202e}@")}}),
        json!({"contact": {"name".repeat(100): 1}}),
        json!({"messages": [{"type": CANARY, "text": KEY}]}),
        json!({"meta": {CANARY: 1}}),
        json!({WRONG: 1}),
        json!({"contact": {WRONG: 1}}),
        json!({"name\u{202e}\n\u{1b}[2J": 1}),
        json!({"visitorAddress": CANARY}),
        json!({"origin": format!("https://{CANARY}.test")}),
    ] {
        stage.ask("support", &wish).await;
    }
}

/// Answers of the vendor that give everything away.
async fn answers(stage: &mut Stage, token: &str) {
    let bearer = format!("authorization: Bearer {token}");
    for mode in [
        "",
        "silent",
        "401",
        "403",
        "404",
        "500",
        "302",
        "gzip",
        "coding",
        "close-chunk",
        "close-malformed",
        "close-status",
        "close-body",
        "close",
    ] {
        let mode = format!("x-do: {mode}");
        let evil = format!("x-{CANARY}: {CANARY}\u{202e}");
        stage.call(&format!("GET /read?q={CANARY}"), &[&bearer, &mode, &evil], "").await;
        stage.call("POST /say", &[&bearer, &mode, JSON], &json!({"text": CANARY}).to_string()).await;
    }
}

/// Wrong credentials, in every place where one may stand.
async fn credentials(stage: &mut Stage, token: &str) {
    let (owner, stranger) = (stage.owner.clone(), stage.stranger.clone());
    let (expired, moved) = (stage.mint_elsewhere("", 7200).await, stage.mint_elsewhere("-other", 0).await);
    let bearer = |text: &str| format!("authorization: Bearer {text}");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    for line in [
        bearer(&expired),
        bearer(&moved),
        bearer(&forged),
        bearer(&owner),
        bearer(WRONG),
        bearer(&format!("{CANARY}.{CANARY}.{CANARY}")),
        bearer(&"a".repeat(9000)),
        format!("authorization: Basic {WRONG}"),
        format!("authorization: {token}"),
        format!("{}\r\n{}", bearer(token), bearer(&owner)),
        format!("x-api-key: {WRONG}\r\n{}", bearer(token)),
        format!("cookie: session={token}"),
        format!("{CANARY}: {token}"),
        format!("{}\u{202e}", bearer(token)),
    ] {
        stage.call("GET /read", &[&line], "").await;
    }
    recognised(stage).await;
    ended(stage).await;
    for lines in [
        vec![bearer(&stranger)],
        vec![bearer(&owner), "origin: https://www.example.com".to_owned()],
        vec![bearer(WRONG)],
        vec![bearer(token)],
        vec![],
        vec![format!("origin: {CANARY}")],
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).chain([JSON]).collect();
        stage.call("POST /v1/bots/support/sessions", &lines, "{}").await;
    }
    stage.call(&format!("POST /v1/bots/{CANARY}/sessions"), &[&bearer(&owner)], "{}").await;
    stage.call("POST /accept/support", &[&format!("x-api-key: {WRONG}"), JSON], "{}").await;
    stage.call("GET /read", &[&bearer(token), &format!("origin: https://{CANARY}.test")], "").await;
    stage.call("POST /upsert", &[&bearer(token), JSON], "{}").await;
}

/// A visitor who becomes known, and what is no use any more then.
async fn recognised(stage: &mut Stage) {
    let token = stage.mint("support", &json!({})).await;
    let owner = format!("authorization: Bearer {}", stage.owner);
    let path = format!("POST /v1/sessions/{}/contact", claims(&token)["sid"].as_str().unwrap());
    for email in ["ada@example.com", "eve@example.com"] {
        let body = json!({"token": token, "contact": {"email": email}, WRONG: 1});
        stage.call(&path, &[&owner, JSON], &body.to_string()).await;
        let body = json!({"token": token, "contact": {"email": email}});
        let answer = stage.call(&path, &[&owner, JSON], &body.to_string()).await;
        if let Some(new) = answer.split("\"token\":\"").nth(1) {
            stage.tokens.push(new.split('"').next().unwrap().to_owned());
        }
    }
    stage.call("GET /read", &[&format!("authorization: Bearer {token}")], "").await;
    stage.call(&path, &[&owner, JSON], &json!({"token": WRONG, "contact": {"email": CANARY}}).to_string()).await;
}

/// A session that was ended, and one too many of a contact.
async fn ended(stage: &mut Stage) {
    let token = stage.mint("support", &json!({"contact": {"email": CANARY.to_owned() + "@example.com"}})).await;
    let owner = format!("authorization: Bearer {}", stage.owner);
    let bearer = format!("authorization: Bearer {token}");
    let path = format!("/v1/sessions/{}", claims(&token)["sid"].as_str().unwrap());
    for who in [&bearer, &owner] {
        stage.call(&format!("GET {path}"), &[who], "").await;
        stage.call(&format!("GET {path}?{WRONG}"), &[who], "").await;
        stage.call(&format!("GET /v1/sessions?contact={WRONG}"), &[who], "").await;
    }
    stage.call(&format!("POST {path}/renew"), &[&bearer, JSON], &json!({WRONG: 1}).to_string()).await;
    stage.call(&format!("DELETE {path}"), &[&bearer], "").await;
    stage.call("GET /read", &[&bearer], "").await;
    let body = json!({"contact": {"email": format!("{CANARY}@example.org")}}).to_string();
    for _ in 0..3 {
        let answer = stage.call("POST /v1/bots/support/sessions", &[&owner, JSON], &body).await;
        if let Some(new) = answer.split("\"token\":\"").nth(1) {
            stage.tokens.push(new.split('"').next().unwrap().to_owned());
        }
    }
}

/// Secrets and control characters in paths, queries, hosts and headers.
async fn places(stage: &mut Stage, token: &str) {
    let bearer = format!("authorization: Bearer {token}");
    for call in [
        format!("GET /{CANARY}/{token}?{CANARY}={token}"),
        format!("GET /{CANARY}//{token}"),
        format!("GET /{CANARY}/%0a%1b%e2%80%ae"),
        format!("GET /bots/{CANARY}/read"),
        format!("GET /sessions/{token}/read"),
        format!("GET /sessions/{CANARY}/read"),
        format!("DELETE /read?{token}"),
        format!("GET /read?q={CANARY}&q={token}"),
        format!("GET /read?q=%zz{CANARY}"),
        format!("{} /read", CANARY.to_uppercase()),
        format!("GET http://{CANARY}@gateway/"),
        format!("CONNECT {CANARY}:443"),
        format!("GET /{CANARY}\u{202e}"),
        format!("GET /{CANARY}\u{1b}[2J"),
    ] {
        stage.call(&call, &[&bearer], "").await;
    }
    for host in [format!("{CANARY}@x"), format!("{CANARY},{token}"), format!("{CANARY}\u{202e}"), token.to_owned()] {
        stage.call("GET /read", &[&bearer, &format!("host: {host}")], "").await;
    }
    stage.raw(format!("GET /{CANARY} HTTP/1.1\r\n{CANARY} : {token}\r\n\r\n")).await;
    stage.raw(format!("{CANARY}\u{1b}{token}\r\n\r\n")).await;
    stage.raw(format!("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: {CANARY}\r\n\r\n")).await;
    stage.raw(format!("GET / HTTP/1.1\r\nhost: x\r\n{}: 1\r\n\r\n", CANARY.repeat(9000))).await;
}

/// Bodies that are refused, with secrets in them.
async fn bodies(stage: &mut Stage, token: &str) {
    let bearer = format!("authorization: Bearer {token}");
    let owner = stage.owner.clone();
    for body in [
        format!("{{\"{CANARY}\":{token}"),
        format!("{{\"{token}\":1,\"{token}\":2}}"),
        format!("{{\"{owner}\":1,\"{owner}\":2}}"),
        format!("{{\"{CANARY}\\u202e\\n\":1,\"{CANARY}\\u202e\\n\":2}}"),
        format!("[\"{CANARY}\"]"),
        format!("{}{CANARY}", "[".repeat(100)),
        "x".repeat(300_000),
        " ".repeat(60_000),
    ] {
        // A name that is twice in a body is told to whoever sent it, as far as it is too short for a secret.
        let body = if body.contains("\\u202e") { body.replace(CANARY, "twice") } else { body };
        stage.call("POST /say", &[&bearer, JSON], &body).await;
    }
    // Neither of two bodies ends, and there is room for one.
    let narrow = stage.mint("narrow", &json!({})).await;
    let head = format!("POST /narrow/say HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {narrow}\r\n{JSON}\r\n");
    let part = format!("{head}content-length: 60001\r\n\r\n{}", "x".repeat(60_000));
    while !stage.answers.iter().any(|answer| answer.contains("overloaded")) {
        assert!(stage.answers.len() < 200, "no body was one too many");
        let mut held = TcpStream::connect(&stage.address).await.unwrap();
        held.write_all(part.as_bytes()).await.unwrap();
        stage.raw(&part).await;
        let mut answer = Vec::new();
        let _ended = held.read_to_end(&mut answer).await;
        stage.answers.push(String::from_utf8_lossy(&answer).into_owned());
    }
    stage.call("POST /say", &[&bearer, &format!("content-type: {CANARY}/{token}")], "{}").await;
    stage.call("POST /say", &[&bearer, JSON, &format!("content-encoding: {CANARY}")], "{}").await;
    let head = format!("POST /say HTTP/1.1\r\nhost: gateway\r\n{bearer}\r\n{JSON}\r\n");
    stage.raw(format!("{head}content-length: 100\r\n\r\n{{\"{CANARY}")).await;
    stage.raw(format!("{head}transfer-encoding: chunked\r\n\r\n{CANARY}\r\n")).await;
    stage.raw(format!("{head}transfer-encoding: chunked, {CANARY}\r\n\r\n")).await;
    let upload = head.replace("/say", "/upload");
    stage.raw(format!("{upload}connection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n{CANARY}\r\n")).await;
}

/// Requests for a WebSocket, with the token as a protocol.
async fn sockets(stage: &mut Stage, token: &str) {
    let call = format!("GET /socket?q={CANARY}");
    for (protocols, version, mode) in [
        (format!("keystile.bearer, {token}"), "13", "socket"),
        (format!("keystile.bearer, {token}, {CANARY}"), "12", "socket"),
        (format!("keystile.bearer, {WRONG}"), "13", "socket"),
        (format!("keystile.bearer, {token}, keystile.bearer, {token}"), "13", "socket"),
        (format!("{token}, {CANARY}"), "13", "socket"),
        (format!("keystile.bearer, {token}"), "13", "500"),
        (format!("keystile.bearer, {token}"), "13", "close"),
    ] {
        let lines = [
            format!("sec-websocket-protocol: {protocols}"),
            format!("sec-websocket-version: {version}"),
            format!("x-do: {mode}"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).chain(SOCKET).collect();
        let head = lines.join("\r\n");
        stage.raw(format!("{call} HTTP/1.1\r\nhost: gateway\r\n{head}\r\n\r\n")).await;
    }
}

/// An HTTP/2 client that says goodbye with a secret.
async fn goaway(stage: &mut Stage) {
    let owner = stage.owner.as_bytes();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    bytes.extend([0, 0, u8::try_from(owner.len() + CANARY.len() + 8).unwrap(), 7, 0, 0, 0, 0, 0]);
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 2]);
    bytes.extend(owner);
    bytes.extend(CANARY.bytes());
    stage.raw(bytes).await;
}

/// What is too much.
async fn limits(stage: &mut Stage) {
    let token = stage.mint("second", &json!({})).await;
    for _ in 0..2 {
        stage.call("GET /read", &[&format!("authorization: Bearer {token}")], "").await;
    }
    // One call of the session at once, and one connection to the vendor.
    for (bot, path) in [("support", "/read"), ("narrow", "/narrow/read")] {
        let token = stage.mint(bot, &json!({})).await;
        let bearer = format!("authorization: Bearer {token}");
        let mut open = TcpStream::connect(&stage.address).await.unwrap();
        let call = format!("GET {path} HTTP/1.1\r\nhost: gateway\r\nx-do: stream\r\n{bearer}\r\n\r\n");
        open.write_all(call.as_bytes()).await.unwrap();
        assert!(open.read(&mut [0; 16]).await.unwrap() > 0);
        stage.call(&format!("GET {path}"), &[&bearer], "").await;
    }
    for _ in 0..41 {
        stage.call("GET /read", &[&format!("authorization: Bearer {WRONG}")], "").await;
    }
}

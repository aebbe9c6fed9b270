//! A gateway with one of the profiles, a vendor that answers as that profile's vendor does, and whose token it is.

use std::time::Duration;

use keystile::document::{Document, Problems};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::judge::{Call, Known, judge};
use crate::support::gateway::{KEY, Session, TestGateway, claims};
use crate::support::vendor::{Seen, TestVendor, whole};
use crate::support::wire;

/// The vendor's token of the session.
const VENDOR_TOKEN: &str = "vt-0123456789abcdef0123456789abcdef";
/// The vendor's id of the session.
const SESSION: &str = "a3ip87gkr2jh580fptg0i67m3p";
/// The same where it is an integer.
const NUMBER: u64 = 123_456;
/// The vendor's id of the bot: a number fits every profile.
const BOT: &str = "1234";
/// The visitor, where the profile tells the vendor who that is.
const EMAIL: &str = "known@example.com";
const OPTIONS: &str = r#"options = { key_header = "X-Deployment-Key", tenant = "our tenant", agent = "agent-7" }"#;
const UNLIMITED: &str =
    r#"limits = { per_session = "off", per_bot = "1000000/1m", mint_per_ip = "1000000/1m", streams = "off" }"#;

/// A profile that lets everything pass but what is its own.
const WIDE: &str = r#"
title = "Wide"

[open]
call         = "POST /open"
set.header   = { X-Key = "{key}" }
set.query    = { bot = "{bot}" }
set.body     = { bot_id = "{bot}" }
session      = "/sessionId"
vendor_token = "/token"

[accept]
call       = "POST /start"
credential = "body secret"
bot        = "query bot"
reply.json = { token = "{token}" }

[[route]]
call       = "POST /rooms/{session}/say"
to         = "/say/{session}"
token      = ["query ticket", "body pass"]
set.header = { X-Key = "{key}", X_Session = "{session}", X-Token = "{vendor_token}" }
set.query  = { api_key = "{key}", session_id = "{session}" }
set.body   = { sessionID = "{session}", api_key = "{key}", bot_id = "{bot}" }
strip      = { header = ["x-internal-*"], query = ["debug"], body = ["debug"] }
refuse     = { body = ["fileIds"] }
allow      = { header = "*", query = "*", body = "*" }

[[route]]
call       = "GET /rooms/{session}"
token      = "query ticket"
set.header = { X-Key = "{key}" }
strip      = { header = ["x-internal-*"] }
allow      = { header = "*", query = "*" }
"#;

/// All that an attack meets.
pub(super) struct Scene {
    profile: Value,
    vendor: TestVendor,
    gateway: TestGateway,
    session: Session,
    known: Known,
}

impl Scene {
    /// A session of a bot of profile `name`, opened by its owner.
    pub(super) async fn start(name: &str) -> Self {
        let vendor = TestVendor::answering(opening(name));
        let text = keystile::vendor::built_in(name).unwrap_or(WIDE);
        let builder = match name {
            "wide" => TestGateway::with_profile(&vendor, WIDE),
            _ => TestGateway::built_in(&vendor, name),
        };
        let mut builder = builder.ids(BOT, "5678").hidden_of("stranger").bot(UNLIMITED);
        // The attacker's own secret is right, and refused for what it asks; that is no failed attempt.
        builder = builder.server(r#"failed_credentials = "off""#);
        let mut wish = json!({});
        if name == "genesys" {
            builder = builder.vendor(OPTIONS);
            wish = json!({"contact": {"email": EMAIL}});
        }
        let gateway = builder.start();
        let session = gateway.mint_with("support", wish).await;
        let problems = Problems::default();
        let document = Document::parse(name, text, &problems).unwrap();
        let profile = document.root(&problems).value().json().unwrap();
        let known = known(name, &profile, &session);
        vendor.take();
        Self { profile, vendor, gateway, session, known }
    }

    /// The calls of the profile.
    pub(super) fn calls(&self) -> Vec<Call> {
        // A call that the gateway answers alone has nothing of the client's to send on.
        let routes = self.profile["route"].as_array().unwrap().iter().filter(|route| route["renews"] != true);
        let mut calls: Vec<Call> = routes.map(|route| Call::of_route(route, &self.profile)).collect();
        calls.extend(Call::of_opening(&self.profile));
        calls.into_iter().map(|call| call.with(&self.known)).collect()
    }

    /// Sends these bytes. Answers whether the vendor got something of it, which was then as it must be.
    pub(super) async fn judged(&self, call: &Call, request: &[u8]) -> bool {
        let mut stream = wire::send(&self.gateway, request).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        read.expect("every request is answered, and its connection closed").unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match self.vendor.take().as_slice() {
            [] => {
                let status = wire::status(&answer);
                // The same attack with the same key gets the answer of the first, which was judged.
                let is_replay = answer.contains("idempotent-replayed: true\r\n");
                let is_refused = (400..500).contains(&status);
                assert!(is_refused || is_replay, "{status} although nothing was sent to the vendor: {answer}");
                false
            }
            [seen] => {
                self.keeps_credentials(seen);
                judge(call, &self.known, seen);
                true
            }
            several => panic!("one request became {}", several.len()),
        }
    }

    fn keeps_credentials(&self, seen: &Seen) {
        for credential in [self.session.token.as_str(), self.gateway.owner.expose(), self.gateway.stranger.expose()] {
            assert!(!seen.contains(credential), "a credential of ours in {seen:?}");
        }
        assert!(!seen.contains("ksc_"), "{seen:?}");
    }

    /// What stands for `@NAME@` in an attack.
    pub(super) fn symbol(&self, name: &str) -> Option<&[u8]> {
        Some(match name {
            "TOKEN" => self.session.token.as_bytes(),
            "OWNER" => self.gateway.owner.expose().as_bytes(),
            "STRANGER" => self.gateway.stranger.expose().as_bytes(),
            "SESSION" => self.session.conversation.as_bytes(),
            "OWN_ID" => self.session.id.as_bytes(),
            "BOT" => BOT.as_bytes(),
            "FF" => b"\xff",
            "NUL" => b"\0",
            "CR" => b"\r",
            _ => return None,
        })
    }
}

/// What the gateway knows, as the vendor must get it.
fn known(name: &str, profile: &Value, session: &Session) -> Known {
    let mut options = profile["options"].as_object().cloned().unwrap_or_default();
    options.values_mut().for_each(|option| *option = option["default"].take());
    if name == "genesys" {
        let given = json!({"key_header": "X-Deployment-Key", "tenant": "our tenant", "agent": "agent-7"});
        options.extend(given.as_object().unwrap().clone());
    }
    let is_number = |section: &str, key: &str, kind: &str| profile[section][key] == kind;
    Known {
        key: KEY.to_owned(),
        vendor_token: VENDOR_TOKEN.to_owned(),
        session: match name {
            "openai" => json!(session.id),
            _ if is_number("open", "session_type", "integer") => json!(NUMBER),
            _ => json!(SESSION),
        },
        bot: if profile["bot_id"] == "number" { json!(1234) } else { json!(BOT) },
        subject: claims(&session.token)["sub"].as_str().unwrap().to_owned(),
        email: EMAIL.to_owned(),
        options,
    }
}

/// How the vendor of a profile answers its session call; all other calls it answers alike.
fn opening(name: &str) -> impl Fn(&Seen) -> crate::support::vendor::Answer + Send + Sync + 'static {
    let (media, body) = match name {
        "superseek" => ("text/plain", SESSION.to_owned()),
        "hottask" => ("application/json", json!({"Data": {"SessionID": NUMBER}, "Success": true}).to_string()),
        _ => {
            let ids = json!({"uuid": SESSION, "conversationId": SESSION, "sessionId": SESSION, "token": VENDOR_TOKEN});
            ("application/json", ids.to_string())
        }
    };
    move |_| whole(200, media, body.clone())
}

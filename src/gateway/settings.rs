//! What the gateway as a whole is told.

use std::time::Duration;

use crate::document::{Rate, Table, Value};
use crate::net::{BaseUrl, is_loopback};
use crate::proxy::SocketTimeouts;
use crate::text::quoted_url;
use crate::vendor;

/// `public_url`, `api` and `failed_credentials` of `[server]`, and its time-outs and limits for what is in a connection.
#[derive(Debug)]
pub struct Settings {
    /// The address that clients use; the issuer of tokens.
    pub public_url: String,
    /// What stands before the gateway's own calls.
    pub api: String,
    /// How many wrong credentials an address has.
    pub failed_credentials: Option<Rate>,
    /// How long a client may take for the body of a request.
    pub body_timeout: Duration,
    /// How long a WebSocket may be silent.
    pub sockets: SocketTimeouts,
    /// Bytes of all bodies that are read whole.
    pub bodies: u64,
}

impl Settings {
    /// Reads them; what is wrong is noted.
    pub fn read(table: &Table<'_>, timeouts: &Table<'_>, limits: &Table<'_>) -> Self {
        let public_url = table
            .required("public_url", "the address that clients use, such as \"https://chat.example.com\"")
            .and_then(|value| public_url(&value));
        let api = table.get("api").and_then(|value| {
            let prefix = value.text()?;
            let is_prefix = prefix.strip_prefix('/').is_some_and(|rest| rest.split('/').all(vendor::is_value));
            if !is_prefix {
                value.problem(format!("`{prefix}` must be a prefix such as \"/v1\""));
            }
            is_prefix.then(|| prefix.to_owned())
        });
        let time = |key: &str, default| {
            timeouts.get(key).and_then(|value| value.time()).unwrap_or(Duration::from_secs(default))
        };
        let sockets = SocketTimeouts { ping: time("websocket_ping", 30), idle: time("websocket_idle", 600) };
        let default = Some(Rate::new(60, Duration::from_secs(60)));
        Self {
            public_url: public_url.unwrap_or_default(),
            api: api.unwrap_or_else(|| "/v1".to_owned()),
            body_timeout: time("body", 30),
            sockets,
            bodies: limits.get("bodies").and_then(|value| value.size()).unwrap_or(256 << 20),
            failed_credentials: table.get("failed_credentials").and_then(|value| Rate::read(&value)).unwrap_or(default),
        }
    }
}

fn public_url(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    match BaseUrl::parse(text).ok().filter(|url| url.path() == "/" && !text.ends_with('/')) {
        Some(url) if url.is_https() || is_loopback(url.host()) => Some(text.to_owned()),
        Some(_) => {
            let shown = quoted_url(text);
            value.problem(format!("{shown} must be https: tokens travel to it (http only for this machine itself)"));
            None
        }
        None => {
            value.problem(format!(
                "{} must be scheme and host, without user and without a slash at the end, such as \"https://chat.example.com\"",
                quoted_url(text)
            ));
            None
        }
    }
}

//! Vendors as places to connect to: addresses, connections, keys; and the [`collector`] of traces.
//!
//! Connections speak HTTP/2 where the vendor offers it over TLS, HTTP/1.1 otherwise, and belong to the worker that opened
//! them: [`pool`] sends a call, `kept` has the connections that are there, `connect` makes new ones, `egress` says where
//! they may go. Nothing here knows profiles or sessions.

mod answer;
mod arriving;
mod body;
mod breaker;
mod changed;
pub(crate) mod collector;
mod connect;
mod counted;
mod dial;
mod egress;
mod http2;
mod kept;
pub(crate) mod keys;
mod patient;
pub(crate) mod pool;
mod received;
mod settings;
mod stream;
mod tls;
mod tunnel;
mod upload;

use std::error::Error;
use std::time::Duration;

use http::HeaderValue;
use rustls::pki_types::ServerName;

pub(crate) use self::body::{BodyError, Hold, RequestBody};
pub(crate) use self::breaker::Breaker;
use self::kept::{Home, Slot};
use self::settings::{Proxy, is_allowed};
pub(crate) use self::settings::{Settings, Timeouts};
use self::tls::Tls;
use crate::document::Value;
use crate::net::{BaseUrl, is_loopback};
use crate::secret::sha256;
use crate::text::quoted_url;

/// Where a vendor's API is.
#[derive(Debug)]
pub struct Upstream {
    /// Where its connections are kept.
    home: Home,
    _slot: Slot,
    host: String,
    port: u16,
    tls: Option<Tls>,
    authority: HeaderValue,
    prefix: String,
    base_digest: [u8; 16],
    timeouts: Timeouts,
    proxy: Option<Proxy>,
    breaker: Breaker,
}

impl Upstream {
    /// The upstream at `url`; plain HTTP on loopback, or where `insecure` is said.
    ///
    /// What is wrong is noted at `value`.
    pub fn read(value: &Value<'_>, url: &BaseUrl, settings: Settings) -> Option<Self> {
        let Settings { insecure, timeouts, trust, proxy, max_connections } = settings;
        let host = url.host().to_owned();
        if !is_allowed(&host, value) {
            return None;
        }
        let tls = if url.is_https() {
            let Ok(name) = ServerName::try_from(host.clone()) else {
                value.problem(format!("`{host}` is not a host's name"));
                return None;
            };
            Some(Tls::new(name, trust, value)?)
        } else if insecure || is_loopback(&host) {
            if trust.is_said() {
                value.problem("`ca` and `client_cert` are for https, and this is plain HTTP");
                return None;
            }
            None
        } else {
            value.problem(format!(
                "{} would send the vendor's key in clear text; write https://, or `insecure = true` if the network \
                 between is yours",
                quoted_url(url.as_str())
            ));
            return None;
        };
        let slot = Slot::new();
        Some(Self {
            home: Home::new(&slot, max_connections),
            _slot: slot,
            port: url.port().unwrap_or(if tls.is_some() { 443 } else { 80 }),
            authority: HeaderValue::from_str(url.authority()).ok()?,
            prefix: url.path().trim_end_matches('/').to_owned(),
            base_digest: sha256(url.as_str().trim_end_matches('/').as_bytes())
                .first_chunk()
                .copied()
                .unwrap_or_default(),
            host,
            tls,
            timeouts,
            proxy,
            breaker: Breaker::default(),
        })
    }

    /// What stands before every path.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The address before every path, as it may be shown.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority.to_str().unwrap_or_default(), self.prefix)
    }

    /// What names the base URL in a session's binding.
    pub fn base_digest(&self) -> [u8; 16] {
        self.base_digest
    }

    /// The `Host` of its calls.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Its host and port.
    pub fn server(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whether it answers.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Its time-outs.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No connection, or the vendor says that it has not begun with the call.
    #[error("no connection to the vendor")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// All connections that there may be were in use for too long; nothing was sent.
    #[error("all connections to the vendor are in use")]
    Busy,
    /// It did not answer others, and is left alone for so long; nothing was sent.
    #[error("the vendor is left alone for a while")]
    Open(Duration),
    /// The call was sent, or a part of it, and then the connection ended.
    #[error("the connection to the vendor ended before its answer")]
    Lost(#[source] Box<dyn Error + Send + Sync>),
    /// The call was sent and no answer came in time.
    #[error("the vendor did not answer in time")]
    Timeout,
    /// Whoever makes the call may do so no more.
    #[error("the call was given up before its answer")]
    Ended {
        /// Whether the vendor may have all of it, and carry it out.
        is_whole: bool,
    },
    /// The caller's own body broke off while it was being sent.
    #[error("the caller's body could not be sent")]
    Caller(#[source] BodyError),
}

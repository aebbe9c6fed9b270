//! Keystile: a turnstile for API keys. It opens sessions with conversational vendor APIs, mints short-lived tokens for
//! them, and lets through the calls that a token is for, with the real key put in.
//!
//! The map, from the top down. A module imports only from lines below its own (`tests/it/tidy.rs` keeps that). Read
//! [`gateway`] first: it is the life of a request, straight down.
//!
//! | module | what it knows |
//! |---|---|
//! | [`cli`] | arguments → command → exit code |
//! | [`demo`] | the gateway before simulated vendors, on loopback; [`demo::vendor`] knows the ground only, and tests use it too |
//! | [`app`] | the only place where everything is put together: bind, run, reload, drain |
//! | [`config`] | text → settings that cannot be wrong; each module reads its own section |
//! | [`admin`] | probes, metrics and the API of operators, on a listener of their own |
//! | [`gateway`] | the life of a request; every fault becomes an answer here |
//! | [`api`] | the gateway's own calls, and the session calls of vendors' own clients |
//! | [`session`] | what a visitor may ask for; a session opened with the vendor and minted as a token |
//! | [`proxy`] | a granted call on its way out, its answer on the way back: rewritten, streamed, scrubbed |
//! | [`access`] | who is calling, and may they: credential → principal → grant |
//! | [`bot`] | bots, vendors as this gateway offers them, clients: the data that the configuration gives |
//! | [`upstream`] | vendors as places: addresses, connections of one worker, keys; the collector of traces as one |
//! | [`limit`] | how much: rates and counts, decided in the process |
//! | [`vendor`] | vendors are files: profiles, templates, paths |
//! | [`token`] | our own tokens: minted, verified, sealed, remembered; their keys |
//! | [`store`] | what outlives a process: sessions, revocations, answers given once; SQLite or Redis |
//! | [`listen`] | sockets, TLS, HTTP connections; knows nothing of tokens |
//! | [`telemetry`] | the log, one record a request, what is counted of these and traces, and the audit record of what is done to sessions |
//! | [`fault`] | one table from cause to status, code and whose fault it is |
//! | [`clock`], [`alarm`], [`id`], [`secret`], [`net`], [`text`], [`document`], [`aside`] | the ground: time, timers, randomness, secrets, addresses, strangers' text, TOML with its lines, futures on the heap |
//!
//! `Credential → Principal → Grant` ([`access`]): each can be made in one module only, so that forgetting a check does not
//! compile. Time, randomness and the environment are inputs ([`app::World`], [`document::Environment`]).

pub mod access;
mod admin;
mod alarm;
pub mod api;
pub mod app;
mod aside;
pub mod bot;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod document;
pub mod fault;
mod gateway;
pub mod id;
pub mod limit;
mod listen;
mod net;
mod proxy;
pub mod secret;
pub mod session;
pub mod store;
pub mod telemetry;
mod text;
pub mod token;
mod upstream;
pub mod vendor;

/// A door for fuzz targets and benches. No part of the interface: it may change with any commit.
#[doc(hidden)]
pub mod internal {
    pub use crate::proxy::internal::{Needles, Scrubber, Socket, body, headers, uri};
}

//! The integration tests: the real gateway, bound to a port of its own, in front of strict simulated vendors.
//!
//! Each test arranges, acts and asserts in a few lines, and looks also at what the vendor saw. The time of tokens is
//! moved by hand, and what happens by itself is waited for with `support::eventually`; a test sleeps only where nothing is to
//! happen, or where time itself is its subject.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod adding;
mod admin;
mod answers;
mod audit;
mod balanced;
mod breaker;
mod busy;
mod chatbotkit;
mod cli;
mod connections;
mod contact;
mod cors;
mod crashes;
mod demo;
mod deploying;
mod endings;
mod errors;
mod explain;
mod explaining;
mod failures;
mod fleet;
mod floods;
mod greedy;
mod guide;
mod hostile;
mod idempotency;
mod keys;
mod leaving;
mod limits;
mod lives;
mod metrics;
mod minting;
mod modest;
mod once;
mod openings;
mod operators;
mod page;
mod parsing;
mod pinning;
mod processes;
mod proxying;
mod quotas;
mod readiness;
mod reloading;
mod replaced;
mod replicas;
mod rewriting;
mod rotation;
mod samples;
mod scrubbing;
mod sdk;
mod secrecy;
mod sessions;
mod slots;
mod sockets;
mod sources;
mod store;
mod streaming;
mod support;
mod tidy;
mod tokens;
mod traces;
mod transports;
mod trust;
mod unread;
mod uploads;
mod upstreams;
mod vectors;
mod waiting;
mod wordings;

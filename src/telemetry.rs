//! What is told about the process while it runs: the log, and a record of every request.
//!
//! Logs and records go to standard error, as text for a terminal and as JSON Lines otherwise. Nothing that a client
//! wrote gets into a record: routes are templates, methods are of a closed list.

mod record;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

pub use self::record::{Output, Received, Record, Records};

/// Starts the log of the process. `filter` is that of `RUST_LOG`; without one, what an operator must know is logged.
///
/// A log that has been started already stays.
pub fn start_log(filter: Option<&str>) {
    let filter = filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        log.with_target(false).try_init()
    } else {
        log.json().flatten_event(true).try_init()
    };
    // Only a test process starts it twice.
    drop(started);
}

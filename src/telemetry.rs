//! What is told about the process while it runs: the log, a record of every request, the [`metrics`] that come of these,
//! the [`audit`] record, and [`traces`] for whoever collects them.
//!
//! Logs and records go to standard error, as text for a terminal and as JSON Lines otherwise, by threads of their own: no
//! call waits for whoever reads them. Nothing that a client wrote gets into a record: routes are templates, methods are of a closed list. In the log no text of a stranger ends a
//! line, steers a terminal or turns text around, and only warnings of libraries are in it, see [`is_ours`].

pub mod audit;
mod filter;
pub mod metrics;
mod panics;
mod queue;
mod record;
pub mod traces;

use std::fmt::Debug;
use std::io::{IsTerminal, Write};

use tracing::field::Field;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::filter::Filter;
pub use self::metrics::Series;
pub use self::panics::tell_of_panics;
pub use self::queue::Log;
pub use self::record::{Output, Received, Record, Records};
use crate::text::harmless;

/// Starts the log of the process. `filter` is that of `RUST_LOG`; without one, what an operator must know is logged. One
/// that is probably not meant is told in the log.
///
/// A log that has been started already stays.
///
/// # Errors
///
/// The system gives no thread.
pub fn start_log(filter: Option<&str>) -> std::io::Result<Log> {
    let is_text = std::io::stderr().is_terminal();
    let filter = Filter::read(filter);
    let (queue, started) = queue::start(std::io::stderr())?;
    // Only a test process starts it twice.
    let _started = log(&filter, is_text, move || queue.clone()).try_init();
    filter.tell();
    Ok(started)
}

fn log<W: Write + 'static>(
    filter: &Filter,
    is_text: bool,
    writer: impl Fn() -> W + Clone + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let fields = debug_fn(write_field).delimited(" ");
    let text = fmt::layer().with_target(false).fmt_fields(fields).with_writer(writer.clone());
    let json = fmt::layer().json().flatten_event(true).with_writer(move || Lines(writer()));
    tracing_subscriber::registry()
        .with(filter.build())
        .with(filter_fn(is_ours))
        .with(is_text.then_some(text))
        .with((!is_text).then_some(json))
}

/// Whether something is logged whatever `RUST_LOG` says, and is not more than that lets through: what this crate says, and
/// warnings.
///
/// Libraries trace what passes through their hands: `h2` the frames of a connection, with the bytes that a peer puts into
/// them; others may begin to with any version. Somebody who asks for `trace` to find a fault must not get credentials and
/// paths into a log that is kept and passed on. The warnings of those that are linked here were read: they hold counts.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::WARN || metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"))
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", harmless(&value)),
        name => write!(writer, "{name}={}", harmless(&value)),
    }
}

/// Lines of JSON, in which every control character but the last is an escape already; here those follow that JSON lets
/// pass. Each line comes in one piece, and leaves so.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        self.0.write_all(format!("{}\n", harmless(line)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests;

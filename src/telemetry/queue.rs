//! The log's way out: a thread of its own writes it, so that no call waits for whoever reads.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// So many lines wait at most: a few MB. What is said beyond that is counted, not kept.
const MOST: usize = 4_096;

/// The log of a process. What was said until it is dropped is written then, if somebody reads it within a second.
#[must_use]
#[derive(Debug)]
pub struct Log {
    _thread: WorkerGuard,
}

/// Starts the thread that writes to `output`.
pub(super) fn start(output: impl Write + Send + 'static) -> (NonBlocking, Log) {
    let lost = Arc::new(OnceLock::new());
    let counted = Counted { output, lost: Arc::clone(&lost), told: 0 };
    let builder = NonBlockingBuilder::default().buffered_lines_limit(MOST).thread_name("log");
    let (queue, thread) = builder.finish(counted);
    lost.get_or_init(|| queue.error_counter());
    (queue, Log { _thread: thread })
}

/// Tells of lines that were lost, as soon as others can be written again.
struct Counted<W> {
    output: W,
    lost: Arc<OnceLock<ErrorCounter>>,
    told: usize,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.output.write_all(line)?;
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.told {
            self.told = lost;
            // One that finds no room either is counted, and told of with the next.
            tracing::warn!(lost, "lines of the log were dropped since the start: nobody reads them fast enough");
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}

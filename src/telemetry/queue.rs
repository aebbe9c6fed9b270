//! The log's way out: a thread of its own writes it, so that no call waits for whoever reads.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// So many lines wait at most: a few MB. What is said beyond that is counted, not kept.
const MOST: usize = 4_096;
/// A process that ends waits so long for whoever reads.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
}

/// Where lines wait to be written.
#[derive(Clone)]
pub(super) struct Queue {
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

impl Write for Queue {
    /// Takes one line, or loses it.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let Counts { taken, lost, .. } = &*self.counts;
        let count = if self.lines.try_send(line.to_vec()).is_ok() { taken } else { lost };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log of a process. What was said until it is dropped is written then, if somebody reads it soon.
#[must_use]
#[derive(Debug)]
pub struct Log(Arc<Counts>);

impl Drop for Log {
    fn drop(&mut self) {
        let (Counts { taken, written, .. }, begun) = (&*self.0, Instant::now());
        while written.load(Ordering::Relaxed) < taken.load(Ordering::Relaxed) && begun.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Starts the thread that writes to `output`. It ends with the process.
pub(super) fn start(output: impl Write + Send + 'static) -> std::io::Result<(Queue, Log)> {
    let (lines, waiting) = sync_channel(MOST);
    let queue = Queue { lines, counts: Arc::default() };
    let counts = Arc::clone(&queue.counts);
    std::thread::Builder::new().name("log".to_owned()).spawn(move || write(output, &waiting, &counts))?;
    let log = Log(Arc::clone(&queue.counts));
    Ok((queue, log))
}

fn write(mut output: impl Write, waiting: &Receiver<Vec<u8>>, counts: &Counts) {
    let mut told = 0;
    for line in waiting {
        // A log that cannot be written cannot be told of.
        let _written = output.write_all(&line);
        counts.written.fetch_add(1, Ordering::Relaxed);
        let lost = counts.lost.load(Ordering::Relaxed);
        if lost > told {
            told = lost;
            // Where this finds no room either, it is counted, and told with the next.
            tracing::warn!(lost, "lines of the log were dropped since the start: nobody reads them fast enough");
        }
    }
}

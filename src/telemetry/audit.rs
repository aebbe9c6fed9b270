//! The audit record: every session that was opened, renewed, recognised or ended, by whom, from where, in which request.
//!
//! It is a file of JSON Lines that only grows. Each record is numbered and carries the SHA-256 of the line before it, so
//! that a line that was changed, removed or put in shows ([`verify()`]). What it cannot show by itself is that its end was cut
//! off, or all of it written anew: for that, somebody notes the last number and hash elsewhere.
//!
//! No secret is in it, no token, and nothing of a contact but its pseudonym. A record is on the disk before what it tells
//! of is answered (see `writer`); calls of conversations write none.

mod breach;
mod event;
mod file;
mod line;
mod settings;
mod verify;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

pub use self::breach::{Breach, Noted};
pub use self::event::{Action, Event, Trace, Who};
pub use self::settings::Settings;
pub use self::verify::{Last, Report, verify};
use self::writer::Writer;
use crate::clock::Clock;

/// A file that has not taken a record by then is on a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the audit record cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuditError(String);

/// That something could not be put on record.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the audit record cannot be written")]
pub struct Unwritten;

/// Where events are put on record.
#[derive(Debug)]
pub struct Audit {
    writer: Option<Writer>,
    is_failing: Arc<AtomicBool>,
}

impl Audit {
    /// The record in the file at `path`, which is made if it is not there; without one nothing is put on record.
    ///
    /// # Errors
    ///
    /// The file cannot be used: others can read it, another process has it, or its end is no record.
    pub fn open(path: Option<&Path>, clock: Clock) -> Result<Self, AuditError> {
        let is_failing = Arc::new(AtomicBool::new(false));
        let start = |path: &Path| Writer::start(file::open(path)?, clock, Arc::clone(&is_failing));
        let writer = path.map(start).transpose()?;
        Ok(Self { writer, is_failing })
    }

    /// Puts `event` on record: it is on the disk then. It is handed over at once, and written also if nobody waits for it.
    ///
    /// # Errors
    ///
    /// It could not be written, and is not in the file; or nobody knows, as the disk hangs.
    pub async fn write(&self, event: Event) -> Result<(), Unwritten> {
        match &self.writer {
            Some(writer) => {
                let written = timeout(PATIENCE, writer.write(event)).await;
                written.unwrap_or_else(|_elapsed| {
                    if !self.is_failing.swap(true, Ordering::Relaxed) {
                        tracing::error!("the audit record has taken nothing for {PATIENCE:?}: its disk hangs");
                    }
                    Err(Unwritten)
                })
            }
            None => Ok(()),
        }
    }

    /// What is wrong with it now, as a line of its own; nothing if nothing is.
    pub fn complaint(&self) -> &'static str {
        if self.is_failing.load(Ordering::Relaxed) {
            "the audit record cannot be written: no session can be opened or renewed\n"
        } else {
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, channel};

    use super::line::Tail;
    use super::line::tests::event;
    use super::writer::{Log, Sink};
    use super::*;

    /// A disk that hangs until the other end is dropped.
    struct Hanging(Receiver<()>);

    impl Sink for Hanging {
        fn begin(&mut self, tail: &Tail) -> io::Result<Tail> {
            let _released = self.0.recv();
            Ok(tail.clone())
        }

        fn end(&mut self) {}

        fn append(&mut self, _bytes: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn cut(&mut self, _length: u64) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_waited_for_ten_seconds_and_complained_of() {
        let (release, hanging) = channel();
        let is_failing = Arc::new(AtomicBool::new(false));
        let log = Log::new(Hanging(hanging), Tail::empty());
        let writer = Writer::start(log, Clock::system(), Arc::clone(&is_failing)).unwrap();
        let audit = Audit { writer: Some(writer), is_failing };
        let begun = tokio::time::Instant::now();
        assert!(audit.write(event("s-1")).await.is_err() && begun.elapsed() == PATIENCE);
        assert!(!audit.complaint().is_empty());
        // From here on time passes as it does: the thread that writes is none of the runtime's.
        tokio::time::resume();
        drop(release);
        while !audit.complaint().is_empty() {
            std::thread::yield_now();
        }
        assert!(audit.write(event("s-2")).await.is_ok());
    }
}

//! The thread that writes: all that waits, in one piece.
//!
//! While one piece is being synced the next records queue up, and the next piece takes them all, so that many mints cost
//! one write and one fdatasync. None is answered before it is on the disk. A piece that could not be written whole is cut off
//! again: the file holds whole records, and those that were refused are not in it, but for those that a disk takes after all
//! that hung for too long.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::line::Tail;
use super::{AuditError, Event, Unwritten};
use crate::clock::{Clock, Timestamp};

/// Records that may wait. More than that, and the disk is not keeping up: the rest is refused at once.
const MOST_WAITING: usize = 4096;
/// Records of one piece: few enough that the first does not wait long for the last.
const MOST_AT_ONCE: usize = 512;

/// What lines are written to.
pub(super) trait Sink: Send + 'static {
    /// Keeps others from writing. `tail` is where its records ended the last time; the answer, where they do now.
    fn begin(&mut self, tail: &Tail) -> io::Result<Tail>;

    /// Lets others write again.
    fn end(&mut self);

    /// Adds `bytes` at its end; they are on the disk then. An error may leave some of them there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Leaves its first `length` bytes.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// A chain of records, and where its next goes.
#[derive(Debug)]
pub(super) struct Log<S> {
    sink: S,
    tail: Tail,
}

impl<S: Sink> Log<S> {
    /// Over `sink`, whose records end with `tail`.
    pub(super) fn new(sink: S, tail: Tail) -> Self {
        Self { sink, tail }
    }

    /// Writes all of `events`, or none.
    pub(super) fn write<'e>(&mut self, events: impl Iterator<Item = &'e Event>, now: Timestamp) -> io::Result<()> {
        let begun = self.sink.begin(&self.tail);
        let written = begun.and_then(|tail| {
            self.tail = tail;
            self.add(events, now)
        });
        self.sink.end();
        written
    }

    fn add<'e>(&mut self, events: impl Iterator<Item = &'e Event>, now: Timestamp) -> io::Result<()> {
        let (mut tail, mut bytes) = (self.tail.clone(), Vec::new());
        events.for_each(|event| tail.append(event, now, &mut bytes));
        if let Err(error) = self.sink.append(&bytes) {
            // What cannot be cut off now is half a line, which whoever writes next cuts off.
            if let Err(error) = self.sink.cut(self.tail.length) {
                tracing::debug!(%error, "half a line stays in the audit record for now");
            }
            return Err(error);
        }
        self.tail = tail;
        Ok(())
    }
}

struct Waiting {
    event: Event,
    answer: oneshot::Sender<bool>,
}

/// The thread that writes. Dropping it waits until what was handed over is written.
#[derive(Debug)]
pub(super) struct Writer {
    events: Option<SyncSender<Waiting>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts it; `is_failing` is whether the last piece could not be written.
    pub(super) fn start<S: Sink>(log: Log<S>, clock: Clock, is_failing: Arc<AtomicBool>) -> Result<Self, AuditError> {
        let (events, waiting) = sync_channel(MOST_WAITING);
        let thread = thread::Builder::new().name("audit".to_owned());
        let thread = thread.spawn(move || serve(log, &waiting, &clock, &is_failing));
        let thread = thread.map_err(|error| AuditError(format!("its thread does not start: {error}")))?;
        Ok(Self { events: Some(events), thread: Some(thread) })
    }

    /// Has `event` written. It is handed over at once; the answer comes when it is on the disk.
    pub(super) fn write(&self, event: Event) -> impl Future<Output = Result<(), Unwritten>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { event, answer };
        let is_taken = self.events.as_ref().is_some_and(|events| events.try_send(waiting).is_ok());
        async move {
            // Without an answer its thread has ended.
            let is_written = is_taken && answered.await.unwrap_or(false);
            if is_written { Ok(()) } else { Err(Unwritten) }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.events.take());
        if let Some(thread) = self.thread.take() {
            // It fails only if the thread panicked, which the panic's own message has said.
            let _ = thread.join();
        }
    }
}

/// However the thread ends: without it nothing is written.
struct Failing<'f>(&'f AtomicBool);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn serve<S: Sink>(mut log: Log<S>, waiting: &Receiver<Waiting>, clock: &Clock, is_failing: &AtomicBool) {
    let (_at_its_end, mut was_failing) = (Failing(is_failing), false);
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        batch.extend(waiting.try_iter().take(MOST_AT_ONCE - 1));
        let outcome = log.write(batch.iter().map(|waiting| &waiting.event), clock.now());
        is_failing.store(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Ok(()) if was_failing => tracing::info!("the audit record can be written again"),
            Err(error) if !was_failing => {
                tracing::error!(%error, "the audit record cannot be written: no token is handed out until it can");
            }
            Ok(()) | Err(_) => {}
        }
        was_failing = outcome.is_err();
        for Waiting { answer, .. } in batch {
            // Nobody may be waiting any more.
            let _ = answer.send(outcome.is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::super::line::tests::event;
    use super::*;

    /// A disk on which so many bytes fit, and which may refuse to cut.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize, bool)>>);

    impl Disk {
        fn holds(&self, room: usize, cuts: bool) {
            let mut disk = self.0.lock();
            (disk.1, disk.2) = (room, cuts);
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().0.clone()).unwrap()
        }
    }

    impl Sink for Disk {
        fn begin(&mut self, tail: &Tail) -> io::Result<Tail> {
            let mut disk = self.0.lock();
            let end = disk.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            if end < disk.0.len() && !disk.2 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.0.truncate(end);
            Ok(tail.clone())
        }

        fn end(&mut self) {}

        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let mut disk = self.0.lock();
            let fits = disk.1.saturating_sub(disk.0.len()).min(bytes.len());
            disk.0.extend_from_slice(&bytes[..fits]);
            if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            let mut disk = self.0.lock();
            if !disk.2 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.0.truncate(usize::try_from(length).unwrap());
            Ok(())
        }
    }

    #[test]
    fn what_does_not_fit_is_not_there_in_part_and_the_chain_goes_on() {
        for cuts in [true, false] {
            let disk = Disk::default();
            let mut log = Log::new(disk.clone(), Tail::empty());
            let now = Timestamp::from_seconds(1_800_000_000);
            disk.holds(usize::MAX, true);
            log.write([&event("s-1")].into_iter(), now).unwrap();
            let before = disk.text();
            disk.holds(before.len() + 100, cuts);
            assert!(log.write([&event("s-2"), &event("s-3")].into_iter(), now).is_err());
            assert_eq!(disk.text() == before, cuts);
            assert!(log.write([&event("s-4")].into_iter(), now).is_err());
            disk.holds(usize::MAX, true);
            log.write([&event("s-5")].into_iter(), now).unwrap();
            let text = disk.text();
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines.len() == 2 && lines[1].contains("\"s-5\"") && lines[1].starts_with("{\"n\":2,"), "{text}");
            assert!(lines[1].contains(&super::super::line::hash(lines[0].as_bytes())), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_written_at_once_is_one_chain_and_each_is_answered() {
        let disk = Disk::default();
        disk.holds(usize::MAX, true);
        let is_failing = Arc::new(AtomicBool::new(false));
        let log = Log::new(disk.clone(), Tail::empty());
        let writer = Writer::start(log, Clock::system(), Arc::clone(&is_failing)).unwrap();
        let all = (0..1000).map(|number| writer.write(event(&format!("s-{number}"))));
        let answers = futures_util::future::join_all(all).await;
        assert!(answers.iter().all(Result::is_ok));
        disk.holds(0, true);
        assert!(writer.write(event("s-x")).await.is_err() && is_failing.load(Ordering::Relaxed));
        disk.holds(usize::MAX, true);
        assert!(writer.write(event("s-y")).await.is_ok() && !is_failing.load(Ordering::Relaxed));
        let numbers = (1..).zip(disk.text().lines().map(str::to_owned).collect::<Vec<_>>());
        let mut count = 0;
        for (number, line) in numbers {
            assert!(line.starts_with(&format!("{{\"n\":{number},")), "{line}");
            count = number;
        }
        assert_eq!(count, 1001);
    }
}

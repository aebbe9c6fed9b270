//! The thread that writes: all that waits, in one transaction.
//!
//! While one transaction is being synced the next operations queue up, and the next transaction takes them all. Each has
//! a savepoint of its own, so that one that is refused takes none of the others with it, and none is answered before the
//! whole is on the disk.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, DropBehavior, Transaction, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use super::{changes, in_time, not_started};
use crate::store::{Answer, StoreError};

/// Operations that may wait. More than that, and the disk is not keeping up: the rest is refused at once.
const MOST_WAITING: usize = 4096;
/// Operations of one transaction: few enough that the first does not wait long for the last.
const MOST_AT_ONCE: usize = 512;

/// The thread that writes. Dropping it waits until what was handed over is done.
pub(super) struct Writer {
    jobs: Option<SyncSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts it; `last` is told the number of the newest change.
    pub(super) fn start(connection: Connection, last: watch::Sender<u64>) -> Result<Self, StoreError> {
        let (jobs, waiting) = sync_channel(MOST_WAITING);
        let thread = thread::Builder::new().name("store-write".to_owned());
        let thread = thread.spawn(move || serve(connection, &waiting, &last)).map_err(not_started)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Has `work` done. It is handed over at once; the answer comes when it is on the disk.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'static, T> {
        let (answer, answered) = oneshot::channel();
        let job = Operation { work: Some(work), outcome: None, answer };
        let is_taken = self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(Box::new(job)).is_ok());
        Box::pin(async move {
            if !is_taken {
                return Err(StoreError::away("too much waits to be written"));
            }
            in_time(answered).await
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It fails only if the thread panicked, which the panic's own message has said.
            let _ = thread.join();
        }
    }
}

fn serve(mut connection: Connection, waiting: &Receiver<Box<dyn Job>>, last: &watch::Sender<u64>) {
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        batch.extend(waiting.try_iter().take(MOST_AT_ONCE - 1));
        let outcome = commit(&mut connection, &mut batch);
        for job in batch {
            job.answer(&outcome);
        }
        if let Ok(number) = changes::last(&connection) {
            last.send_if_modified(|present| std::mem::replace(present, number) != number);
        }
    }
}

fn commit(connection: &mut Connection, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    // Immediate: a reader that becomes a writer half way could meet another process and fail.
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in batch {
        job.run(&mut transaction)?;
    }
    Ok(transaction.commit()?)
}

/// One operation, whatever it answers.
trait Job: Send {
    /// Does it, in a savepoint. An error is one of the whole transaction.
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), StoreError>;

    /// Answers, now that it is known whether the transaction is on the disk.
    fn answer(self: Box<Self>, committed: &Result<(), StoreError>);
}

struct Operation<T, W> {
    work: Option<W>,
    outcome: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Job for Operation<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let mut savepoint = transaction.savepoint()?;
        let outcome = work(&savepoint);
        savepoint.set_drop_behavior(if outcome.is_ok() { DropBehavior::Commit } else { DropBehavior::Rollback });
        savepoint.finish()?;
        // A full disk rolls the whole back, and what came after would be on its own.
        if transaction.is_autocommit() {
            return Err(StoreError::away("SQLite gave the transaction up"));
        }
        self.outcome = Some(outcome);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: &Result<(), StoreError>) {
        let Self { outcome, answer, .. } = *self;
        let undone = || Err(StoreError::away("the operation was not reached"));
        let outcome = committed.clone().and_then(|()| outcome.unwrap_or_else(undone));
        // Nobody may be waiting any more.
        let _ = answer.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(writer: &Writer, size: u32) -> Answer<'static, ()> {
        writer.run(move |connection| {
            connection.execute("INSERT INTO things VALUES (zeroblob(?1))", [size])?;
            Ok(())
        })
    }

    fn count(connection: &Connection) -> u32 {
        connection.query_row("SELECT count(*) FROM things", [], |row| row.get(0)).unwrap()
    }

    #[tokio::test]
    async fn a_full_disk_refuses_what_does_not_fit_and_nothing_is_answered_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let connection = super::super::file::open(&folder.path().join("small.db")).unwrap();
        connection.execute_batch("CREATE TABLE things (thing)").unwrap();
        connection.pragma_update(None, "max_page_count", 40).unwrap();
        let (tell, _last) = watch::channel(0);
        let writer = Writer::start(connection, tell).unwrap();
        let other = super::super::file::open(&folder.path().join("small.db")).unwrap();
        for _ in 0..5 {
            let sizes = [10, 10_000_000, 10, 20];
            let outcomes = futures_util::future::join_all(sizes.map(|size| insert(&writer, size))).await;
            let there = count(&other);
            let done = u32::try_from(outcomes.iter().filter(|outcome| outcome.is_ok()).count()).unwrap();
            assert!(matches!(outcomes[1], Err(StoreError::Away(_))), "{outcomes:?}");
            other.execute("DELETE FROM things", []).unwrap();
            assert_eq!(there, done, "{outcomes:?}");
            assert_eq!(insert(&writer, 10).await, Ok(()));
            other.execute("DELETE FROM things", []).unwrap();
        }
    }

    #[tokio::test]
    async fn a_refusal_undoes_its_own_writes_only() {
        let folder = tempfile::tempdir().unwrap();
        let connection = super::super::file::open(&folder.path().join("small.db")).unwrap();
        connection.execute_batch("CREATE TABLE things (thing)").unwrap();
        let (tell, _last) = watch::channel(0);
        let writer = Writer::start(connection, tell).unwrap();
        let refused = writer.run::<()>(|connection| {
            connection.execute("INSERT INTO things VALUES (1)", [])?;
            Err(StoreError::Conflict)
        });
        let outcomes = tokio::join!(insert(&writer, 1), refused, insert(&writer, 1));
        assert_eq!(outcomes, (Ok(()), Err(StoreError::Conflict), Ok(())));
        let other = super::super::file::open(&folder.path().join("small.db")).unwrap();
        assert_eq!(count(&other), 2);
    }
}

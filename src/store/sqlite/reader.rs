//! The thread that reads: a list that takes long holds up no mint.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{in_time, not_started};
use crate::store::{Answer, StoreError};

/// Questions that may wait.
const MOST_WAITING: usize = 4096;

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// The thread that reads. It ends when this is dropped.
pub(super) struct Reader {
    questions: Option<SyncSender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts it.
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (questions, waiting) = sync_channel::<Question>(MOST_WAITING);
        let thread = thread::Builder::new().name("store-read".to_owned());
        let thread = thread.spawn(move || waiting.iter().for_each(|ask| ask(&connection))).map_err(not_started)?;
        Ok(Self { questions: Some(questions), thread: Some(thread) })
    }

    /// Has `read` done, in one transaction of the state as it is.
    pub(super) fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'static, T> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |connection| {
            let outcome =
                connection.unchecked_transaction().map_err(StoreError::from).and_then(|transaction| read(&transaction));
            // Nobody may be waiting any more.
            let _ = answer.send(outcome);
        });
        let is_taken = self.questions.as_ref().is_some_and(|questions| questions.try_send(question).is_ok());
        Box::pin(async move {
            if !is_taken {
                return Err(StoreError::away("too many questions wait"));
            }
            in_time(answered).await
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.questions.take());
        if let Some(thread) = self.thread.take() {
            // It fails only if the thread panicked, which the panic's own message has said.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_that_does_not_answer_is_away() {
        let reader = Reader::start(Connection::open_in_memory().unwrap()).unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hanging = reader.run(move |_| {
            let _released = held.recv();
            Ok(())
        });
        assert!(matches!(hanging.await, Err(StoreError::Away(_))));
        drop(release);
        tokio::time::resume();
        assert_eq!(reader.run(|_| Ok(1)).await, Ok(1));
    }
}

//! A connection on which nothing is asked.
//!
//! A timer that is set for each request and nearly never needed costs a call more than all its limits. This one is set a few
//! times while a connection lasts, and looks whether anything was asked since: so a connection ends a quarter late at most.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::calls::Calls;

/// In so many steps the time is counted.
const STEPS: u32 = 4;

/// Ends what is silent for too long.
#[derive(Debug)]
pub(super) struct Silence {
    step: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether who polls is woken by the timer.
    is_set: bool,
    /// How many steps began without a request, this one too.
    steps: u32,
    /// How many requests there were when it began.
    seen: usize,
}

impl Silence {
    /// Of so long at least, from now on.
    pub(super) fn new(limit: Duration) -> Self {
        let step = limit / STEPS;
        Self { step, timer: Box::pin(sleep(step)), is_set: false, steps: 1, seen: 0 }
    }

    /// Ready when no request has begun, or was open, for the time. To be polled by one task, whose waker the timer keeps.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, calls: &Calls) -> Poll<()> {
        if self.is_set && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        while self.timer.as_mut().poll(context).is_ready() {
            let begun = calls.begun();
            self.steps = if calls.are_open() {
                0
            } else if begun == self.seen {
                self.steps + 1
            } else {
                1
            };
            if self.steps > STEPS {
                return Poll::Ready(());
            }
            self.seen = begun;
            self.timer.as_mut().reset(Instant::now() + self.step);
        }
        self.is_set = true;
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// How long a connection lasts after what `first` does on it.
    async fn lasts(first: impl AsyncFnOnce(&Arc<Calls>)) -> Duration {
        let calls = Arc::new(Calls::default());
        let counted = Arc::clone(&calls);
        let ended = tokio::spawn(async move {
            let mut silence = Silence::new(LIMIT);
            poll_fn(|context| silence.poll(context, &counted)).await;
            Instant::now()
        });
        tokio::task::yield_now().await;
        first(&calls).await;
        let begun = Instant::now();
        ended.await.unwrap() - begun
    }

    fn is_about(time: Duration, least: Duration) {
        assert!(least <= time && time <= least + LIMIT / STEPS + Duration::from_millis(10), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nothing_ends_in_time() {
        let time = lasts(async |_| {}).await;
        assert!(LIMIT <= time && time < LIMIT + Duration::from_millis(10), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_begins_anew_with_the_end_of_each_call() {
        for after in [0, 1, 14, 15, 16, 31, 44, 59] {
            is_about(
                lasts(async |calls| {
                    tokio::time::sleep(Duration::from_secs(after)).await;
                    drop(calls.begin());
                })
                .await,
                LIMIT,
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_may_be_open_for_as_long_as_it_likes() {
        is_about(
            lasts(async |calls| {
                let call = calls.begin();
                tokio::time::sleep(LIMIT * 10 + Duration::from_secs(7)).await;
                drop(call);
            })
            .await,
            LIMIT,
        );
    }
}

//! Waiting for what hardly ever comes, beside what often does.
//!
//! A task is polled for whatever one of its futures waits for, and polls all of them: each looks where it waits, takes a lock
//! there, and leaves the same waker as before. One with a waker of its own is known to have nothing new until that was used.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;

pin_project! {
    /// A future that is polled at first, and again when it has woken its task.
    pub(super) struct Bell<F> {
        #[pin]
        future: F,
        rope: Option<Arc<Rope>>,
    }
}

/// What the future pulls to be polled.
struct Rope {
    is_pulled: AtomicBool,
    task: Waker,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the task is woken, so that it is seen by whoever comes.
        self.is_pulled.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<F> Bell<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future, rope: None }
    }
}

impl<F: Future> Future for Bell<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some(rope) = this.rope
            && !rope.is_pulled.load(Ordering::Acquire)
            && rope.task.will_wake(context.waker())
        {
            return Poll::Pending;
        }
        // A new one each time: what pulls the old one has nothing to say any more.
        let rope = Arc::new(Rope { is_pulled: AtomicBool::new(false), task: context.waker().clone() });
        let waker = Waker::from(Arc::clone(&rope));
        *this.rope = Some(rope);
        this.future.poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_future_is_polled_when_it_asks_for_it_and_not_for_others() {
        let (tell, told) = oneshot::channel();
        let (polls, mut told) = (Cell::new(0), pin!(told));
        let mut bell = pin!(Bell::new(poll_fn(|context| {
            polls.set(polls.get() + 1);
            told.as_mut().poll(context)
        })));
        let mut others = 0;
        let done = poll_fn(|context| {
            others += 1;
            if others < 100 {
                context.waker().wake_by_ref();
            }
            bell.as_mut().poll(context)
        });
        let telling = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(polls.get(), 1, "it has nothing new");
            tell.send(7).unwrap();
        };
        let (done, ()) = tokio::join!(timeout(Duration::from_secs(5), done), telling);
        assert_eq!((done, polls.get()), (Ok(Ok(7)), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_future_that_is_moved_to_another_task_wakes_that_one() {
        let (tell, told) = oneshot::channel();
        let mut bell = Box::pin(Bell::new(told));
        assert!(bell.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let waits = tokio::spawn(bell);
        tokio::time::sleep(Duration::from_secs(1)).await;
        tell.send(7).unwrap();
        assert_eq!(timeout(Duration::from_secs(5), waits).await.unwrap().unwrap(), Ok(7));
    }
}

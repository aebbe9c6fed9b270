//! Timers for what hardly ever happens.
//!
//! Nearly every deadline of a call is moved, or falls away, long before it comes. A timer of tokio's that is set for each and
//! taken back costs two places in a list behind a lock. One that stays as it was set, and is asked when it goes off whether
//! it is time, costs nothing until then, and one needless look.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Spare alarms that a thread keeps.
const MOST: usize = 256;

thread_local! {
    /// None where nobody keeps any.
    static SPARES: RefCell<Option<Vec<Alarm>>> = const { RefCell::new(None) };
}

/// Wakes whoever polls it, at the deadline that was asked for last.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Whether it is `deadline`, or later.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() == deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// An alarm that somebody had before, if the thread keeps any, and that somebody will have again.
#[derive(Debug)]
pub(crate) struct Lent(Alarm);

impl Lent {
    /// A spare one, else a new one.
    pub(crate) fn take() -> Self {
        let spare = SPARES.with_borrow_mut(|spares| spares.as_mut().and_then(Vec::pop));
        Self(spare.unwrap_or_default())
    }

    /// As [`Alarm::poll`].
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let rings = self.0.poll(context, deadline);
        if rings.is_ready() {
            // It would keep whom it woke last.
            self.0 = Alarm::default();
        }
        rings
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let alarm = std::mem::take(&mut self.0);
        if alarm.0.is_none() {
            return;
        }
        // A thread that ends has none any more.
        let _is_over = SPARES.try_with(|spares| {
            if let Some(spares) = spares.borrow_mut().as_mut().filter(|spares| spares.len() < MOST) {
                spares.push(alarm);
            }
        });
    }
}

/// While it lives, its thread keeps spare alarms. They are of the runtime that the thread has now, and must not outlive it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Spares(PhantomData<*const ()>);

impl Spares {
    /// From now on.
    pub(crate) fn keep() -> Self {
        SPARES.set(Some(Vec::new()));
        Self(PhantomData)
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        drop(SPARES.take());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn rings(alarm: &mut Alarm, deadline: Instant) -> Duration {
        let begun = Instant::now();
        poll_fn(|context| alarm.poll(context, deadline)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_at_the_deadline_asked_for_last() {
        let mut alarm = Alarm::default();
        let begun = Instant::now();
        let mut context = Context::from_waker(std::task::Waker::noop());
        for seconds in [5, 9, 3] {
            assert!(alarm.poll(&mut context, begun + seconds * SECOND).is_pending());
        }
        assert_eq!(rings(&mut alarm, begun + 3 * SECOND).await, 3 * SECOND);
        assert_eq!(rings(&mut alarm, begun + 3 * SECOND).await, Duration::ZERO, "it stays so");
        assert_eq!(rings(&mut alarm, begun + 9 * SECOND).await, 6 * SECOND);
        // Set for an earlier time than is asked for when it goes off.
        assert!(alarm.poll(&mut context, begun + 10 * SECOND).is_pending());
        assert_eq!(rings(&mut alarm, begun + 15 * SECOND).await, 6 * SECOND);
        assert_eq!(rings(&mut alarm, begun).await, Duration::ZERO);
    }

    fn kept() -> Option<usize> {
        SPARES.with_borrow(|spares| spares.as_ref().map(Vec::len))
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_was_lent_is_lent_again_while_spares_are_kept() {
        let set = |after: Duration| {
            let (mut alarm, mut context) = (Lent::take(), Context::from_waker(std::task::Waker::noop()));
            assert!(alarm.poll(&mut context, Instant::now() + after).is_pending());
            alarm
        };
        drop(set(SECOND));
        assert_eq!(kept(), None);
        let spares = Spares::keep();
        drop((set(SECOND), set(5 * SECOND)));
        assert_eq!(kept(), Some(2));

        // One was set for an earlier time, one for a later.
        let mut again = [Lent::take(), Lent::take()];
        assert_eq!(kept(), Some(0));
        for alarm in &mut again {
            let now = Instant::now();
            poll_fn(|context| alarm.poll(context, now + 2 * SECOND)).await;
            assert_eq!(now.elapsed(), 2 * SECOND);
        }
        drop(again);
        assert_eq!(kept(), Some(0), "one that rang, or was never set, is no spare");

        let lent = set(SECOND);
        drop(spares);
        drop(lent);
        assert_eq!(kept(), None);
    }

    #[tokio::test]
    async fn no_more_spares_are_kept_than_there_is_room_for() {
        let _spares = Spares::keep();
        let mut many: Vec<_> = (0..MOST + 10).map(|_| Lent::take()).collect();
        let (mut context, later) = (Context::from_waker(std::task::Waker::noop()), Instant::now() + SECOND);
        assert!(many.iter_mut().all(|alarm| alarm.poll(&mut context, later).is_pending()));
        drop(many);
        assert_eq!(kept(), Some(MOST));
    }
}

//! Timers for what hardly ever happens.
//!
//! Nearly every deadline of a call is moved, or falls away, long before it comes. A timer of tokio's that is set for each and
//! taken back costs two places in a list behind a lock. One that stays as it was set, and is asked when it goes off whether
//! it is time, costs nothing until then, and one needless look.

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::ptr;
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Places that a thread has for spare alarms.
const PLACES: usize = 1024;

thread_local! {
    /// None where nobody keeps any.
    static SPARES: RefCell<Option<Vec<Option<Alarm>>>> = const { RefCell::new(None) };
}

/// Wakes whoever polls it, at the deadline that was asked for last.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes, if it has not gone off.
    wakes: Option<Whom>,
}

/// Tells one waker from another. A timer keeps a clone of the waker that it was given, which has the same addresses (tokio's
/// and those of an `Arc` do): until it goes off, nobody else has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Whom {
    data: usize,
    vtable: usize,
}

impl Alarm {
    /// Whether it is `deadline`, or later.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let whom = Whom::of(context.waker());
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
            self.wakes = None;
        }
        // Most ask again and again: to tell a timer the same once more costs as much as to set it.
        if self.wakes == Some(whom) && !timer.is_elapsed() {
            return Poll::Pending;
        }
        // Not put off because its task has done much: then it would not know whom to wake.
        while pin!(unconstrained(timer.as_mut())).poll(context).is_ready() {
            if timer.deadline() == deadline {
                self.wakes = None;
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        self.wakes = Some(whom);
        Poll::Pending
    }
}

impl Whom {
    fn of(waker: &Waker) -> Self {
        Self { data: waker.data().addr(), vtable: ptr::from_ref(waker.vtable()).addr() }
    }

    /// Where it leaves an alarm, to find it again: then that has not to be told whom it wakes.
    fn place(self) -> usize {
        // Addresses have the same lowest bits, and spread by this (Knuth, The Art of Computer Programming 3, 6.4).
        let spread = (self.data as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        usize::try_from(spread >> (u64::BITS - PLACES.ilog2())).unwrap_or(0)
    }
}

/// An alarm that somebody had before, if the thread keeps any, and that somebody will have again.
#[derive(Debug, Default)]
pub(crate) struct Lent(Alarm);

impl Lent {
    /// As [`Alarm::poll`].
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.0.timer.is_none() {
            let place = Whom::of(context.waker()).place();
            let spare = SPARES.with_borrow_mut(|spares| spares.as_mut()?.get_mut(place)?.take());
            self.0 = spare.unwrap_or_default();
        }
        self.0.poll(context, deadline)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let alarm = std::mem::take(&mut self.0);
        // One that rang is no spare: it would keep the waker of who may be gone, and nothing would free that.
        let Some(whom) = alarm.wakes else { return };
        // A thread that ends has none any more. Another's alarm in this place goes, once the place is let go of.
        let _other = SPARES.try_with(|spares| {
            let mut spares = spares.borrow_mut();
            spares.as_mut()?.get_mut(whom.place())?.replace(alarm)
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
        SPARES.set(Some(std::iter::repeat_with(|| None).take(PLACES).collect()));
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use tokio::task::coop::{consume_budget, has_budget_remaining};
    use tokio::time::{sleep, timeout};

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

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        /// Two that leave their alarms in places of their own.
        fn two() -> [Arc<Self>; 2] {
            let place = |woken: &Arc<Self>| Whom::of(&Waker::from(Arc::clone(woken))).place();
            let one: Arc<Self> = Arc::default();
            // What is kept is at addresses of its own.
            let mut others: Vec<Arc<Self>> = (0..100).map(|_| Arc::default()).collect();
            others.retain(|other| place(other) != place(&one));
            [one, others.remove(0)]
        }

        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }

        fn asks(self: &Arc<Self>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) -> Poll<()> {
            poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_wakes_who_asked_last() {
        let (mut alarm, [first, last], begun) = (Alarm::default(), Woken::two(), Instant::now());
        for who in [&first, &first, &last, &first, &last, &last] {
            assert!(who.asks(|context| alarm.poll(context, begun + SECOND)).is_pending());
        }
        sleep(2 * SECOND).await;
        assert_eq!((first.times(), last.times()), (0, 1));
        // It went off, and nobody it woke has asked since: it is told anew.
        assert!(last.asks(|context| alarm.poll(context, begun + 3 * SECOND)).is_pending());
        assert!(last.asks(|context| alarm.poll(context, begun + 3 * SECOND)).is_pending());
        sleep(2 * SECOND).await;
        assert_eq!((first.times(), last.times()), (0, 2));
        assert!(last.asks(|context| alarm.poll(context, begun + 3 * SECOND)).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_done_much_is_woken_as_others_are() {
        let (mut alarm, begun) = (Alarm::default(), Instant::now());
        let waits = poll_fn(|context| {
            while has_budget_remaining() {
                let _spent = pin!(consume_budget()).poll(context);
            }
            alarm.poll(context, begun + SECOND)
        });
        timeout(3 * SECOND, waits).await.unwrap();
        assert_eq!(begun.elapsed(), SECOND);
    }

    fn kept() -> Option<usize> {
        SPARES.with_borrow(|spares| spares.as_ref().map(|spares| spares.iter().flatten().count()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_was_lent_is_lent_again_while_spares_are_kept() {
        let whose = Woken::two();
        let set = |who: &Arc<Woken>, after: Duration| {
            let mut alarm = Lent::default();
            assert!(who.asks(|context| alarm.poll(context, Instant::now() + after)).is_pending());
            alarm
        };
        drop(set(&whose[0], SECOND));
        assert_eq!(kept(), None);
        let spares = Spares::keep();
        drop([set(&whose[0], SECOND), set(&whose[1], 5 * SECOND)]);
        assert_eq!(kept(), Some(2));

        // One was set for an earlier time, one for a later.
        let begun = Instant::now();
        let mut again = whose.each_ref().map(|who| set(who, 2 * SECOND));
        assert_eq!(kept(), Some(0), "each has its own again");
        sleep(3 * SECOND / 2).await;
        // The earlier time wakes its own in vain, which asks again.
        let asks = |who: &Arc<Woken>, alarm: &mut Lent| who.asks(|context| alarm.poll(context, begun + 2 * SECOND));
        assert_eq!(whose.each_ref().map(|who| who.times()), [1, 0]);
        assert!(asks(&whose[0], &mut again[0]).is_pending());
        sleep(SECOND).await;
        assert_eq!(whose.each_ref().map(|who| who.times()), [2, 1]);
        assert!(whose.iter().zip(&mut again).all(|(who, alarm)| asks(who, alarm).is_ready()));
        drop(again);
        drop(Lent::default());
        assert_eq!(kept(), Some(0), "one that rang, or was never set, is no spare");

        let lent = set(&whose[0], SECOND);
        drop(spares);
        drop(lent);
        assert_eq!(kept(), None);
    }

    #[tokio::test]
    async fn no_more_spares_are_kept_than_there_is_room_for() {
        let _spares = Spares::keep();
        let whose: Vec<Arc<Woken>> = (0..PLACES + 10).map(|_| Arc::default()).collect();
        let later = Instant::now() + SECOND;
        let set = |who: &Arc<Woken>| {
            let mut alarm = Lent::default();
            assert!(who.asks(|context| alarm.poll(context, later)).is_pending());
            alarm
        };
        drop(whose.iter().map(set).collect::<Vec<_>>());
        // The more of them, the more meet in a place: of so many, more than a third.
        let kept = kept().unwrap();
        assert!((PLACES / 2..=PLACES).contains(&kept), "{kept}");
    }
}

//! What those who wait for a place on a shared connection are told.

use std::pin::Pin;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// Tells that a shared connection has room, or that one who opened it has stopped.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Those who take any seat. Of them one is told of each that is free, not all of the thousands that there may be.
    any: Notify,
    /// Those who were refused on a connection, and take a seat on a younger one. They are few, and hear of every seat: to
    /// tell one of them would be to tell none, where the seat is not for it.
    picky: Notify,
}

impl Changed {
    /// A word to wait for, which is for one who takes a seat on a connection that is younger than `than`. Nothing that is
    /// told after this call is missed, and what one is told who does not wait for it any more is told to the next.
    pub(super) fn word(&self, than: Option<Instant>) -> Pin<Box<Notified<'_>>> {
        let notify = if than.is_some() { &self.picky } else { &self.any };
        let mut word = Box::pin(notify.notified());
        // Registered now: two seats that are freed before the first poll would otherwise wake one waiter only.
        word.as_mut().enable();
        word
    }

    /// A seat is free.
    pub(super) fn tell_of_seat(&self) {
        self.any.notify_one();
        self.picky.notify_waiters();
    }

    /// All shall look again.
    pub(super) fn tell_all(&self) {
        self.any.notify_waiters();
        self.picky.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_told(word: &mut Pin<Box<Notified<'_>>>) -> bool {
        word.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn two_seats_are_two_words_also_for_those_who_do_not_wait_yet() {
        let changed = Changed::default();
        let (mut one, mut other, mut third) = (changed.word(None), changed.word(None), changed.word(None));
        changed.tell_of_seat();
        changed.tell_of_seat();
        assert_eq!([is_told(&mut one), is_told(&mut other), is_told(&mut third)], [true, true, false]);
    }

    #[test]
    fn what_one_is_told_who_has_left_is_told_to_the_next() {
        let changed = Changed::default();
        let (one, mut other) = (changed.word(None), changed.word(None));
        changed.tell_of_seat();
        drop(one);
        assert!(is_told(&mut other));
    }

    #[test]
    fn a_seat_is_a_word_for_all_who_do_not_take_any_and_for_one_who_does() {
        let changed = Changed::default();
        let than = Some(Instant::now());
        let mut words = [than, than, None, None].map(|than| changed.word(than));
        changed.tell_of_seat();
        assert_eq!(words.each_mut().map(is_told), [true, true, true, false]);
        changed.tell_all();
        assert!(is_told(&mut words[3]));
    }
}

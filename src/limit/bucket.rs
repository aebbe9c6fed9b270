//! One rate of one key: how much of it is taken, and what other replicas have not been told of yet.
//!
//! A state is the time, in microseconds since the epoch, at which the key is full again (GCRA). What was taken since the
//! last hand-over is counted beside it; what all replicas took together comes back as a time, and the later one counts.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::document::Rate;

/// What was taken is reported once it is this part of the rate: less is not worth a round trip, and is by how much each
/// replica may be wrong.
const TRIFLE: u32 = 16;
/// So many times its rate a key can owe, see the store's `share.lua`: no word of the store's makes it more.
const MOST_OWED: u64 = 16;

/// The new state of a key after `many` more at `now`, or how long to wait.
fn admit(rate: Rate, full_at: u64, many: u32, now: Timestamp) -> Result<u64, Duration> {
    let now = micros(now);
    let interval = rate.interval_micros();
    let window = interval.saturating_mul(u64::from(rate.count()));
    // Nobody owes so much: it was noted before the clock was set back, and nobody waits until it is that late again.
    let is_possible = full_at <= now.saturating_add(window.saturating_mul(2 * MOST_OWED));
    let full_at = if is_possible { full_at } else { now };
    let next = full_at.max(now).saturating_add(interval.saturating_mul(u64::from(many)));
    match next.checked_sub(now.saturating_add(window)) {
        None | Some(0) => Ok(next),
        Some(wait) => Err(Duration::from_micros(wait)),
    }
}

pub(super) fn micros(moment: Timestamp) -> u64 {
    moment.millis().saturating_mul(1000)
}

/// When a key is full again of which all replicas together said that it is in `full_in`, and which had `more` since.
fn together(rate: Rate, full_in: Duration, more: u32, now: Timestamp) -> u64 {
    let full_in = u64::try_from(full_in.as_micros()).unwrap_or(u64::MAX);
    let interval = rate.interval_micros();
    let most = interval.saturating_mul(u64::from(rate.count())).saturating_mul(MOST_OWED);
    let more = interval.saturating_mul(u64::from(more));
    micros(now).saturating_add(full_in.saturating_add(more).min(most))
}

/// A key in a map, behind the map's lock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    pub(super) full_at: u64,
    pub(super) untold: u32,
    /// Whether it is in the list of those that are to be told.
    pub(super) is_due: bool,
}

impl Kept {
    /// Takes `many`. Answers how long until all are free again.
    pub(super) fn take(&mut self, rate: Rate, many: u32, now: Timestamp) -> Result<Duration, Duration> {
        let next = admit(rate, self.full_at, many, now)?;
        // Also where the key is full again meanwhile: replicas that each hear a call now and then could otherwise all pass
        // the whole rate, and none would ever say so.
        self.untold = self.untold.saturating_add(many);
        self.full_at = next;
        Ok(Duration::from_micros(next.saturating_sub(micros(now))))
    }

    pub(super) fn wait(&self, rate: Rate, now: Timestamp) -> Option<Duration> {
        admit(rate, self.full_at, 1, now).err()
    }

    /// How many were taken, if they are so many that others are to be told, and nobody has noted it yet.
    pub(super) fn is_worth_telling(&self, rate: Rate) -> Option<u32> {
        (!self.is_due && self.untold >= (rate.count() / TRIFLE).max(1)).then_some(self.untold)
    }

    /// What was taken since this was asked last.
    pub(super) fn tell(&mut self) -> u32 {
        self.is_due = false;
        std::mem::take(&mut self.untold)
    }

    /// All replicas together have it full again in `full_in`, and here were `more` since.
    pub(super) fn learn(&mut self, rate: Rate, full_in: Duration, more: u32, now: Timestamp) {
        self.full_at = self.full_at.max(together(rate, full_in, more, now));
    }
}

/// A key on its own: no map, no lock, and a cache line to itself, as every worker takes of it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Bucket {
    full_at: AtomicU64,
    untold: AtomicU32,
}

impl Bucket {
    /// Takes one of `rate`.
    ///
    /// # Errors
    ///
    /// How long until one is free.
    pub fn take(&self, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = admit(rate, full_at, 1, now)?;
            match self.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(present) => full_at = present,
            }
        }
        // It goes round where nobody shares: then nobody asks either.
        self.untold.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// How long until one of `rate` is free; nothing if one is.
    pub fn wait(&self, rate: Rate, now: Timestamp) -> Option<Duration> {
        admit(rate, self.full_at.load(Ordering::Relaxed), 1, now).err()
    }

    /// What was taken since this was asked last.
    pub fn untold(&self) -> u32 {
        // Most have nothing to say, and are left to the workers' caches.
        if self.untold.load(Ordering::Relaxed) == 0 { 0 } else { self.untold.swap(0, Ordering::Relaxed) }
    }

    /// All replicas together have it full again in `full_in`.
    pub fn learn(&self, rate: Rate, full_in: Duration, now: Timestamp) {
        let together = together(rate, full_in, self.untold.load(Ordering::Relaxed), now);
        self.full_at.fetch_max(together, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(6, Duration::from_secs(60));

    #[test]
    fn no_word_of_the_stores_locks_a_key_for_ever() {
        let (bucket, now) = (Bucket::default(), Timestamp::from_seconds(1_000));
        bucket.learn(RATE, Duration::MAX, now);
        assert_eq!(bucket.wait(RATE, now), Some(Duration::from_secs(15 * 60 + 10)));
        let later = now.plus(Duration::from_secs(16 * 60));
        assert_eq!(bucket.take(RATE, later), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_nobody_waiting_until_it_is_that_late_again() {
        let (bucket, late, now) = (Bucket::default(), Timestamp::from_seconds(900_000), Timestamp::from_seconds(1_000));
        assert!((0..6).all(|_| bucket.take(RATE, late).is_ok()) && bucket.take(RATE, late).is_err());
        assert!((0..6).all(|_| bucket.take(RATE, now).is_ok()) && bucket.take(RATE, now).is_err());
    }
}

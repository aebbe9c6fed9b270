//! A vendor that does not answer is left alone for a while: its calls are refused at once, not after everybody's patience.
//!
//! What counts are connections that cannot be had, and calls that are lost or not answered in time; of these one for each
//! visitor, so that none stops a vendor for all others. Any answer sets the count back, whatever it says. After a pause one
//! call tries, and then the rest, or nobody for twice as long. One that says nothing new lets the next try at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::SendError;

/// So many failures in a row.
const MOST: usize = 5;
/// The first pause.
const SHORTEST: Duration = Duration::from_secs(2);
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(30);
/// So long nobody else tries when one does.
const TRIAL: Duration = Duration::from_secs(5);

/// Whether a vendor's calls are made.
#[derive(Debug)]
pub struct Breaker {
    begun: Instant,
    /// In milliseconds since the beginning: until then nobody calls. 0 where all may; `u64::MAX` is never stored.
    open_until: AtomicU64,
    /// Whether any failure counts, read without the lock.
    has_failed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whose failures count; 0 for those that are nobody's.
    failed: Vec<u128>,
    pauses: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            open_until: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }
}

/// That a call may be made. What came of it is noted; if nothing does (its caller left), another may try at once.
#[derive(Debug)]
pub(super) struct Admitted<'b> {
    breaker: &'b Breaker,
    /// Until when nobody else tries, where this is the one that does.
    trial: Option<u64>,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some(until) = self.trial {
            let Breaker { open_until, .. } = self.breaker;
            // Another has moved the moment on meanwhile, or the vendor is back.
            let _not_ours =
                open_until.compare_exchange(until, self.breaker.now(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl Admitted<'_> {
    /// Notes what came of a call of `who`. Says whether that stops the vendor's calls.
    pub(super) fn note<T>(self, outcome: &Result<T, SendError>, who: u128) -> bool {
        match outcome {
            Ok(_) => {
                self.breaker.recover();
                false
            }
            Err(SendError::Connect(_)) => self.breaker.fail(None, self.trial),
            Err(SendError::Lost(_) | SendError::Timeout) => self.breaker.fail(Some(who), self.trial),
            Err(SendError::Busy | SendError::Open(_) | SendError::Ended { .. } | SendError::Caller(_)) => false,
        }
    }
}

impl Breaker {
    /// Whether a call may be made now.
    ///
    /// # Errors
    ///
    /// How long until one may.
    pub(super) fn admit(&self) -> Result<Admitted<'_>, Duration> {
        let until = self.open_until.load(Ordering::Relaxed);
        if until == 0 {
            return Ok(Admitted { breaker: self, trial: None });
        }
        let now = self.now();
        if now < until {
            return Err(Duration::from_millis(until - now));
        }
        // Whoever moves the moment on is the one that tries.
        let next = now.saturating_add(millis(TRIAL));
        match self.open_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Ok(Admitted { breaker: self, trial: Some(next) }),
            Err(0) => Ok(Admitted { breaker: self, trial: None }),
            Err(later) => Err(Duration::from_millis(later.saturating_sub(now))),
        }
    }

    /// Whether the vendor's calls are refused.
    pub fn is_open(&self) -> bool {
        self.open_until.load(Ordering::Relaxed) != 0
    }

    fn recover(&self) {
        if !self.has_failed.load(Ordering::Relaxed) && self.open_until.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut state = self.state.lock();
        *state = State::default();
        self.has_failed.store(false, Ordering::Relaxed);
        self.open_until.store(0, Ordering::Relaxed);
    }

    fn fail(&self, who: Option<u128>, trial: Option<u64>) -> bool {
        let mut state = self.state.lock();
        if who.is_some_and(|who| state.failed.contains(&who)) {
            return false;
        }
        if state.failed.len() < MOST {
            state.failed.push(who.unwrap_or_default());
            self.has_failed.store(true, Ordering::Relaxed);
        }
        let (until, now) = (self.open_until.load(Ordering::Relaxed), self.now());
        // What was sent before the pause began says nothing more; one that tried does.
        let is_late = until != 0 && trial.is_none();
        if state.failed.len() < MOST || is_late {
            return false;
        }
        let pause = SHORTEST.saturating_mul(1 << state.pauses.min(8)).min(LONGEST);
        state.pauses += 1;
        self.open_until.store((now + millis(pause)).max(1), Ordering::Relaxed);
        // The next to fail is the one that tries.
        state.failed.truncate(MOST - 1);
        until == 0
    }

    fn now(&self) -> u64 {
        millis(self.begun.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<(), SendError> {
        Err(SendError::Connect("refused".into()))
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    /// What came of a call that was sent before it was known that the vendor does not answer.
    fn note<T>(breaker: &Breaker, outcome: Result<T, SendError>, who: u128) -> bool {
        Admitted { breaker, trial: None }.note(&outcome, who)
    }

    fn wait(breaker: &Breaker) -> Option<Duration> {
        breaker.admit().err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_vendor_that_cannot_be_reached_is_left_alone_and_tried_by_one() {
        let breaker = Breaker::default();
        for failure in 1..=5 {
            assert_eq!(breaker.admit().unwrap().note(&refused(), 7), failure == 5);
        }
        assert_eq!((breaker.is_open(), wait(&breaker)), (true, Some(SHORTEST)));
        pass(2).await;
        let trial = breaker.admit().unwrap();
        assert_eq!(wait(&breaker), Some(TRIAL), "one tries");
        assert!(!note(&breaker, refused(), 7), "it was sent before");
        assert!(!trial.note(&refused(), 7), "that it is stopped was said");
        assert_eq!(wait(&breaker), Some(SHORTEST * 2));
        pass(4).await;
        assert!(!breaker.admit().unwrap().note(&Ok(()), 7));
        assert!(!breaker.is_open() && wait(&breaker).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_visitor_does_not_stop_a_vendor_and_five_do() {
        let breaker = Breaker::default();
        for _ in 0..50 {
            note::<()>(&breaker, Err(SendError::Timeout), 1);
        }
        assert!(!breaker.is_open());
        for who in 2..=5 {
            note::<()>(&breaker, Err(SendError::Lost("reset".into())), who);
        }
        assert!(breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn any_answer_sets_the_count_back_and_what_is_nobodys_fault_does_not_count() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            for who in 1..=4 {
                note::<()>(&breaker, Err(SendError::Timeout), who);
            }
            note(&breaker, Ok(()), 1);
        }
        for who in 1..=9 {
            note::<()>(&breaker, Err(SendError::Busy), who);
            note::<()>(&breaker, Err(SendError::Ended { is_whole: false }), who);
        }
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_tried_and_says_nothing_new_is_followed_by_another_at_once() {
        let breaker = Breaker::default();
        assert_eq!((1..=5).filter(|who| note::<()>(&breaker, Err(SendError::Timeout), *who)).count(), 1);
        pass(2).await;
        // Its caller left.
        drop(breaker.admit().unwrap());
        // Whoever keeps the vendor busy with what it cannot answer keeps nobody else from it.
        assert!(!breaker.admit().unwrap().note::<()>(&Err(SendError::Timeout), 1));
        let hanging = breaker.admit().unwrap();
        assert_eq!(wait(&breaker), Some(TRIAL));
        pass(5).await;
        assert!(!breaker.admit().unwrap().note(&Ok(()), 9), "nobody waits longer for one that hangs");
        drop(hanging);
        assert!(!breaker.is_open(), "nor comes back to it");
    }
}

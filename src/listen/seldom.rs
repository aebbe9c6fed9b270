//! What strangers can provoke is said now and then, and not each time: whoever fills the gateway must not fill its log.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Once it was said, it is not said again for so long.
const PAUSE: Duration = Duration::from_secs(60);

/// One thing that is said now and then.
#[derive(Debug)]
pub(super) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    pub(super) const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// How many times it was not said since it last was; nothing, if it is not to be said now either.
    pub(super) fn is_due(&self) -> Option<u64> {
        let mut state = self.0.lock();
        let (last, unsaid) = &mut *state;
        if last.is_some_and(|last| last.elapsed() < PAUSE) {
            *unsaid += 1;
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_said_once_and_how_often_it_was_not() {
        let seldom = Seldom::new();
        let said: Vec<Option<u64>> = (0..1000).map(|_| seldom.is_due()).collect();
        assert_eq!((said[0], said.iter().flatten().count()), (Some(0), 1));
        tokio::time::advance(PAUSE).await;
        assert_eq!((seldom.is_due(), seldom.is_due()), (Some(999), None));
    }
}

//! What time it is, as an input.
//!
//! Nothing else in the crate reads the wall clock (clippy's `disallowed-methods` keeps it so), which is why every
//! test of an expiry is exact: it sets the time instead of waiting for it. Durations of I/O (time-outs, latencies)
//! are tokio's business; a [`Moment`] is where its clock and this one meet.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

/// A moment on both clocks: the wall's, and the one by which I/O is timed.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// What the wall clock shows.
    pub wall: Timestamp,
    /// What tokio's shows.
    pub instant: Instant,
}

impl Moment {
    /// When tokio's clock shows that the wall's is at `wall`, which may be over: as far back as tokio's goes.
    pub fn when(self, wall: Timestamp) -> Instant {
        let over = self.wall.since(wall);
        self.instant.checked_sub(over).unwrap_or(self.instant) + wall.since(self.wall)
    }
}

thread_local! {
    /// Nothing while the clocks go; then what they showed, once they were looked at.
    static STANDING: Cell<Option<Option<Moment>>> = const { Cell::new(None) };
}

/// Lets the clocks go on again, also behind a panic.
struct GoOn(Option<Option<Moment>>);

impl Drop for GoOn {
    fn drop(&mut self) {
        STANDING.set(self.0);
    }
}

/// Does what is too short for a clock: until it is done, the system's clock and [`instant`] show this thread what they showed
/// it first. A call asks for the time in a dozen places between two waits, and to read a clock is slower than what most of
/// them do.
pub(crate) fn standing<T>(work: impl FnOnce() -> T) -> T {
    let _go_on = GoOn(STANDING.replace(Some(None)));
    work()
}

/// What tokio's clock shows, or showed when it was looked at first since it [stands](standing).
pub(crate) fn instant() -> Instant {
    stood().map_or_else(Instant::now, |moment| moment.instant)
}

/// What the clocks showed at the first look, if they stand.
fn stood() -> Option<Moment> {
    let shown = STANDING.get()?;
    Some(shown.unwrap_or_else(|| {
        let moment = Moment { wall: Timestamp::of_system(), instant: Instant::now() };
        STANDING.set(Some(Some(moment)));
        moment
    }))
}

/// A source of wall-clock time: the system's, or one that a test moves by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it. Clones share it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start.0))))
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => stood().map_or_else(Timestamp::of_system, |moment| moment.wall),
            Source::Manual(millis) => Timestamp(millis.load(Ordering::Relaxed)),
        }
    }

    /// The present moment on both clocks.
    pub fn moment(&self) -> Moment {
        Moment { wall: self.now(), instant: instant() }
    }

    /// Moves a manual clock forward; the system's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(millis) = &self.0 {
            millis.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

/// A moment: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn of_system() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The moment `seconds` seconds after the epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down (a JWT's NumericDate, RFC 7519 §2).
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds since the last whole second.
    pub fn subsecond_millis(self) -> u16 {
        u16::try_from(self.0 % 1000).unwrap_or_default()
    }

    /// This moment and `by` more.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` to this; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// As RFC 3339 writes it, to the second.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = i64::try_from(self.seconds()).ok();
        let date = second.and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
        // A moment after the year 9999 has no such form.
        match date.and_then(|date| date.format(&Rfc3339).ok()) {
            Some(date) => formatter.write_str(&date),
            None => write!(formatter, "{} seconds after 1970", self.seconds()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_for_all_its_clones() {
        let clock = Clock::manual(Timestamp::from_seconds(1_000));
        let other = clock.clone();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(other.now().millis(), 1_001_500);
        assert_eq!(other.now().seconds(), 1_001);
    }

    #[test]
    fn clocks_stand_while_something_short_is_done_and_go_on_behind_a_panic() {
        let (clock, tick) = (Clock::system(), Duration::from_millis(2));
        let ticked = || {
            let before = clock.moment();
            std::thread::sleep(tick);
            let after = clock.moment();
            (after.wall.since(before.wall), after.instant - before.instant)
        };
        assert_eq!(standing(ticked), (Duration::ZERO, Duration::ZERO));
        assert!(ticked() >= (tick / 2, tick));
        let shown = standing(|| (clock.now(), standing(ticked), clock.now()));
        assert_eq!((shown.1, shown.2), ((Duration::ZERO, Duration::ZERO), shown.0), "also one within another");
        assert!(std::panic::catch_unwind(|| standing(|| panic!("while they stand"))).is_err());
        assert!(ticked() >= (tick / 2, tick));
    }

    #[test]
    fn a_moment_is_shown_as_a_date_where_it_is_one() {
        assert_eq!(Timestamp::from_millis(1_800_000_000_999).to_string(), "2027-01-15T08:00:00Z");
        assert_eq!(Timestamp::from_seconds(1 << 40).to_string(), "1099511627776 seconds after 1970");
    }

    #[test]
    fn a_moment_tells_when_the_wall_clock_will_be_somewhere() {
        let moment = Clock::manual(Timestamp::from_seconds(1_000)).moment();
        assert_eq!(moment.when(Timestamp::from_seconds(1_030)), moment.instant + Duration::from_secs(30));
        assert_eq!(moment.when(Timestamp::from_seconds(970)) + Duration::from_secs(30), moment.instant);
    }
}

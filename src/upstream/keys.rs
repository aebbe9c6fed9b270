//! A vendor's keys: spread over sessions, and set aside while the vendor refuses one.
//!
//! Only an answer that the profile marks as being about the key comes here. What is set aside is only not used for new
//! sessions (or, where the vendor knows of no sessions, for new calls): a session stays with the key that opened it. The
//! same holds for a key whose own rate is spent, where the configuration gives keys one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode, header};
use parking_lot::{Mutex, MutexGuard};

use crate::clock::Timestamp;
use crate::document::Rate;
use crate::fault::{Code, Fault};
use crate::limit::Bucket;
use crate::secret::Secret;

/// How long a key is set aside where the vendor does not say: long enough not to be a nuisance, short enough that a
/// mended key is soon back.
const ASIDE: Duration = Duration::from_secs(60);
/// No vendor's word puts a key aside for longer.
const LONGEST_ASIDE: Duration = Duration::from_secs(3600);
/// By so much a worker's time may be behind another's, or a clock be set back, and a key stays aside.
const SLACK: Duration = Duration::from_secs(60);
/// Nobody is told to come back at once.
const SHORTEST: Duration = Duration::from_secs(1);
/// A 403 can be about one session. One that three of them got is about the key.
const REFUSED_SESSIONS: usize = 3;
/// What callers know the rate of a key as.
const POLICY: &str = "vendor_key";

/// One key, and the fingerprint by which a session's binding names it.
#[derive(Debug)]
pub struct VendorKey {
    /// The key itself.
    pub secret: Secret,
    /// Its keyed fingerprint: says nothing about the key, and stays the same when keys are added or removed.
    pub fingerprint: [u8; 32],
}

/// That a vendor says a key is refused, or used up.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The status by which it says so.
    pub status: StatusCode,
    /// When it may be asked again, where it says that too.
    pub retry_after: Option<Duration>,
    /// To whose call.
    pub who: u128,
}

/// All keys of one vendor; at least one.
#[derive(Debug)]
pub struct VendorKeys {
    keys: Vec<Kept>,
    /// Calls with each of them.
    rate: Option<Rate>,
    next: AtomicUsize,
    /// Held from looking whether another key is left to setting one aside: of two at once, one would be the last.
    judging: Mutex<()>,
}

#[derive(Debug)]
struct Kept {
    key: VendorKey,
    /// Its rate, which goes on from one configuration to the next.
    calls: Arc<Bucket>,
    /// Until when it is set aside, in milliseconds since the epoch.
    until: AtomicU64,
    /// The sessions that were refused with 403 since the key last worked.
    refused: Mutex<Vec<u128>>,
    /// Whether there are any: a call that went well looks at no lock.
    has_refused: AtomicBool,
}

/// That every key is set aside, or spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all keys of the vendor are set aside")]
pub struct Exhausted {
    /// When the first of them comes back.
    pub wait: Duration,
    /// The rate that it waits for, if the vendor does not refuse that one.
    pub spent: Option<Rate>,
}

impl From<Exhausted> for Fault {
    fn from(error: Exhausted) -> Self {
        if let Some(rate) = error.spent {
            return Spent { rate, wait: error.wait }.into();
        }
        let detail = "the vendor refuses every key of the gateway, or says that they are used up; try again later";
        Self::new(Code::VendorKeysExhausted, detail).retry_after(error.wait).because(error)
    }
}

/// That the rate of a key is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Which rate.
    pub rate: Rate,
    /// How long until one is free.
    pub wait: Duration,
}

impl From<Spent> for Fault {
    fn from(spent: Spent) -> Self {
        let detail = "the gateway makes too many calls to this vendor";
        Self::new(Code::RateLimited, detail).spent(POLICY, spent.rate, spent.wait)
    }
}

impl VendorKeys {
    /// These keys, and how many calls may be made with each of them. What was taken of one that was there `before` stays
    /// taken.
    pub fn new(keys: Vec<VendorKey>, rate: Option<Rate>, before: Option<&Self>) -> Self {
        let known = |key: &VendorKey| {
            let same = before?.keys.iter().find(|kept| kept.key.fingerprint == key.fingerprint)?;
            Some(Arc::clone(&same.calls))
        };
        let kept = |key| Kept {
            calls: known(&key).unwrap_or_default(),
            key,
            until: AtomicU64::new(0),
            refused: Mutex::default(),
            has_refused: AtomicBool::new(false),
        };
        let (next, judging) = (AtomicUsize::new(0), Mutex::default());
        Self { keys: keys.into_iter().map(kept).collect(), rate, next, judging }
    }

    /// The place of the key for the next session: they are spread over the keys that are neither set aside nor
    /// spent.
    ///
    /// # Errors
    ///
    /// All are.
    pub fn next(&self, now: Timestamp) -> Result<usize, Exhausted> {
        self.next_but(&[], now)
    }

    /// The same, but for the places in `tried`.
    ///
    /// # Errors
    ///
    /// All others are set aside or spent.
    pub fn next_but(&self, tried: &[usize], now: Timestamp) -> Result<usize, Exhausted> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let is_open =
            |place: &usize| !tried.contains(place) && self.is_free(*place, now) && self.spent(*place, now).is_none();
        // Of those that are left each gets its share: what a key that is set aside would have got goes to all others.
        let free: Vec<usize> = (0..self.keys.len()).filter(is_open).collect();
        let place = start.checked_rem(free.len()).and_then(|turn| free.get(turn));
        place.copied().ok_or_else(|| self.exhausted(now))
    }

    /// Which key comes back first, and why it is away.
    fn exhausted(&self, now: Timestamp) -> Exhausted {
        let away = |(place, kept): (usize, &Kept)| {
            let aside = kept.aside(now);
            let spent = self.spent(place, now).filter(|spent| spent.wait > aside);
            Exhausted { wait: spent.map_or(aside, |spent| spent.wait), spent: spent.map(|spent| spent.rate) }
        };
        let first = self.keys.iter().enumerate().map(away).min_by_key(|away| away.wait);
        let first = first.unwrap_or(Exhausted { wait: Duration::ZERO, spent: None });
        Exhausted { wait: if first.spent.is_some() { first.wait } else { first.wait.max(SHORTEST) }, ..first }
    }

    /// How many calls may be made with each of them.
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Takes a call with the key at `place`.
    ///
    /// # Errors
    ///
    /// Its rate is spent.
    pub fn take(&self, place: usize, now: Timestamp) -> Result<(), Spent> {
        let (Some(rate), Some(kept)) = (self.rate, self.keys.get(place)) else { return Ok(()) };
        kept.calls.take(rate, now).map_err(|wait| Spent { rate, wait })
    }

    /// Whether the rate of the key at `place` is spent; nothing is taken.
    pub fn spent(&self, place: usize, now: Timestamp) -> Option<Spent> {
        let (rate, kept) = (self.rate?, self.keys.get(place)?);
        kept.calls.wait(rate, now).map(|wait| Spent { rate, wait })
    }

    /// What was taken of each key, by its fingerprint; nothing where keys have no rate.
    pub fn calls(&self) -> impl Iterator<Item = (&[u8; 32], Rate, &Bucket)> {
        let rate = self.rate;
        self.keys.iter().filter_map(move |kept| Some((&kept.key.fingerprint, rate?, &*kept.calls)))
    }

    /// Whether the key at `place` is not set aside.
    pub fn is_free(&self, place: usize, now: Timestamp) -> bool {
        self.keys.get(place).is_some_and(|kept| kept.aside(now).is_zero())
    }

    /// How many are set aside.
    pub fn set_aside(&self, now: Timestamp) -> usize {
        (0..self.keys.len()).filter(|place| !self.is_free(*place, now)).count()
    }

    /// The vendor refused the key at `place`. Answers whether that is set aside now.
    pub fn refuse(&self, place: usize, refusal: Refusal, now: Timestamp) -> bool {
        let _one_at_a_time = self.judging.lock();
        self.judge(place, refusal, now)
    }

    /// The same, but never for the last key that is not set aside, whatever the status: for an answer to a call that its
    /// visitor may have shaped.
    pub fn refuse_unless_last(&self, place: usize, refusal: Refusal, now: Timestamp) -> bool {
        let _one_at_a_time = self.judging.lock();
        self.has_another(place, now) && self.judge(place, refusal, now)
    }

    fn judge(&self, place: usize, refusal: Refusal, now: Timestamp) -> bool {
        let Some(kept) = self.keys.get(place) else { return false };
        let may_be_the_callers = refusal.status == StatusCode::FORBIDDEN;
        if may_be_the_callers && !(kept.is_refused_often(refusal.who) && self.has_another(place, now)) {
            return false;
        }
        // The sessions that it opened go on with it, and are answered in any order: the longest wait counts.
        let aside = refusal.retry_after.unwrap_or(ASIDE).min(LONGEST_ASIDE).max(kept.aside(now));
        kept.until.store(now.plus(aside).millis(), Ordering::Relaxed);
        kept.forget();
        true
    }

    /// The key at `place` works.
    pub fn accept(&self, place: usize) {
        if let Some(kept) = self.keys.get(place).filter(|kept| kept.has_refused.load(Ordering::Relaxed)) {
            kept.forget();
        }
    }

    /// Whether any other key is not set aside.
    fn has_another(&self, place: usize, now: Timestamp) -> bool {
        (0..self.keys.len()).any(|other| other != place && self.is_free(other, now))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The place of the key that a session was opened with, if the configuration still has it. A place is good for
    /// the life of these keys only; outside of a call the fingerprint names the key.
    pub fn place_of(&self, fingerprint: &[u8; 32]) -> Option<usize> {
        self.keys.iter().position(|kept| kept.key.fingerprint == *fingerprint)
    }

    /// The key at this place.
    pub fn at(&self, place: usize) -> Option<&Secret> {
        self.keys.get(place).map(|kept| &kept.key.secret)
    }

    /// The fingerprint of the key at this place.
    pub fn fingerprint_at(&self, place: usize) -> Option<[u8; 32]> {
        self.keys.get(place).map(|kept| kept.key.fingerprint)
    }

    /// The secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.keys.iter().map(|kept| &kept.key.secret)
    }
}

impl Kept {
    /// For how much longer it is set aside.
    fn aside(&self, now: Timestamp) -> Duration {
        let left = Timestamp::from_millis(self.until.load(Ordering::Relaxed)).since(now);
        // Nobody is set aside for longer: it was noted before the clock was set back, and is not waited for until it is that late
        // again.
        if left > LONGEST_ASIDE + SLACK { Duration::ZERO } else { left }
    }

    fn refused(&self) -> MutexGuard<'_, Vec<u128>> {
        self.refused.lock()
    }

    fn forget(&self) {
        let mut refused = self.refused();
        refused.clear();
        self.has_refused.store(false, Ordering::Relaxed);
    }

    /// Notes one more refusal, and says whether it is one too many.
    fn is_refused_often(&self, session: u128) -> bool {
        let mut refused = self.refused();
        self.has_refused.store(true, Ordering::Relaxed);
        if refused.len() < REFUSED_SESSIONS && !refused.contains(&session) {
            refused.push(session);
        }
        refused.len() >= REFUSED_SESSIONS
    }
}

/// How long a vendor asks us to wait (RFC 9110 §10.2.3): in seconds, or until a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_seconds(date.as_secs()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |text| retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, text)]), NOW);
        assert_eq!(read(http::HeaderValue::from_static("120")), Some(Duration::from_secs(120)));
        let date = http::HeaderValue::from_static("Fri, 15 Jan 2027 08:01:00 GMT");
        assert_eq!(read(date), Some(Duration::from_secs(60)));
        assert_eq!(read(http::HeaderValue::from_static("soon")), None);
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn keys(count: usize) -> VendorKeys {
        keys_with(count, None)
    }

    fn keys_with(count: usize, rate: Option<Rate>) -> VendorKeys {
        let key = |at: usize| VendorKey {
            secret: Secret::new(format!("sk-{at}-0123456789abcdef")),
            fingerprint: [u8::try_from(at).expect("few"); 32],
        };
        VendorKeys::new((0..count).map(key).collect(), rate, None)
    }

    fn refusal(status: StatusCode) -> Refusal {
        Refusal { status, retry_after: None, who: 1 }
    }

    fn after(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn sessions_are_spread_over_the_keys() {
        let keys = keys(3);
        let places: Vec<usize> = (0..6).map(|_| keys.next(NOW).unwrap()).collect();
        assert_eq!(places, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn what_a_key_that_is_set_aside_would_have_got_goes_to_all_others() {
        let keys = keys(4);
        assert!(keys.refuse(1, refusal(StatusCode::TOO_MANY_REQUESTS), NOW));
        assert_eq!((keys.set_aside(NOW), keys.set_aside(after(60))), (1, 0));
        let mut counts = [0; 4];
        for _ in 0..30 {
            counts[keys.next(NOW).unwrap()] += 1;
        }
        assert_eq!(counts, [10, 0, 10, 10]);
    }

    #[test]
    fn a_later_answer_does_not_shorten_the_wait() {
        let keys = keys(1);
        let refuse =
            |retry_after| keys.refuse(0, Refusal { retry_after, ..refusal(StatusCode::TOO_MANY_REQUESTS) }, NOW);
        assert!(refuse(Some(Duration::from_secs(900))) && refuse(None));
        assert_eq!(keys.next(after(60)), Err(Exhausted { wait: Duration::from_secs(840), spent: None }));
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_no_key_aside_until_it_is_that_late_again() {
        let keys = keys(1);
        assert!(keys.refuse(0, refusal(StatusCode::TOO_MANY_REQUESTS), after(20 * 3600)));
        assert_eq!(keys.next(NOW), Ok(0));
        assert!(keys.refuse(0, refusal(StatusCode::TOO_MANY_REQUESTS), NOW));
        assert_eq!((keys.set_aside(NOW), keys.set_aside(after(60))), (1, 0));
    }

    #[test]
    fn a_key_is_set_aside_for_as_long_as_the_vendor_says_and_an_hour_at_most() {
        let keys = keys(1);
        let refuse = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            keys.refuse(0, Refusal { retry_after, ..refusal(StatusCode::TOO_MANY_REQUESTS) }, NOW)
        };
        assert!(refuse(90));
        assert_eq!(keys.next(after(10)), Err(Exhausted { wait: Duration::from_secs(80), spent: None }));
        assert_eq!(keys.next(after(90)), Ok(0));
        assert!(refuse(1 << 30));
        assert_eq!(keys.next(after(3600)), Ok(0));
    }

    #[test]
    fn a_403_sets_a_key_aside_only_after_three_different_sessions() {
        let keys = keys(2);
        let refuse = |who| keys.refuse(0, Refusal { who, ..refusal(StatusCode::FORBIDDEN) }, NOW);
        assert!(!refuse(1) && !refuse(1) && !refuse(2) && !refuse(2));
        keys.accept(0);
        assert!(!refuse(3) && !refuse(4));
        assert!(refuse(5));
        assert_eq!(keys.next(NOW), Ok(1));
        assert_eq!(keys.next(NOW), Ok(1));
    }

    #[test]
    fn the_last_key_is_never_set_aside_for_403() {
        let keys = keys(2);
        assert!(keys.refuse(1, refusal(StatusCode::UNAUTHORIZED), NOW));
        assert!((1..10).all(|who| !keys.refuse(0, Refusal { who, ..refusal(StatusCode::FORBIDDEN) }, NOW)));
        assert_eq!(keys.next(NOW), Ok(0));
    }

    #[test]
    fn of_two_keys_that_are_refused_at_once_with_403_or_to_conversations_one_stays() {
        one_stays(|keys, place, who| keys.refuse(place, Refusal { who, ..refusal(StatusCode::FORBIDDEN) }, NOW));
        one_stays(|keys, place, who| {
            // The first two are about something else.
            let refusal = Refusal { who, ..refusal(StatusCode::UNAUTHORIZED) };
            who == 3 && keys.refuse_unless_last(place, refusal, NOW)
        });
    }

    /// Both keys are refused to three sessions, at once to the last of them, and one is set aside.
    fn one_stays(refuse: impl Fn(&VendorKeys, usize, u128) -> bool + Sync) {
        let all: Vec<VendorKeys> = std::iter::repeat_with(|| keys(2)).take(3000).collect();
        let arrived = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for place in 0..2 {
                let (all, arrived, refuse) = (&all, &arrived, &refuse);
                scope.spawn(move || {
                    for (round, keys) in all.iter().enumerate() {
                        assert!((1..3).all(|session| !refuse(keys, place, session)));
                        // Who waits for the other does not sleep at first: both shall go on in the same moment.
                        arrived.fetch_add(1, Ordering::SeqCst);
                        let mut turns = 0;
                        while arrived.load(Ordering::SeqCst) < 2 * (round + 1) {
                            turns += 1;
                            if turns % 4096 == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
                        }
                        refuse(keys, place, 3);
                    }
                });
            }
        });
        assert_eq!(all.iter().filter(|keys| keys.set_aside(NOW) != 1).count(), 0);
    }

    #[test]
    fn a_key_whose_rate_is_spent_gets_no_new_session_and_the_first_to_come_back_is_told() {
        let rate = Rate::new(2, Duration::from_secs(60));
        let keys = keys_with(2, Some(rate));
        assert!(keys.take(0, NOW).is_ok() && keys.take(0, NOW).is_ok());
        assert_eq!(keys.take(0, NOW), Err(Spent { rate, wait: Duration::from_secs(30) }));
        assert_eq!([keys.next(NOW), keys.next(NOW)], [Ok(1), Ok(1)]);

        assert!(keys.refuse(1, refusal(StatusCode::UNAUTHORIZED), NOW));
        assert_eq!(keys.next(NOW), Err(Exhausted { wait: Duration::from_secs(30), spent: Some(rate) }));
        assert_eq!(keys.next(after(30)), Ok(0));
    }
}

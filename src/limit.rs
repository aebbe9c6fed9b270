//! How much: rates and counts, local to the process.
//!
//! A rate is kept as a GCRA (generic cell rate algorithm): one number for a key, the time at which it would be full
//! again, so that a limit costs no timer and no history. Keys are plain numbers: what they count is the caller's
//! business. Memory is bounded: a key that is full again says nothing and is swept, and beyond [`MOST_KEYS`] a shard
//! forgets one key for each that comes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::document::Rate;

/// Enough that two cores seldom meet in one.
const SHARDS: usize = 64;
/// Keys a shard remembers at most: a million in all, about 50 MB.
const MOST_KEYS: usize = 16_384;

/// The new state of a key after one more at `now`, or how long to wait. A state is the time, in microseconds since the
/// epoch, at which the key is full again.
fn admit(rate: Rate, full_at: u64, now: Timestamp) -> Result<u64, Duration> {
    let now = now.millis().saturating_mul(1000);
    let interval = rate.interval_micros();
    let window = interval.saturating_mul(u64::from(rate.count()));
    let next = full_at.max(now).saturating_add(interval);
    match next.checked_sub(now.saturating_add(window)) {
        None | Some(0) => Ok(next),
        Some(wait) => Err(Duration::from_micros(wait)),
    }
}

/// A state on its own: no map, no lock.
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

impl Bucket {
    fn take(&self, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let mut full_at = self.0.load(Ordering::Relaxed);
        loop {
            let next = admit(rate, full_at, now)?;
            match self.0.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(present) => full_at = present,
            }
        }
    }
}

/// What a key counts, so that two kinds of limit never share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Mints of a bot by an address.
    MintByAddress,
    /// Mints of a bot by a client.
    MintByClient,
    /// Calls of a session.
    Session,
    /// Wrong credentials from an address.
    Failure,
}

/// Whom a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    kind: Kind,
    scope: u32,
    subject: u128,
}

impl Key {
    /// The key of `subject` within `scope` (a bot's number, or 0).
    pub const fn new(kind: Kind, scope: u32, subject: u128) -> Self {
        Self { kind, scope, subject }
    }
}

impl Key {
    /// The key of a session's calls. Its id is a UUID of our own, 128 bits.
    pub fn session(id: &str) -> Self {
        Self::new(Kind::Session, 0, uuid::Uuid::try_parse(id).map_or(0, |id| id.as_u128()))
    }
}

/// The subject of a key that has a name and no number: 128 bits of its digest.
pub fn digest_key(name: &[u8]) -> u128 {
    let digest = crate::secret::sha256(name);
    u128::from_be_bytes(std::array::from_fn(|at| digest[at]))
}

/// All limits' state of the process.
#[derive(Debug)]
pub struct Limiter {
    /// By the bot's number: all calls of a bot meet here, so that it has no lock.
    bots: Vec<Bucket>,
    hasher: ahash::RandomState,
    rates: Vec<Mutex<HashMap<Key, u64, ahash::RandomState>>>,
    open: Vec<Mutex<HashMap<u128, u32, ahash::RandomState>>>,
}

impl Limiter {
    /// The state of this many bots, and of whatever else is counted.
    pub fn new(bots: usize) -> Self {
        let hasher = ahash::RandomState::new();
        Self {
            rates: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect(),
            open: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect(),
            bots: (0..bots).map(|_| Bucket::default()).collect(),
            hasher,
        }
    }

    /// Takes one of `rate` for the bot of this number.
    ///
    /// # Errors
    ///
    /// How long until one is free.
    pub fn take_of_bot(&self, number: u32, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let bucket = usize::try_from(number).ok().and_then(|number| self.bots.get(number));
        bucket.map_or(Ok(()), |bucket| bucket.take(rate, now))
    }

    /// Takes one of `rate` for `key`. Answers how long until all are free again.
    ///
    /// # Errors
    ///
    /// How long until one is free.
    pub fn take(&self, key: Key, rate: Rate, now: Timestamp) -> Result<Duration, Duration> {
        let mut shard = lock(&self.rates[self.shard(&key)]);
        let left = |full_at: u64| Duration::from_micros(full_at.saturating_sub(now.millis().saturating_mul(1000)));
        if let Some(full_at) = shard.get_mut(&key) {
            *full_at = admit(rate, *full_at, now)?;
            return Ok(left(*full_at));
        }
        make_room(&mut shard, now);
        let full_at = admit(rate, 0, now)?;
        shard.insert(key, full_at);
        Ok(left(full_at))
    }

    /// Counts one more open call of `session`, unless `most` are open. It is counted down when the guard is dropped.
    pub fn open(self: &Arc<Self>, session: u128, most: u32) -> Option<OpenCall> {
        let mut shard = lock(&self.open[self.shard(&session)]);
        let count = shard.entry(session).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(OpenCall { limiter: Arc::clone(self), session, other: None })
    }

    fn shard(&self, key: &impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }
}

/// Before a new key: sweeps what is full again, when the map would otherwise have to grow.
fn make_room(shard: &mut HashMap<Key, u64, ahash::RandomState>, now: Timestamp) {
    if shard.len() < shard.capacity() {
        return;
    }
    let now = now.millis().saturating_mul(1000);
    shard.retain(|_, full_at| *full_at > now);
    if shard.len() >= MOST_KEYS
        && let Some(any) = shard.keys().next().copied()
    {
        shard.remove(&any);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Numbers stay valid whatever happened to a thread that held them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One open call of a session.
#[derive(Debug)]
pub struct OpenCall {
    limiter: Arc<Limiter>,
    session: u128,
    /// What it has in common with the other half, if there is one: the last of them counts down.
    other: Option<Arc<()>>,
}

impl OpenCall {
    /// The same call, held by two: it is open until both are dropped.
    pub fn shared(mut self) -> [Self; 2] {
        let common = Arc::clone(self.other.get_or_insert_default());
        let half = Self { limiter: Arc::clone(&self.limiter), session: self.session, other: Some(common) };
        [self, half]
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if self.other.take().is_some_and(|common| Arc::into_inner(common).is_none()) {
            return;
        }
        let mut shard = lock(&self.limiter.open[self.limiter.shard(&self.session)]);
        if let Some(count) = shard.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(3, Duration::from_secs(60));

    fn key(subject: u128) -> Key {
        Key::new(Kind::Session, 0, subject)
    }

    #[test]
    fn a_rate_admits_its_count_and_then_one_an_interval() {
        let limiter = Limiter::new(1);
        let start = Timestamp::from_seconds(1_000);
        for taken in 1..=3 {
            assert_eq!(limiter.take(key(1), RATE, start), Ok(Duration::from_secs(20 * taken)));
        }
        assert_eq!(limiter.take(key(1), RATE, start), Err(Duration::from_secs(20)));
        assert!(limiter.take(key(2), RATE, start).is_ok(), "another key has its own");
        let later = start.plus(Duration::from_secs(20));
        assert!(limiter.take(key(1), RATE, later).is_ok());
        assert!(limiter.take(key(1), RATE, later).is_err());
    }

    #[test]
    fn a_bot_is_counted_as_other_keys_are() {
        let limiter = Limiter::new(2);
        let start = Timestamp::from_seconds(1_000);
        assert!((0..3).all(|_| limiter.take_of_bot(1, RATE, start).is_ok()));
        assert_eq!(limiter.take_of_bot(1, RATE, start), Err(Duration::from_secs(20)));
        assert_eq!(limiter.take_of_bot(0, RATE, start), Ok(()), "another bot has its own");
    }

    #[test]
    fn keys_that_are_full_again_are_swept() {
        let limiter = Limiter::new(1);
        for second in 0..200_u64 {
            for subject in 0..500 {
                let now = Timestamp::from_seconds(1_000 + second * 100);
                assert!(limiter.take(key(u128::from(second) << 64 | subject), RATE, now).is_ok());
            }
        }
        let remembered: usize = limiter.rates.iter().map(|shard| lock(shard).len()).sum();
        assert!(remembered < 5_000, "{remembered} of 100000 keys are remembered");
    }

    #[test]
    fn open_calls_are_counted_down_when_they_end() {
        let limiter = Arc::new(Limiter::new(1));
        let first = limiter.open(7, 2);
        let second = limiter.open(7, 2);
        assert!(first.is_some() && second.is_some() && limiter.open(7, 2).is_none());
        assert!(limiter.open(8, 2).is_some());
        drop(first);
        assert!(limiter.open(7, 2).is_some());
        let [half, other] = second.expect("it was open").shared();
        drop(half);
        let third = limiter.open(7, 2);
        assert!(third.is_some() && limiter.open(7, 2).is_none(), "the other half is open");
        drop((other, third));
        assert!(limiter.open.iter().all(|shard| lock(shard).is_empty()));
    }
}

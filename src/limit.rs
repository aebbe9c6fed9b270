//! How much: rates and counts, decided in the process.
//!
//! A rate is kept as a GCRA (generic cell rate algorithm): one number for a key, the time at which it would be full
//! again, so that a limit costs no timer and no history. Keys are plain numbers: what they count is the caller's
//! business. Memory is bounded: a key that is full again says nothing and is swept, and beyond [`MOST_KEYS`] a shard
//! forgets those of which least was taken.
//!
//! Nothing here waits for anybody. Replicas that share their limits tell each other a few times a second what was taken
//! ([`Limiter::due`], [`Limiter::learn`]); who carries it is not this module's business.

mod admit;
mod bucket;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

pub use self::bucket::Bucket;
use self::bucket::{Kept, micros};
use crate::clock::Timestamp;
use crate::document::Rate;

/// Enough shards that two workers rarely contend for one lock.
const SHARDS: usize = 64;
/// A longer answer counts as an open call until its caller has taken it: who asks for it again and again and reads nothing must
/// not fill the memory.
const SHORT: usize = 16 << 10;
/// How many pieces of answers each replica has the store keep for one who calls: 4 MiB in ten minutes. Without a bound,
/// visitors of a vendor that echoes could fill it, and with it everybody's.
const SHARE: Rate = Rate::new(1024, Duration::from_secs(600));
/// Such a piece.
const PIECE: usize = 4 << 10;
/// Keys a shard remembers at most, in 100 MB for all shards. It is half of what a table of 32,768 places takes: more, and the
/// places of keys that were removed would have the table grow.
const MOST_KEYS: usize = 14_336;
/// The part of its keys that a full shard forgets: a sweep visits all of them, and is paid for by so many that come.
const FORGOTTEN: usize = MOST_KEYS / 16;
/// Keys of a shard that are told of at once: a thousand in all, about 5 ms of a Redis. Others wait for the next time.
const MOST_DUE: usize = 16;

/// What a key counts, so that two kinds of limit never share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Mints of a bot by an address.
    MintByAddress,
    /// Mints of a bot by a client.
    MintByClient,
    /// Calls of a session.
    Session,
    /// Calls of a client to the gateway's own API.
    Client,
    /// Wrong credentials from an address.
    Failure,
    /// What the store keeps of answers to a session, or of openings from an address.
    KeptAnswer,
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

impl Kind {
    /// Whether replicas tell each other of it afterwards. Mints are asked for at the store instead, before they are
    /// made; and wrong credentials are each replica's own.
    const fn is_told(self) -> bool {
        matches!(self, Self::Session | Self::Client)
    }
}

/// As replicas call it among themselves.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, scope, subject } = self;
        let kind = match kind {
            Kind::MintByAddress => "mint-by-address",
            Kind::MintByClient => "mint-by-client",
            Kind::Session => "session",
            Kind::Client => "client",
            Kind::Failure => "failure",
            Kind::KeptAnswer => "kept-answer",
        };
        write!(formatter, "{kind}:{scope}:{subject:x}")
    }
}

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Some of the keys.
#[derive(Debug)]
struct Shard {
    keys: Map<Key, Kept>,
    /// Those of which others are to be told, each once. Its room is there from the beginning.
    due: Vec<(Key, Rate)>,
}

impl Shard {
    /// Notes that others are to be told of `key`. Where there is no room, who has more to tell takes another's place: that
    /// one comes back with its next call.
    fn note(&mut self, key: Key, rate: Rate, untold: u32) {
        if self.due.len() < MOST_DUE {
            self.due.push((key, rate));
        } else if let Some(place) = self.due.get_mut(usize::try_from(untold).unwrap_or(0) % MOST_DUE) {
            if let Some(other) = self.keys.get_mut(&place.0) {
                if other.untold >= untold {
                    return;
                }
                other.is_due = false;
            }
            *place = (key, rate);
        }
        if let Some(kept) = self.keys.get_mut(&key) {
            kept.is_due = true;
        }
    }
}

/// What was taken of a key since others were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Of which.
    pub key: Key,
    /// Its rate.
    pub rate: Rate,
    /// How many.
    pub taken: u32,
}

/// All limits' state of the process.
#[derive(Debug)]
pub struct Limiter {
    /// By the bot's number: all calls of a bot meet here, so that it has no lock.
    bots: Vec<Bucket>,
    hasher: ahash::RandomState,
    rates: Vec<Mutex<Shard>>,
    open: Vec<Mutex<Map<u128, u32>>>,
    is_alone: AtomicBool,
    lost: AtomicU64,
}

impl Limiter {
    /// The state of this many bots, and of whatever else is counted.
    pub fn new(bots: usize) -> Self {
        let hasher = ahash::RandomState::new();
        let shard = || Shard { keys: HashMap::with_hasher(hasher.clone()), due: Vec::with_capacity(MOST_DUE) };
        Self {
            rates: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            open: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect(),
            bots: (0..bots).map(|_| Bucket::default()).collect(),
            hasher,
            is_alone: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        }
    }

    /// The bucket of the bot of this number. More bots than there are buckets share some: better too little for one than
    /// no limit.
    pub fn bot(&self, number: u32) -> Option<&Bucket> {
        let place = usize::try_from(number).ok()?.checked_rem(self.bots.len())?;
        self.bots.get(place)
    }

    /// Takes one of `rate` for the bot of this number.
    ///
    /// # Errors
    ///
    /// How long until one is free.
    pub fn take_of_bot(&self, number: u32, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        self.bot(number).map_or(Ok(()), |bucket| bucket.take(rate, now))
    }

    /// Takes one of `rate` for `key`. Answers how long until all are free again.
    ///
    /// # Errors
    ///
    /// How long until one is free.
    pub fn take(&self, key: Key, rate: Rate, now: Timestamp) -> Result<Duration, Duration> {
        self.take_many(key, rate, 1, now)
    }

    /// The same for `many`: all of them, or none.
    ///
    /// # Errors
    ///
    /// How long until so many are free. More than the rate's count never are.
    pub fn take_many(&self, key: Key, rate: Rate, many: u32, now: Timestamp) -> Result<Duration, Duration> {
        let mut shard = self.rates[self.shard(&key)].lock();
        let take = |kept: &mut Kept| kept.take(rate, many, now).map(|full_in| (full_in, kept.is_worth_telling(rate)));
        let (taken, untold) = if let Some(kept) = shard.keys.get_mut(&key) {
            take(kept)?
        } else {
            make_room(&mut shard.keys, now);
            take(shard.keys.entry(key).or_default())?
        };
        if let Some(untold) = untold.filter(|_| key.kind.is_told()) {
            shard.note(key, rate, untold);
        }
        Ok(taken)
    }

    /// Whether the store may keep an answer of this length for `whose`.
    pub fn may_keep(&self, whose: Key, length: usize, now: Timestamp) -> bool {
        let pieces = u32::try_from(length / PIECE + 1).unwrap_or(u32::MAX);
        self.take_many(whose, SHARE, pieces, now).is_ok()
    }

    /// How long until one of `rate` is free for `key`; nothing if one is.
    pub fn wait(&self, key: Key, rate: Rate, now: Timestamp) -> Option<Duration> {
        let shard = self.rates[self.shard(&key)].lock();
        shard.keys.get(&key).and_then(|kept| kept.wait(rate, now))
    }

    /// What others are to be told of, but for bots; it counts as told then. Of a key from which a trifle was taken they
    /// hear later, when more was.
    pub fn due(&self) -> Vec<Due> {
        let mut all = Vec::new();
        for shard in &self.rates {
            let mut guard = shard.lock();
            let Shard { keys, due } = &mut *guard;
            for (key, rate) in due.drain(..) {
                let taken = keys.get_mut(&key).map_or(0, Kept::tell);
                all.extend((taken > 0).then_some(Due { key, rate, taken }));
            }
        }
        all
    }

    /// All replicas together have `key` full again in `full_in`. A key that was forgotten meanwhile stays so.
    pub fn learn(&self, key: Key, rate: Rate, full_in: Duration, now: Timestamp) {
        if let Some(kept) = self.rates[self.shard(&key)].lock().keys.get_mut(&key) {
            // Where the store was asked for each, it knows of all.
            let more = if key.kind.is_told() { kept.untold } else { 0 };
            kept.learn(rate, full_in, more, now);
        }
    }

    /// Notes whether others could be told: if not, of `lost` calls they never hear.
    pub fn told(&self, could_be: bool, lost: u64) {
        self.is_alone.store(!could_be, Ordering::Relaxed);
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// Whether the limits that replicas share are this one's own for now, because the store is away.
    pub fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Relaxed)
    }

    /// Calls since the start of which other replicas never heard, because the store was away.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Counts one more open call of `session`, unless `most` are open. It is counted down when the guard is dropped.
    pub fn open(self: &Arc<Self>, session: u128, most: u32) -> Option<OpenCall> {
        let mut shard = self.open[self.shard(&session)].lock();
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

/// Before a new key: sweeps what is full again, when the map would otherwise have to grow, or is as large as it may be. Where
/// that frees nothing, the keys go that would be full again first: who sends many wrong credentials from many addresses
/// makes the gateway forget those, and not the ones that are shut out.
fn make_room(keys: &mut Map<Key, Kept>, now: Timestamp) {
    if keys.len() < keys.capacity().min(MOST_KEYS) {
        return;
    }
    let now = micros(now);
    keys.retain(|_, kept| kept.full_at > now);
    if keys.len() >= MOST_KEYS {
        let mut full_at: Vec<u64> = keys.values().map(|kept| kept.full_at).collect();
        let (_, last, _) = full_at.select_nth_unstable(FORGOTTEN);
        let (last, mut left) = (*last, FORGOTTEN);
        keys.retain(|_, kept| {
            let goes = kept.full_at <= last && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
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

    /// An answer that is read already: it counts as an open call until its caller has taken it. A short one does not.
    pub fn until_taken(self, bytes: Bytes) -> Bytes {
        if bytes.len() <= SHORT { bytes } else { Bytes::from_owner(Untaken { bytes, _open: self }) }
    }
}

/// An answer, and that its caller has not taken it yet.
struct Untaken {
    bytes: Bytes,
    _open: OpenCall,
}

impl AsRef<[u8]> for Untaken {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if self.other.take().is_some_and(|common| Arc::into_inner(common).is_none()) {
            return;
        }
        let mut shard = self.limiter.open[self.limiter.shard(&self.session)].lock();
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
        let remembered: usize = limiter.rates.iter().map(|shard| shard.lock().keys.len()).sum();
        assert!(remembered < 5_000, "{remembered} of 100000 keys are remembered");
    }

    #[test]
    fn a_shard_has_a_bound_whoever_comes_and_forgets_first_of_whom_least_was_taken() {
        let (mut keys, now) = (Map::default(), Timestamp::from_seconds(1_000));
        let mut take = |subject, many| {
            make_room(&mut keys, now);
            let taken = keys.entry(key(subject)).or_default().take(RATE, many, now);
            assert!(taken.is_ok());
            (keys.len(), keys.capacity())
        };
        take(0, 3);
        let most = (1..100_000).map(|subject| take(subject, 1)).max();
        assert!(most.is_some_and(|(keys, room)| keys <= MOST_KEYS && room <= 2 * MOST_KEYS), "{most:?}");
        assert!(keys[&key(0)].wait(RATE, now).is_some(), "one that had all of its rate is forgotten");
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
        assert!(limiter.open.iter().all(|shard| shard.lock().is_empty()));
    }
    #[test]
    fn a_key_of_which_more_than_a_trifle_was_taken_is_told_once() {
        let (limiter, rate) = (Limiter::new(1), Rate::new(32, Duration::from_secs(32)));
        let now = Timestamp::from_seconds(1_000);
        let take = |subject| limiter.take(key(subject), rate, now).is_ok();
        assert!(take(1) && limiter.due().is_empty(), "one of 32 is a trifle");
        assert!(take(1) && take(1) && take(2));
        assert_eq!(limiter.due(), [Due { key: key(1), rate, taken: 3 }]);
        assert!(limiter.due().is_empty());
        assert!(take(2) && (0..9).all(|_| limiter.take(Key::new(Kind::Failure, 0, 3), rate, now).is_ok()));
        assert_eq!(limiter.due(), [Due { key: key(2), rate, taken: 2 }]);
    }

    #[test]
    fn what_all_replicas_took_counts_here_and_what_was_taken_meanwhile_is_added() {
        let limiter = Limiter::new(1);
        let start = Timestamp::from_seconds(1_000);
        assert!(limiter.take(key(1), RATE, start).is_ok());
        assert_eq!(limiter.due().len(), 1);
        // Others took one as well, and one more was taken here before that was known.
        assert!(limiter.take(key(1), RATE, start).is_ok());
        limiter.learn(key(1), RATE, Duration::from_secs(40), start);
        assert_eq!(limiter.wait(key(1), RATE, start), Some(Duration::from_secs(20)));
        limiter.learn(key(1), RATE, Duration::from_secs(1), start);
        assert_eq!(limiter.wait(key(1), RATE, start), Some(Duration::from_secs(20)), "nothing is given back");

        let mint = Key::new(Kind::MintByClient, 0, 1);
        assert!(limiter.take(mint, RATE, start).is_ok() && limiter.take(mint, RATE, start).is_ok());
        limiter.learn(mint, RATE, Duration::from_secs(60), start);
        assert_eq!(limiter.wait(mint, RATE, start), Some(Duration::from_secs(20)), "the store knew of both");

        let bucket = limiter.bot(0).expect("there is one");
        assert!(bucket.take(RATE, start).is_ok() && bucket.untold() == 1 && bucket.untold() == 0);
        bucket.learn(RATE, Duration::from_secs(120), start);
        assert_eq!(bucket.take(RATE, start), Err(Duration::from_secs(80)), "a debt is waited for");
    }

    #[test]
    fn however_many_keys_are_due_a_round_has_a_bound_and_the_others_come_next() {
        let (limiter, now) = (Limiter::new(1), Timestamp::from_seconds(1_000));
        let take_all = || (0..10_000).for_each(|subject| assert!(limiter.take(key(subject), RATE, now).is_ok()));
        take_all();
        let first = limiter.due();
        assert_eq!(first.len(), SHARDS * MOST_DUE);
        take_all();
        let second = limiter.due();
        assert!(second.iter().any(|due| due.taken == 2 && !first.iter().any(|told| told.key == due.key)));
    }
}

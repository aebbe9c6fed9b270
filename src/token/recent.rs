//! The tokens that a worker saw last, in front of the cache that all share: they cost no digest, and no look at what other
//! workers write.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::session::Verified;

/// How many a worker keeps, each in the one place that it can have: with the usual 1 KiB, 4 MB.
const PLACES: usize = 4096;
/// So many bytes of a token's end choose its place. They are of the signature: nobody without the token can aim at its place,
/// or learn anything by how long a comparison takes.
const END: usize = 32;

/// Of those that find their place taken, one in so many takes it: where there are more than a worker can keep, most of them
/// are not worth the copy.
const TURNS: u32 = 32;

/// One token.
struct Seen {
    /// When it was verified, as its cache counts.
    age: u64,
    /// Of its end: that of another token mostly differs, whose text then need not be fetched.
    hash: u64,
    token: Vec<u8>,
    verified: Arc<Verified>,
}

thread_local! {
    static SEEN: RefCell<Vec<Option<Seen>>> = const { RefCell::new(Vec::new()) };
    static TURN: Cell<u32> = const { Cell::new(0) };
}

/// What is good of them.
pub(super) struct Recent {
    /// Those of an earlier age are not. No two caches of a process have the same.
    age: AtomicU64,
    hasher: ahash::RandomState,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self { age: AtomicU64::new(next_age()), hasher: ahash::RandomState::new() }
    }

    /// The present age. What is verified with what was read later than this may be kept under it.
    pub(super) fn age(&self) -> u64 {
        self.age.load(Ordering::Acquire)
    }

    /// Makes all that were kept so far good for nothing, in all workers.
    pub(super) fn forget_all(&self) {
        self.age.store(next_age(), Ordering::Release);
    }

    pub(super) fn find(&self, token: &str) -> Option<Arc<Verified>> {
        SEEN.with_borrow(|seen| {
            let hash = self.hash(token)?;
            let kept = seen.get(place(hash))?.as_ref()?;
            let is_same = kept.hash == hash && kept.age == self.age() && kept.token == token.as_bytes();
            is_same.then(|| Arc::clone(&kept.verified))
        })
    }

    pub(super) fn keep(&self, age: u64, token: &str, verified: &Arc<Verified>) {
        let Some(hash) = self.hash(token) else { return };
        SEEN.with_borrow_mut(|seen| {
            if seen.is_empty() {
                seen.resize_with(PLACES, || None);
            }
            let verified = Arc::clone(verified);
            match &mut seen[place(hash)] {
                Some(kept) if kept.age == age && !is_its_turn() => {}
                Some(kept) => {
                    (kept.age, kept.hash, kept.verified) = (age, hash, verified);
                    kept.token.clear();
                    kept.token.extend_from_slice(token.as_bytes());
                }
                free => *free = Some(Seen { age, hash, token: token.as_bytes().to_vec(), verified }),
            }
        });
    }

    /// Of what says where a token is kept; nothing, if it is too short to be one.
    fn hash(&self, token: &str) -> Option<u64> {
        token.as_bytes().last_chunk::<END>().map(|end| self.hasher.hash_one(end))
    }
}

fn place(hash: u64) -> usize {
    usize::try_from(hash % PLACES as u64).unwrap_or_default()
}

fn is_its_turn() -> bool {
    let turn = TURN.get().wrapping_add(1) % TURNS;
    TURN.set(turn);
    turn == 0
}

fn next_age() -> u64 {
    static AGES: AtomicU64 = AtomicU64::new(0);
    AGES.fetch_add(1, Ordering::Relaxed)
}

//! A worker's own index into the cache that all workers share: weak references, so that a hit touches no memory that other
//! workers write. What the shared cache evicts is dead here too; the place of it (half a KiB, without its texts) is freed as
//! others come.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use indexmap::IndexMap;

use super::session::Verified;

/// SHA-256 of a token: an entry is found only by who has the token, and no cache of them has one that could leak.
pub(super) type Digest = [u8; 32];

/// How many a worker knows, in 8 MB; then a new one takes another's place.
const MOST: usize = 100_000;
/// One find in so many is left to the shared cache, which would take for unused what only others are asked for. It costs
/// 2.7 µs, four times what a find here does.
const TURNS: u32 = 32;
/// How many are looked at for dead ones when one comes: two, so that those are removed faster than they pile up.
const LOOKS: usize = 2;

struct Near<T> {
    /// With when each was verified, as its cache counts.
    known: IndexMap<Digest, (u64, Weak<T>), ahash::RandomState>,
    /// The next to be looked at.
    next: usize,
    turn: u32,
}

thread_local! {
    static NEAR: RefCell<Near<Verified>> = RefCell::default();
}

/// What was verified under this digest at this age, if that is known here and not the shared cache's turn.
pub(super) fn find(age: u64, digest: &Digest) -> Option<Arc<Verified>> {
    NEAR.with_borrow_mut(|near| near.find(age, digest))
}

/// Notes where it is.
pub(super) fn keep(age: u64, digest: Digest, verified: &Arc<Verified>) {
    NEAR.with_borrow_mut(|near| near.keep(MOST, age, digest, verified));
}

impl<T> Default for Near<T> {
    fn default() -> Self {
        Self { known: IndexMap::default(), next: 0, turn: 0 }
    }
}

impl<T> Near<T> {
    fn find(&mut self, age: u64, digest: &Digest) -> Option<Arc<T>> {
        self.turn = (self.turn + 1) % TURNS;
        let (kept, entry) = self.known.get(digest).filter(|_| self.turn != 0)?;
        entry.upgrade().filter(|_| *kept == age)
    }

    fn keep(&mut self, most: usize, age: u64, digest: Digest, entry: &Arc<T>) {
        for _ in 0..LOOKS {
            match self.known.get_index(self.next) {
                Some((_, (kept, entry))) if *kept != age || entry.strong_count() == 0 => self.let_go(),
                Some(_) => self.next += 1,
                None => self.next = 0,
            }
        }
        if self.known.len() >= most && !self.known.contains_key(&digest) {
            self.let_go();
        }
        self.known.insert(digest, (age, Arc::downgrade(entry)));
    }

    /// Gives up the one that is next, whose place the last one takes.
    fn let_go(&mut self) {
        if self.known.swap_remove_index(self.next).is_none() {
            self.known.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u64) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        digest
    }

    fn has(near: &mut Near<u64>, age: u64, number: u64) -> bool {
        // Twice, as one find may be the shared cache's.
        (0..2).any(|_| near.find(age, &digest(number)).is_some_and(|entry| *entry == number))
    }

    #[test]
    fn what_is_kept_is_found_at_its_age_alone() {
        let (mut near, entry) = (Near::default(), Arc::new(1));
        near.keep(MOST, 7, digest(1), &entry);
        assert!(has(&mut near, 7, 1) && !has(&mut near, 8, 1) && !has(&mut near, 7, 2));
        drop(entry);
        assert!(!has(&mut near, 7, 1), "it is kept where the shared cache has let it go");
    }

    #[test]
    fn one_find_in_so_many_is_the_shared_caches() {
        let (mut near, entry) = (Near::default(), Arc::new(1));
        near.keep(MOST, 0, digest(1), &entry);
        let finds = (0..10 * TURNS).filter(|_| near.find(0, &digest(1)).is_some()).count();
        assert_eq!(u32::try_from(finds).unwrap(), 10 * (TURNS - 1));
    }

    #[test]
    fn what_the_shared_cache_let_go_goes_as_others_come() {
        let mut near = Near::default();
        for number in 0..1_000 {
            near.keep(MOST, 0, digest(number), &Arc::new(number));
            assert!(near.known.len() <= 2, "{} that are gone", near.known.len());
        }
        let good: Vec<_> = (0..1_000).map(Arc::new).collect();
        for entry in &good {
            near.keep(MOST, 0, digest(**entry), entry);
        }
        for number in 1_000..3_000 {
            near.keep(MOST, 0, digest(number), &Arc::new(number));
        }
        assert!((1_000..2_001).contains(&near.known.len()), "{}", near.known.len());
        assert!((0..1_000).all(|number| has(&mut near, 0, number)), "one that is not gone has gone");
    }

    #[test]
    fn those_of_an_earlier_age_go_as_others_come() {
        let (mut near, entries) = (Near::default(), (0..100).map(Arc::new).collect::<Vec<_>>());
        for age in [0, 1] {
            for entry in &entries {
                near.keep(MOST, age, digest(**entry + age * 1_000), entry);
            }
        }
        assert!(near.known.len() <= 110 && entries.iter().all(|entry| near.find(0, &digest(**entry)).is_none()));
    }

    #[test]
    fn a_worker_knows_no_more_than_it_may() {
        let (mut near, entries) = (Near::default(), (0..1_000).map(Arc::new).collect::<Vec<_>>());
        for entry in &entries {
            near.keep(100, 0, digest(**entry), entry);
            assert!(near.known.len() <= 100 && has(&mut near, 0, **entry));
        }
        near.keep(100, 0, digest(999), &entries[999]);
        assert_eq!(near.known.len(), 100, "one that was known took another's place");
    }
}

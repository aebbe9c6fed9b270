//! Tokens that were verified not long ago: those that this worker saw last under their text, all under its digest, which
//! this worker asks itself before it asks the cache that all share.
//!
//! It saves the signature check and the opening of the binding, which are most of what a call costs. It holds evidence,
//! never a permission, so nothing in it can be out of date but the clock: whoever takes an entry checks its times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;

use super::near::Digest;
use super::recent::Recent;
use super::session::Verified;
use super::{LEEWAY, near};
use crate::clock::Clock;
use crate::secret::sha256;

/// About 100 MB with tokens of the usual 1 KiB, four times that with the longest; beyond it the least used go.
const CAPACITY: u64 = 100_000;

/// What was verified, and when, as [`Recent`] counts: what is of an earlier age is good for nothing.
type Aged = (u64, Arc<Verified>);

pub(super) struct Cache {
    recent: Recent,
    all: moka::sync::Cache<Digest, Aged, ahash::RandomState>,
}

impl Cache {
    pub(super) fn new(clock: Clock) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity(CAPACITY).expire_after(AtTheEnd(clock));
        Self { recent: Recent::new(), all: builder.build_with_hasher(ahash::RandomState::new()) }
    }

    /// What is known of `token`; else what `check` says, which is kept as of the age before: if all were forgotten
    /// meanwhile, it may have been checked with what is not good any more.
    pub(super) fn find_or<E>(
        &self,
        token: &str,
        check: impl FnOnce() -> Result<Arc<Verified>, E>,
    ) -> Result<Arc<Verified>, E> {
        if let Some(verified) = self.recent.find(token) {
            return Ok(verified);
        }
        let age = self.recent.age();
        let digest = sha256(token.as_bytes());
        if let Some(verified) = near::find(age, &digest) {
            self.recent.keep(age, token, &verified);
            return Ok(verified);
        }
        let verified = match self.all.get(&digest).filter(|(kept, _)| *kept == age) {
            Some((_, verified)) => verified,
            None => {
                let verified = check()?;
                self.all.insert(digest, (age, Arc::clone(&verified)));
                verified
            }
        };
        near::keep(age, digest, &verified);
        self.recent.keep(age, token, &verified);
        Ok(verified)
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.recent.forget_all();
        // For the memory's sake.
        self.all.invalidate_all();
    }
}

/// Entries go when their token cannot be good any more. moka counts by its own clock, so this frees memory and decides
/// nothing.
struct AtTheEnd(Clock);

impl Expiry<Digest, Aged> for AtTheEnd {
    fn expire_after_create(&self, _: &Digest, (_, verified): &Aged, _: Instant) -> Option<Duration> {
        Some(verified.session.expires.plus(LEEWAY).since(self.0.now()))
    }
}

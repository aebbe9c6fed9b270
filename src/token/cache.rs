//! Tokens that were verified not long ago, under the digest of their text.
//!
//! It saves the signature check and the opening of the binding, which are most of what a call costs. It holds evidence,
//! never a permission, so nothing in it can be out of date but the clock: whoever takes an entry checks its times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;

use super::LEEWAY;
use super::session::Verified;
use crate::clock::Clock;

/// About 100 MB with tokens of the usual 1 KiB, four times that with the longest; beyond it the least used go.
const CAPACITY: u64 = 100_000;

/// SHA-256: an entry is found only by who has the token, and the cache itself has no token that could leak.
type Digest = [u8; 32];

pub(super) struct Cache(moka::sync::Cache<Digest, Arc<Verified>, ahash::RandomState>);

impl Cache {
    pub(super) fn new(clock: Clock) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity(CAPACITY).expire_after(AtTheEnd(clock));
        Self(builder.build_with_hasher(ahash::RandomState::new()))
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Verified>> {
        self.0.get(digest)
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.0.invalidate_all();
    }

    /// Forgets one.
    pub(super) fn forget(&self, digest: &Digest) {
        self.0.invalidate(digest);
    }

    pub(super) fn keep(&self, digest: Digest, verified: Arc<Verified>) {
        self.0.insert(digest, verified);
    }
}

/// Entries go when their token cannot be good any more. moka counts by its own clock, so this frees memory and decides
/// nothing.
struct AtTheEnd(Clock);

impl Expiry<Digest, Arc<Verified>> for AtTheEnd {
    fn expire_after_create(&self, _: &Digest, verified: &Arc<Verified>, _: Instant) -> Option<Duration> {
        Some(verified.session.expires.plus(LEEWAY).since(self.0.now()))
    }
}

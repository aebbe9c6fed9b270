//! A vendor's keys.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::secret::Secret;

/// One key, and the fingerprint by which a session's binding names it.
#[derive(Debug)]
pub struct VendorKey {
    /// The key itself.
    pub secret: Secret,
    /// Its keyed fingerprint: says nothing about the key, and stays the same when keys are added or removed.
    pub fingerprint: String,
}

/// All keys of one vendor; at least one.
#[derive(Debug)]
pub struct VendorKeys {
    keys: Vec<VendorKey>,
    next: AtomicUsize,
}

impl VendorKeys {
    /// These keys.
    pub fn new(keys: Vec<VendorKey>) -> Self {
        Self { keys, next: AtomicUsize::new(0) }
    }

    /// The key for the next opening: sessions are spread over the keys.
    pub fn next(&self) -> Option<&VendorKey> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        self.keys.get(at.checked_rem(self.keys.len())?)
    }

    /// The place of the key that a session was opened with, if the configuration still has it. A place is good for
    /// the life of these keys only; outside of a call the fingerprint names the key.
    pub fn place_of(&self, fingerprint: &str) -> Option<usize> {
        self.keys.iter().position(|key| key.fingerprint == fingerprint)
    }

    /// The key at this place.
    pub fn at(&self, place: usize) -> Option<&Secret> {
        self.keys.get(place).map(|key| &key.secret)
    }

    /// The secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.keys.iter().map(|key| &key.secret)
    }
}

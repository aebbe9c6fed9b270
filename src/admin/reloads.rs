//! Whether the configuration was taken when it was read last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What became of the last reload, for whoever is asked. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reloads {
    is_refused: Arc<AtomicBool>,
}

impl Reloads {
    /// Notes whether one was taken.
    pub(crate) fn note(&self, is_taken: bool) {
        self.is_refused.store(!is_taken, Ordering::Relaxed);
    }

    /// Whether the last one was refused, so that what was in force before still is.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }
}

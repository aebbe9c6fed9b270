//! Sessions whose visitor became known after their opening: what was minted for nobody ends then.
//!
//! Who had a token of the session before must not share it with whoever it belongs to now (session fixation). It is
//! known in this process only, for as long as such a token could live.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use moka::sync::Cache;

use crate::token::{ContactSource, LEEWAY, LONGEST_TTL, Session};

/// More are not remembered: each is a call of an owner.
const MOST: u64 = 1_000_000;

/// The sessions that became known.
pub struct Recognised {
    /// Whether there are any: most gateways have none, and no call pays for that.
    any: AtomicBool,
    sessions: Cache<String, ()>,
}

impl Default for Recognised {
    fn default() -> Self {
        let sessions = Cache::builder().max_capacity(MOST).time_to_live(LONGEST_TTL + LEEWAY).build();
        Self { any: AtomicBool::new(false), sessions }
    }
}

impl fmt::Debug for Recognised {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recognised").field("count", &self.sessions.entry_count()).finish()
    }
}

impl Recognised {
    /// Ends all tokens of session `id` that were minted before its visitor was known.
    pub fn note(&self, id: &str) {
        self.sessions.insert(id.to_owned(), ());
        self.any.store(true, Ordering::Release);
    }

    /// Whether a token that says this is from before.
    pub fn has_replaced(&self, session: &Session) -> bool {
        let is_known = matches!(session.source, Some(ContactSource::Asserted | ContactSource::Verified));
        !is_known && self.any.load(Ordering::Acquire) && self.sessions.contains_key(session.id.as_str())
    }
}

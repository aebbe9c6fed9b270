//! Sessions whose visitor became known after their opening: what was minted for nobody ends then.
//!
//! Who had a token of the session before must not share it with whoever it belongs to now (session fixation). It is
//! known in this process only, for as long as such a token could live.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use moka::sync::Cache;

use crate::limit::digest_key;
use crate::token::{Contact, ContactSource, LEEWAY, LONGEST_TTL, Session};

/// More are not remembered: each is a call of an owner.
const MOST: u64 = 1_000_000;

/// The sessions that became known.
pub struct Recognised {
    /// Whether there are any: most gateways have none, and no call pays for that.
    any: AtomicBool,
    sessions: Cache<String, Known>,
}

/// What is remembered of one of them.
#[derive(Clone, Copy)]
struct Known {
    /// The digest of who it is: enough to tell somebody else.
    contact: u128,
    /// Whether its tokens from before have ended.
    ends_earlier: bool,
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
    /// Notes that the visitor of session `id` is `contact`, and unless `keeps` ends all its tokens that were minted before
    /// that was known. Answers whether it is so: of two who are named at once, one is.
    #[must_use]
    pub fn note(&self, id: &str, contact: &Contact, keeps: bool) -> bool {
        let contact = digest(contact);
        let entry =
            self.sessions.entry_by_ref(id).and_upsert_with(|present| match present.map(|entry| *entry.value()) {
                Some(known) if known.contact != contact => known,
                known => {
                    let has_ended = known.is_some_and(|known| known.ends_earlier);
                    Known { contact, ends_earlier: has_ended || !keeps }
                }
            });
        self.any.store(true, Ordering::Release);
        entry.value().contact == contact
    }

    /// Whether the visitor of session `id` became known as `contact`; nothing, if it did not become known here.
    pub fn is(&self, id: &str, contact: &Contact) -> Option<bool> {
        self.of(id).map(|known| known.contact == digest(contact))
    }

    /// Whether the visitor of session `id` became known.
    pub fn has(&self, id: &str) -> bool {
        self.of(id).is_some()
    }

    /// Whether a token that says this is from before.
    pub fn has_replaced(&self, session: &Session) -> bool {
        let is_known = matches!(session.source, Some(ContactSource::Asserted | ContactSource::Verified));
        !is_known && self.of(&session.id).is_some_and(|known| known.ends_earlier)
    }

    fn of(&self, id: &str) -> Option<Known> {
        if self.any.load(Ordering::Acquire) { self.sessions.get(id) } else { None }
    }
}

fn digest(contact: &Contact) -> u128 {
    digest_key(contact.to_json().unwrap_or_default().to_string().as_bytes())
}

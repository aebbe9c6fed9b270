//! The log of what other replicas must know: revocations and recognitions.

use std::time::Duration;

use super::StoreError;
use crate::clock::Timestamp;

/// An entry stays in the log for so long after the end of the last session that it concerns: tokens are taken for a while
/// longer, by clocks that are behind, and a session that was opened by one that is ahead ends later.
pub const LOG_MARGIN: Duration = Duration::from_secs(60);

/// Most entries that are handed out at once.
pub(super) const MOST_CHANGES: u32 = 1000;

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This session, whenever its tokens were issued.
    Session(String),
    /// All sessions of this contact (its `sub`) opened so far.
    Contact(String),
    /// All sessions of this bot opened so far.
    Bot(String),
}

impl Scope {
    pub(super) const SESSION: &'static str = "session";
    pub(super) const CONTACT: &'static str = "contact";
    pub(super) const BOT: &'static str = "bot";
    /// No scope, but what the log calls a recognition.
    pub(super) const RECOGNISED: &'static str = "recognised";

    /// The kind, as the store writes it, and the name.
    pub(super) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Session(id) => (Self::SESSION, id),
            Self::Contact(subject) => (Self::CONTACT, subject),
            Self::Bot(name) => (Self::BOT, name),
        }
    }
}

/// A revocation that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its number in the log.
    pub number: u64,
    /// T, by the store's clock: sessions opened at T or before are revoked. It is never before the newest session of
    /// that contact or bot in the store, so that a gateway whose clock is ahead opens none that escapes.
    pub at: Timestamp,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Rises from entry to entry and is never given twice.
    pub number: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// From then on it concerns no token, and the entry may be gone.
    pub until: Timestamp,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// This session was ended.
    Ended(String),
    /// This session became a recognised contact's.
    Recognised {
        /// The session.
        id: String,
        /// The contact's digest.
        digest: u128,
        /// The contact's `sub`: tokens from before have another.
        subject: String,
        /// Whether tokens from before end with it.
        ends_earlier: bool,
    },
    /// All sessions of this contact opened at `at` or before were ended.
    Contact(String),
    /// All sessions of this bot opened at `at` or before were ended.
    Bot(String),
}

/// A piece of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// By rising number.
    pub entries: Vec<Change>,
    /// Through which number this answer is complete: what to ask after the next time. Below what was asked after only
    /// if the store was emptied.
    pub last: u64,
    /// Whether there is nothing more now.
    pub is_all: bool,
}

/// That entry `number` means something that nobody here knows.
pub(super) fn unreadable(number: Option<u64>) -> StoreError {
    StoreError::Unreadable(number.map_or_else(|| "an entry".to_owned(), |number| format!("entry {number}")))
}

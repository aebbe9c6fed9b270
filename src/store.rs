//! What outlives a process: sessions, revocations, answers that were given once, shared rates.
//!
//! One trait, [`Backend`], and two of them: SQLite for one host, Redis for a fleet. Reading a token asks neither; a store
//! that is away ([`StoreError::Away`]) stops what is new and nothing else.
//!
//! Invariants, of both:
//!
//! * What was answered is kept: SQLite has it on the disk, Redis as surely as it is configured ([`Backend::weaknesses`]).
//! * An operation that was begun is carried out also if nobody waits for its answer any more. After
//!   [`StoreError::Away`] it may have been carried out or not; to ask again is safe but for [`Backend::begin`], which
//!   then answers [`Begun::InFlight`], and [`Backend::take`] and [`Backend::share`], which take once more.
//! * A session that is revoked is never renewed or recognised: the check and the write are one transaction.
//! * The log of changes is read in the order of its numbers, and no number becomes visible after a higher one.
//!
//! No time in here but by the store's clock: SQLite's is the process's ([`Clock`]), that of a Redis its own.

mod change;
mod error;
mod list;
mod record;
mod redis;
mod settings;
mod sqlite;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Timestamp};
use crate::document::Rate;

pub use self::change::{Change, ChangeKind, Changes, LOG_MARGIN, Revoked, Scope};
pub use self::error::StoreError;
pub use self::list::{Cursor, Filter, Page};
pub use self::record::{Cap, Counted, Known, Record};
pub use self::settings::{Durability, Place, RedisPlace, Settings, Topology};

/// What an operation answers, once it is done.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Opens the store: the file of SQLite is made if it is not there, a Redis is not waited for.
///
/// # Errors
///
/// [`StoreError::Unusable`]: the file cannot be opened, is open to others, or is of a later version.
pub fn open(settings: &Settings, clock: Clock) -> Result<Arc<dyn Backend>, StoreError> {
    Ok(match &settings.place {
        Place::Sqlite(path) => Arc::new(sqlite::Sqlite::open(path, settings.retention, clock)?),
        Place::Redis(place) => Arc::new(redis::Redis::open(place, settings.retention)?),
    })
}

/// A store. An operation begins when it is called, not when its answer is awaited. Any may answer [`StoreError::Away`],
/// within a few seconds.
pub trait Backend: Send + Sync {
    /// Keeps a new session, unless there would be more live ones (not ended, not expired) of its bot than a cap says.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooMany`]; [`StoreError::Ended`] if its contact or bot was revoked at or after its opening.
    fn open(&self, record: Record, caps: Vec<Cap>) -> Answer<'_, ()>;

    /// Whether [`Backend::open`] would keep such a session now: nothing is kept.
    ///
    /// # Errors
    ///
    /// Why it would not.
    fn has_room(&self, record: Record, caps: Vec<Cap>) -> Answer<'_, ()>;

    /// The session of this id.
    fn session(&self, id: &str) -> Answer<'_, Option<Record>>;

    /// At most `most` sessions, the newest first, beginning after `after`.
    fn sessions(&self, filter: Filter, after: Option<Cursor>, most: u32) -> Answer<'_, Page>;

    /// Notes that a token until `expires` was issued.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unknown`], [`StoreError::Ended`].
    fn renew(&self, id: &str, expires: Timestamp) -> Answer<'_, Record>;

    /// Notes who the visitor is, and that a token until `expires` was issued. The same contact once more changes
    /// nothing but that, and that earlier tokens end if they did not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if it is somebody else's already; [`StoreError::Unknown`]; [`StoreError::Ended`], also
    /// where that contact was revoked at or after the session's opening.
    fn recognise(&self, id: &str, known: Known, keeps_earlier: bool, expires: Timestamp) -> Answer<'_, Record>;

    /// Revokes all that is in `scope` so far; tokens in it live until `until` at most. A session that is not known is
    /// revoked too: its tokens may live on.
    fn revoke(&self, scope: Scope, until: Timestamp) -> Answer<'_, Revoked>;

    /// The log after number `after`; 0 is before all. A thousand entries at most.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreadable`]: what it says of revocations is not known here.
    fn changes(&self, after: u64) -> Answer<'_, Changes>;

    /// The number of the newest change, whenever there is one: with Redis of all processes, with SQLite of this one.
    /// A push can be lost with a connection, so the log is to be read from time to time all the same.
    fn subscribe(&self) -> watch::Receiver<u64>;

    /// Begins a call that is to be made once (`Idempotency-Key`), and remembers it for `remembered`. `digest` is of all
    /// that it asks for.
    fn begin(&self, key: [u8; 32], digest: [u8; 32], remembered: Duration) -> Answer<'_, Begun>;

    /// Keeps the answer of a call that was begun with this digest. It is sealed by the caller. Where the call was forgotten
    /// meanwhile, and its key is another's, nothing changes.
    fn finish(&self, key: [u8; 32], digest: [u8; 32], answer: Vec<u8>) -> Answer<'_, ()>;

    /// Forgets a call that was begun with this digest and has no answer: it may be made again.
    fn abandon(&self, key: [u8; 32], digest: [u8; 32]) -> Answer<'_, ()>;

    /// Takes one of a rate that all processes share.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] with SQLite: one process has its own limits.
    fn take(&self, key: &str, rate: Rate) -> Answer<'_, Taken>;

    /// Whether processes share rates through it.
    fn shares_rates(&self) -> bool;

    /// Tells all processes that share rates what this one took of them, whether or not there was so much. Answers, in the
    /// order of `parts`, in how long each is full again. Told twice it counts twice: what was lost is not to be repeated.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] with SQLite.
    fn share(&self, parts: Vec<Part>) -> Answer<'_, Vec<Duration>>;

    /// How this store, as it is configured, could lose what it answered; empty if it could not. For people.
    fn weaknesses(&self) -> Answer<'_, Vec<String>>;

    /// Deletes sessions that ended longer ago than the retention, revocations that concern no token any more, and old
    /// calls.
    fn sweep(&self) -> Answer<'_, ()>;
}

/// Whether a call that is to be made once is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is new: make it, then finish or abandon it.
    New,
    /// It is being made.
    InFlight,
    /// The key was used for another request.
    Other,
    /// It was made, and this was the answer.
    Answered(Vec<u8>),
}

/// What a process took of a rate that all share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Of which: all processes call it the same.
    pub key: String,
    /// The rate.
    pub rate: Rate,
    /// How many.
    pub taken: u32,
}

/// Whether one of a rate was free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was, and is taken; in this time all are free again.
    Yes(Duration),
    /// None was; in this time one is.
    Wait(Duration),
}

//! The store in a file of this host.
//!
//! Two threads have a connection each and nothing in common but the file: one writes, one reads. Workers hand them their
//! work and await; no lock is held across. The writer takes all that waits, does it in one transaction, and answers when
//! the transaction is on the disk, so that many mints cost one fsync (see `writer`).
//!
//! The tables can be read with the `sqlite3` tool: plain columns, times in milliseconds since 1970. What is given to the
//! tool while the gateway runs is seen by it, but pushed to nobody.

mod answers;
mod changes;
mod file;
mod reader;
mod schema;
mod sessions;
mod sweep;
mod writer;

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use self::reader::Reader;
use self::writer::Writer;
use super::{
    Answer, Backend, Begun, Cap, Changes, Cursor, Filter, Known, Page, Part, Record, Revoked, Scope, StoreError, Taken,
};
use crate::clock::{Clock, Timestamp};
use crate::document::Rate;

/// A file that has not answered by then is away: its disk hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The store in a file.
pub(super) struct Sqlite {
    writer: Writer,
    reader: Reader,
    last: watch::Receiver<u64>,
    retention: Duration,
    clock: Clock,
}

/// What a thread answers, in time. What it was asked to do is done all the same, if it comes to that.
async fn in_time<T>(answered: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(PATIENCE, answered).await {
        Ok(answer) => answer.unwrap_or_else(|_gone| Err(StoreError::away("its thread has ended"))),
        Err(_elapsed) => Err(StoreError::away("its file does not answer in time")),
    }
}

fn not_started(error: io::Error) -> StoreError {
    StoreError::unusable(format_args!("its thread does not start: {error}"))
}

impl Sqlite {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path, retention: Duration, clock: Clock) -> Result<Self, StoreError> {
        let mut connection = file::open(path)?;
        schema::migrate(&mut connection, path)?;
        let number = changes::last(&connection)?;
        let (tell, last) = watch::channel(number);
        let reader = Reader::start(file::open(path)?)?;
        Ok(Self { writer: Writer::start(connection, tell)?, reader, last, retention, clock })
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, Timestamp) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let clock = self.clock.clone();
        self.writer.run(move |connection| work(connection, clock.now()))
    }
}

impl Backend for Sqlite {
    fn open(&self, record: Record, caps: Vec<Cap>) -> Answer<'_, ()> {
        self.write(move |connection, now| sessions::open(connection, &record, &caps, now))
    }

    fn has_room(&self, record: Record, caps: Vec<Cap>) -> Answer<'_, ()> {
        let clock = self.clock.clone();
        self.reader.run(move |connection| sessions::has_room(connection, &record, &caps, clock.now()))
    }

    fn session(&self, id: &str) -> Answer<'_, Option<Record>> {
        let id = id.to_owned();
        self.reader.run(move |connection| sessions::find(connection, &id))
    }

    fn sessions(&self, filter: Filter, after: Option<Cursor>, most: u32) -> Answer<'_, Page> {
        self.reader.run(move |connection| sessions::list(connection, &filter, after.as_ref(), most))
    }

    fn renew(&self, id: &str, expires: Timestamp) -> Answer<'_, Record> {
        let id = id.to_owned();
        self.write(move |connection, now| sessions::renew(connection, &id, expires, now))
    }

    fn recognise(&self, id: &str, known: Known, keeps_earlier: bool, expires: Timestamp) -> Answer<'_, Record> {
        let id = id.to_owned();
        self.write(move |connection, now| sessions::recognise(connection, &id, &known, keeps_earlier, expires, now))
    }

    fn revoke(&self, scope: Scope, until: Timestamp) -> Answer<'_, Revoked> {
        self.write(move |connection, now| changes::revoke(connection, &scope, until, now))
    }

    fn changes(&self, after: u64) -> Answer<'_, Changes> {
        self.reader.run(move |connection| changes::read(connection, after))
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.clone()
    }

    fn begin(&self, key: [u8; 32], digest: [u8; 32], remembered: Duration) -> Answer<'_, Begun> {
        self.write(move |connection, now| answers::begin(connection, &key, &digest, now, remembered))
    }

    fn finish(&self, key: [u8; 32], digest: [u8; 32], answer: Vec<u8>) -> Answer<'_, ()> {
        self.write(move |connection, _| answers::finish(connection, &key, &digest, &answer))
    }

    fn abandon(&self, key: [u8; 32], digest: [u8; 32]) -> Answer<'_, ()> {
        self.write(move |connection, _| answers::abandon(connection, &key, &digest))
    }

    fn take(&self, _key: &str, _rate: Rate) -> Answer<'_, Taken> {
        Box::pin(std::future::ready(Err(StoreError::Unsupported)))
    }

    fn shares_rates(&self) -> bool {
        false
    }

    fn share(&self, _parts: Vec<Part>) -> Answer<'_, Vec<Duration>> {
        Box::pin(std::future::ready(Err(StoreError::Unsupported)))
    }

    fn weaknesses(&self) -> Answer<'_, Vec<String>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn sweep(&self) -> Answer<'_, ()> {
        let retention = self.retention;
        self.write(move |connection, now| sweep::sweep(connection, now, retention))
    }
}

/// A failure of SQLite itself. Its messages name tables and files, never values.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::away(format_args!("SQLite: {error}"))
    }
}

/// A time as the tables have it.
fn millis(moment: Timestamp) -> i64 {
    i64::try_from(moment.millis()).unwrap_or(i64::MAX)
}

/// A time of the tables.
fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

//! The store in a Redis (6 or later) or Valkey, for gateways that are several.
//!
//! What must be atomic is a Lua script (`scripts/*.lua`), and each operation is one of them: one round trip. All keys
//! begin with `{keystile}:`, a hash tag, so that in a cluster they lie in one slot and a script may touch them all.
//!
//! | key | what | TTL |
//! |---|---|---|
//! | `session:ID` | hash: the record | its end, the retention, and a day |
//! | `sessions`, `bot:NAME`, `contact:SUB` | sorted by opening: ids | none; as the longest session in it |
//! | `live:contact:BOT:SUB`, `live:address:BOT:ADDRESS` | sorted by expiry: what caps count | the last expiry |
//! | `gone` | sorted by when a session is to be forgotten | none |
//! | `number`, `log`, `log-until`, `revocations` | the last number; changes by number, by end; what is revoked | none |
//! | `answer:KEY`, `rate:KEY` | calls made once; shared rates | as long as it matters |
//!
//! So a revocation has no TTL, and none of Redis's policies on memory that evict by TTL takes one: it is deleted by
//! [`Backend::sweep`] after its `until`, and by nothing else. It survives a restart as surely as Redis writes to its disk,
//! which [`Backend::weaknesses`] looks at. A number of the log is never given twice, also where Redis comes back without
//! its last second: so a replica that read further than that sees all that is new.
//!
//! The connections live on a thread of their own with a runtime of its own, whichever worker asks.

mod connection;
mod link;
mod listen;
mod rows;
mod scripts;
mod thread;
mod weaknesses;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::link::Link;
use self::rows::Reply;
use self::scripts::{Arguments, Scripts};
use self::thread::Thread;
use super::change::{LOG_MARGIN, MOST_CHANGES};
use super::{
    Answer, Backend, Begun, Cap, Changes, Cursor, Filter, Known, Page, Part, Record, RedisPlace, Revoked, Scope,
    StoreError, Taken,
};
use crate::clock::Timestamp;
use crate::document::Rate;
use crate::id::hex;

/// An operation takes no longer, with all its attempts.
const LONGEST: Duration = Duration::from_secs(2);
/// Sessions that a sweep deletes before others may have their turn.
const MOST_SWEPT: u32 = 500;

/// The store in a Redis.
pub(super) struct Redis {
    link: Arc<Link>,
    thread: Thread,
    last: watch::Receiver<u64>,
    retention: Duration,
}

/// What may be done again after a lost answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// A second time changes nothing.
    Yes,
    /// It would.
    No,
}

impl Redis {
    /// Begins to connect; a Redis that is away is found out by what is asked of it.
    pub(super) fn open(place: &RedisPlace, retention: Duration) -> Result<Self, StoreError> {
        let thread = Thread::start()?;
        let link = Arc::new(Link::new(place)?);
        let (tell, last) = watch::channel(0);
        thread.spawn(listen::listen(Arc::clone(&link), tell));
        Ok(Self { link, thread, last, retention })
    }

    fn call<T: Send + 'static>(
        &self,
        script: impl FnOnce(&Scripts) -> &::redis::Script,
        arguments: Arguments,
        again: Again,
        read: impl FnOnce(Reply) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let link = Arc::clone(&self.link);
        let script = script(link.scripts()).clone();
        self.bounded(async move { read(link.invoke(&script, &arguments, again == Again::Yes).await?) })
    }

    /// Does it on the store's own thread, whether or not the answer is waited for.
    fn bounded<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Answer<'static, T> {
        let task = self.thread.spawn(async move {
            let too_long = |_elapsed| Err(StoreError::away("it does not answer in time"));
            tokio::time::timeout(LONGEST, work).await.unwrap_or_else(too_long)
        });
        Box::pin(async move { task.await.unwrap_or_else(|_gone| Err(StoreError::away("its thread has ended"))) })
    }

    fn retention(&self) -> String {
        self.retention.as_millis().to_string()
    }
}

impl Backend for Redis {
    fn open(&self, record: Record, caps: Vec<Cap>) -> Answer<'_, ()> {
        let arguments = Arguments::new().with(rows::record(&record)).with(rows::caps(&caps)).with(self.retention());
        self.call(|scripts| &scripts.open, arguments, Again::Yes, Reply::done)
    }

    fn has_room(&self, record: Record, caps: Vec<Cap>) -> Answer<'_, ()> {
        let arguments = Arguments::new().with(rows::record(&record)).with(rows::caps(&caps));
        self.call(|scripts| &scripts.open, arguments, Again::Yes, Reply::done)
    }

    fn session(&self, id: &str) -> Answer<'_, Option<Record>> {
        let read = |reply: Reply| Ok(reply.records()?.pop());
        self.call(|scripts| &scripts.session, Arguments::new().with(id), Again::Yes, read)
    }

    fn sessions(&self, filter: Filter, after: Option<Cursor>, most: u32) -> Answer<'_, Page> {
        let arguments = Arguments::new().with(rows::filter(&filter, after.as_ref())).with(most.to_string());
        let read = move |reply: Reply| Ok(Page::cut(reply.records()?, most));
        self.call(|scripts| &scripts.sessions, arguments, Again::Yes, read)
    }

    fn renew(&self, id: &str, expires: Timestamp) -> Answer<'_, Record> {
        let arguments = Arguments::new().with(id).with(rows::millis(expires));
        self.call(|scripts| &scripts.renew, arguments, Again::Yes, Reply::record)
    }

    fn recognise(&self, id: &str, known: Known, keeps_earlier: bool, expires: Timestamp) -> Answer<'_, Record> {
        let arguments = Arguments::new()
            .with(id)
            .with(rows::known(&known))
            .with(if keeps_earlier { "0" } else { "1" })
            .with(rows::millis(expires))
            .with(self.retention())
            .with(LOG_MARGIN.as_millis().to_string());
        self.call(|scripts| &scripts.recognise, arguments, Again::Yes, Reply::record)
    }

    fn revoke(&self, scope: Scope, until: Timestamp) -> Answer<'_, Revoked> {
        let (kind, name) = scope.parts();
        let arguments = Arguments::new().with(kind).with(name).with(rows::millis(until)).with(self.retention());
        self.call(|scripts| &scripts.revoke, arguments, Again::Yes, Reply::revoked)
    }

    fn changes(&self, after: u64) -> Answer<'_, Changes> {
        let arguments = Arguments::new().with(after.to_string()).with(MOST_CHANGES.to_string());
        self.call(|scripts| &scripts.changes, arguments, Again::Yes, Reply::changes)
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.clone()
    }

    fn begin(&self, key: [u8; 32], digest: [u8; 32], remembered: Duration) -> Answer<'_, Begun> {
        let remembered = remembered.as_millis().max(1).to_string();
        let arguments = Arguments::new().with(hex(&key)).with(hex(&digest)).with(remembered);
        self.call(|scripts| &scripts.begin, arguments, Again::No, Reply::begun)
    }

    fn finish(&self, key: [u8; 32], digest: [u8; 32], answer: Vec<u8>) -> Answer<'_, ()> {
        let arguments = Arguments::new().with(hex(&key)).with(hex(&digest)).with(answer);
        self.call(|scripts| &scripts.finish, arguments, Again::Yes, Reply::done)
    }

    fn abandon(&self, key: [u8; 32], digest: [u8; 32]) -> Answer<'_, ()> {
        let arguments = Arguments::new().with(hex(&key)).with(hex(&digest));
        self.call(|scripts| &scripts.finish, arguments, Again::Yes, Reply::done)
    }

    fn take(&self, key: &str, rate: Rate) -> Answer<'_, Taken> {
        let interval = rate.interval_micros().to_string();
        let arguments = Arguments::new().with(key).with(interval).with(rate.count().to_string());
        self.call(|scripts| &scripts.take, arguments, Again::No, Reply::taken)
    }

    fn shares_rates(&self) -> bool {
        true
    }

    fn share(&self, parts: Vec<Part>) -> Answer<'_, Vec<Duration>> {
        let arguments = parts.iter().fold(Arguments::new(), |arguments, part| {
            let (interval, count) = (part.rate.interval_micros().to_string(), part.rate.count().to_string());
            arguments.with(part.key.as_str()).with(interval).with(count).with(part.taken.to_string())
        });
        self.call(|scripts| &scripts.share, arguments, Again::No, Reply::durations)
    }

    fn weaknesses(&self) -> Answer<'_, Vec<String>> {
        let link = Arc::clone(&self.link);
        self.bounded(async move { weaknesses::look(&link).await })
    }

    fn sweep(&self) -> Answer<'_, ()> {
        let link = Arc::clone(&self.link);
        let task = self.thread.spawn(async move {
            let arguments = Arguments::new().with(MOST_SWEPT.to_string());
            while link.invoke(&link.scripts().sweep, &arguments, true).await?.has_more() {}
            Ok(())
        });
        Box::pin(async move { task.await.unwrap_or_else(|_gone| Err(StoreError::away("its thread has ended"))) })
    }
}

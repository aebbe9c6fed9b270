//! What has ended before its time: sessions that were revoked, contacts and bots whose sessions were, tokens from before a
//! visitor became known, and sessions, and owners' calls, of what the configuration does not offer any more.
//!
//! But for the last it is the store's log of changes as this process has read it. A call pays one comparison: each token
//! remembers at which epoch it was judged last, and only after a change it is judged anew. What is open and silent is woken.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;

use crate::bot::{Bot, Client};
use crate::clock::{Clock, Timestamp};
use crate::fault::{Code, Fault};
use crate::id::{digest_number, session_number};
use crate::store::{Backend, Change, ChangeKind};
use crate::token::Verified;

/// Enough shards that two workers rarely contend for one lock.
const SHARDS: usize = 64;

/// Until when a session goes on, if it does.
pub type Renewed = Pin<Box<dyn Future<Output = Option<(Timestamp, Instant)>> + Send>>;

/// Why a token is good no more, though it has not expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The session was ended, or all of its contact or bot.
    Revoked,
    /// The visitor became known, and the token is from before.
    Replaced,
    /// Nobody knows: the store was away since this process began, holds what this version does not understand, or was away
    /// for too long for a bot that is strict.
    Unknown,
    /// The process ends, and has waited.
    Stopping,
    /// The configuration has its bot, or its client, no more.
    Closed,
}

impl Over {
    /// What kind of fault it is.
    pub fn code(self) -> Code {
        match self {
            Self::Revoked => Code::TokenRevoked,
            Self::Replaced => Code::TokenReplaced,
            Self::Unknown => Code::StoreUnavailable,
            Self::Stopping => Code::ShuttingDown,
            Self::Closed => Code::SessionMoved,
        }
    }

    /// The same in words.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Revoked => "the session was ended; open a new one",
            Self::Replaced => "the visitor became known since; use the token that was made then",
            Self::Closed => "the bot is not offered any more, or not to whoever opened the session",
            Self::Stopping => "the gateway is going away; connect again",
            Self::Unknown => "what was revoked is not known yet; try again shortly",
        }
    }
}

impl From<Over> for Fault {
    fn from(over: Over) -> Self {
        Self::new(over.code(), over.detail())
    }
}

/// What is known of one session.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    is_ended: bool,
    /// The digest of the contact that its visitor became known as.
    known: Option<u128>,
    /// The digest of that contact's `sub`, which tokens from before do not have.
    subject: Option<u128>,
    ends_earlier: bool,
    /// From then on none of its tokens is good anyhow.
    until: Timestamp,
}

/// Sessions opened at `at` or before are ended.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Timestamp,
    until: Timestamp,
}

/// Who has something open.
#[derive(Clone, Debug)]
pub(super) enum Holder {
    /// A session, by its token.
    Session(Arc<Verified>),
    /// A client that owns the bot.
    Owner(Arc<Client>),
}

impl Holder {
    /// Whom limits count. A client that calls as an owner counts as one session of each bot: another bot's rate would not
    /// fit what was noted by this one's. One whose secret is in a page counts so for each address.
    pub(super) fn number(&self, bot: &Bot, address: Option<u128>) -> u128 {
        match (self, address) {
            (Self::Session(verified), _) => verified.number,
            (Self::Owner(client), Some(address)) if client.is_browser => {
                digest_number(format!("{} {} {address:x}", client.name, bot.name).as_bytes())
            }
            (Self::Owner(client), _) => digest_number(format!("{} {}", client.name, bot.name).as_bytes()),
        }
    }

    fn session(&self) -> Option<&Verified> {
        match self {
            Self::Session(verified) => Some(verified),
            Self::Owner(_) => None,
        }
    }
}

/// Something open that has to end when its token does.
struct Waiting {
    number: u64,
    holder: Holder,
    is_strict: bool,
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Shard {
    sessions: HashMap<u128, State>,
    waiting: HashMap<u128, Vec<Waiting>>,
}

#[derive(Default)]
struct Marks {
    contacts: HashMap<u128, Mark>,
    bots: HashMap<u128, Mark>,
    /// The bots that there are, each with the clients that may use it; nothing where that was never said.
    offered: Option<HashMap<String, HashSet<String>>>,
}

impl Marks {
    fn offers(&self, bot: &str, client: &str) -> bool {
        self.offered.as_ref().is_none_or(|offered| offered.get(bot).is_some_and(|clients| clients.contains(client)))
    }
}

/// All of it.
pub struct Revoked {
    /// How many changes were taken in, from 1.
    epoch: AtomicU64,
    shards: Vec<Mutex<Shard>>,
    marks: RwLock<Marks>,
    numbers: AtomicU64,
    /// Whether the store's log was read to its end, and is still understood.
    is_read: AtomicBool,
    /// Whether all that is open is to end.
    is_stopping: AtomicBool,
    /// Until when what was read is fresh enough for bots that are strict, in milliseconds since the epoch.
    fresh_until: AtomicU64,
    /// Whether those who are strict were woken since, because it was not.
    is_stale: AtomicBool,
    store: Arc<dyn Backend>,
    clock: Clock,
}

impl Revoked {
    /// Nothing of `store` was read yet.
    pub fn new(store: Arc<dyn Backend>, clock: Clock) -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self {
            epoch: AtomicU64::new(1),
            shards,
            marks: RwLock::default(),
            numbers: AtomicU64::new(0),
            is_read: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            fresh_until: AtomicU64::new(0),
            is_stale: AtomicBool::new(false),
            store,
            clock,
        }
    }
}

impl fmt::Debug for Revoked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Revoked").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Revoked {
    /// Whether a token is still good. For a bot that `is_strict`, nobody knows once what was read is not fresh any more.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn judge(&self, verified: &Verified, is_strict: bool) -> Result<(), Over> {
        if is_strict && !self.is_fresh() {
            return Err(Over::Unknown);
        }
        // Read before the look-up: what changes during it is seen the next time.
        let epoch = self.epoch.load(Ordering::Acquire);
        if verified.judged.is(epoch) {
            return Ok(());
        }
        match self.look_up(verified) {
            Some(over) => Err(over),
            None => {
                verified.judged.set(epoch);
                Ok(())
            }
        }
    }

    /// Whether a client may still call as an owner of `bot`: no store says what becomes of it, but a process that does not
    /// know what was revoked calls no vendor.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn judge_owner(&self, client: &Client, bot: &Bot) -> Result<(), Over> {
        if self.is_stopping.load(Ordering::Acquire) {
            return Err(Over::Stopping);
        }
        if !self.is_read() || (bot.strict_revocation && !self.is_fresh()) {
            return Err(Over::Unknown);
        }
        if self.marks.read().offers(&bot.name, &client.name) { Ok(()) } else { Err(Over::Closed) }
    }

    /// Whether whoever has something open of `bot` may still have it.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(super) fn judge_holder(&self, holder: &Holder, bot: &Bot) -> Result<(), Over> {
        match holder {
            Holder::Session(verified) => self.judge(verified, bot.strict_revocation),
            Holder::Owner(client) => self.judge_owner(client, bot),
        }
    }

    /// Notes that the store's log was read to its end: until then nobody knows what is revoked, and no token is good. For
    /// bots that are strict that is so again after `fresh_until`.
    pub fn mark_read(&self, fresh_until: Timestamp) {
        self.fresh_until.store(fresh_until.millis(), Ordering::Release);
        self.is_stale.store(false, Ordering::Release);
        self.is_read.store(true, Ordering::Release);
    }

    /// Notes that nobody reads the log any more, or understands it: no token is good, however it was judged before, and
    /// what is open ends. Until [`Revoked::mark_read`].
    pub fn mark_lost(&self) {
        if !self.is_read.swap(false, Ordering::AcqRel) {
            return;
        }
        self.epoch.fetch_add(1, Ordering::Release);
        self.wake(|_, _, _| true);
    }

    fn is_fresh(&self) -> bool {
        // Who was woken because it is not must not find by a clock that stands that it is.
        !self.is_stale.load(Ordering::Acquire) && self.clock.now().millis() <= self.fresh_until.load(Ordering::Acquire)
    }

    /// Until when what was read is fresh.
    pub fn fresh_until(&self) -> Timestamp {
        Timestamp::from_millis(self.fresh_until.load(Ordering::Acquire))
    }

    /// Wakes what is open of bots that are strict, once, if what was read is not fresh any more.
    pub fn look_at_freshness(&self) {
        if self.is_fresh() || self.is_stale.swap(true, Ordering::AcqRel) {
            return;
        }
        self.wake(|_, _, waiting| waiting.is_strict);
    }

    /// Whether the store's log was read to its end, and is still understood.
    pub fn is_read(&self) -> bool {
        self.is_read.load(Ordering::Acquire)
    }

    /// From now on these bots are there, for these clients each: what is open of others ends.
    pub fn offer(&self, offered: HashMap<String, HashSet<String>>) {
        self.marks.write().offered = Some(offered);
        self.epoch.fetch_add(1, Ordering::Release);
        self.wake(|_, _, _| true);
    }

    /// Ends all that is open: the process goes.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::Release);
        self.wake(|_, _, _| true);
    }

    fn look_up(&self, verified: &Verified) -> Option<Over> {
        if self.is_stopping.load(Ordering::Acquire) {
            return Some(Over::Stopping);
        }
        if !self.is_read.load(Ordering::Acquire) {
            return Some(Over::Unknown);
        }
        let session = &verified.session;
        let state = self.state(verified.number);
        let is_marked = |mark: &Mark| session.opened <= mark.at;
        let marks = self.marks.read();
        let marked = [
            marks.contacts.get(&name(&session.subject)),
            state.subject.as_ref().and_then(|subject| marks.contacts.get(subject)),
            marks.bots.get(&name(&session.bot)),
        ];
        if state.is_ended || marked.into_iter().flatten().any(is_marked) {
            return Some(Over::Revoked);
        }
        if !marks.offers(&session.bot, &session.client) {
            return Some(Over::Closed);
        }
        (state.ends_earlier && !session.is_vouched()).then_some(Over::Replaced)
    }

    /// Until when the newest token of a session is good, on both clocks, if that is later than `after` and the session has not
    /// ended: what began with `verified` goes on until then.
    pub(super) async fn renewed(
        self: Arc<Self>,
        verified: Arc<Verified>,
        after: Timestamp,
    ) -> Option<(Timestamp, Instant)> {
        let record = self.store.session(&verified.session.id).await;
        let record = record.inspect_err(|error| tracing::debug!(%error, "nobody knows of a renewal")).ok()??;
        let is_renewed = record.ended.is_none() && record.expires > after;
        is_renewed.then(|| (record.expires, self.clock.moment().when(record.expires)))
    }

    /// The digest of the contact that the visitor of session `id` became known as, after the opening.
    pub fn known(&self, id: &str) -> Option<u128> {
        self.state(session_number(id)).known
    }

    fn state(&self, key: u128) -> State {
        self.shard(key).sessions.get(&key).copied().unwrap_or_default()
    }

    /// Takes in a change; the same one again changes nothing.
    pub fn apply(&self, change: &Change) {
        match &change.kind {
            ChangeKind::Ended(id) => self.note(id, change.until, |state| state.is_ended = true),
            ChangeKind::Recognised { id, digest, subject, ends_earlier } => self.note(id, change.until, |state| {
                state.known = Some(*digest);
                state.subject = Some(name(subject));
                state.ends_earlier |= ends_earlier;
            }),
            ChangeKind::Contact(subject) => self.mark(change, |marks| marks.contacts.entry(name(subject))),
            ChangeKind::Bot(bot) => self.mark(change, |marks| marks.bots.entry(name(bot))),
        }
    }

    fn note(&self, id: &str, until: Timestamp, write: impl FnOnce(&mut State)) {
        let key = session_number(id);
        let mut shard = self.shard(key);
        let state = shard.sessions.entry(key).or_default();
        write(state);
        state.until = state.until.max(until);
        self.epoch.fetch_add(1, Ordering::Release);
        shard.waiting.get(&key).into_iter().flatten().for_each(|waiting| waiting.wake.notify_one());
    }

    fn mark(
        &self,
        change: &Change,
        entry: impl FnOnce(&mut Marks) -> std::collections::hash_map::Entry<'_, u128, Mark>,
    ) {
        {
            let mut marks = self.marks.write();
            let mark = entry(&mut marks).or_insert(Mark { at: change.at, until: change.until });
            mark.at = mark.at.max(change.at);
            mark.until = mark.until.max(change.until);
        }
        self.epoch.fetch_add(1, Ordering::Release);
        self.wake(|shard, key, waiting| match &change.kind {
            ChangeKind::Contact(subject) => {
                let became = shard.sessions.get(&key).and_then(|state| state.subject);
                let is_of = |verified: &Verified| verified.session.subject == *subject;
                waiting.holder.session().is_some_and(is_of) || became == Some(name(subject))
            }
            ChangeKind::Bot(name) => waiting.holder.session().is_some_and(|verified| verified.session.bot == *name),
            ChangeKind::Ended(_) | ChangeKind::Recognised { .. } => false,
        });
    }

    /// Wakes all that waits and is `concerned`. Whoever is still good finds that out itself: the shard is not held while
    /// tokens are judged.
    fn wake(&self, concerned: impl Fn(&Shard, u128, &Waiting) -> bool) {
        for shard in &self.shards {
            let shard = shard.lock();
            let all = shard.waiting.iter().flat_map(|(key, all)| all.iter().map(move |waiting| (*key, waiting)));
            all.filter(|(key, waiting)| concerned(&shard, *key, waiting)).for_each(|(_, one)| one.wake.notify_one());
        }
    }

    /// Forgets what concerns no token any more.
    pub fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            shard.lock().sessions.retain(|_, state| state.until > now);
        }
        let mut marks = self.marks.write();
        marks.contacts.retain(|_, mark| mark.until > now);
        marks.bots.retain(|_, mark| mark.until > now);
    }

    /// Waits for the end, before its time, of what `holder` may do with `bot`.
    pub(super) fn watch(self: &Arc<Self>, holder: &Holder, bot: &Arc<Bot>) -> Watch {
        let (key, number) = (holder.number(bot, None), self.numbers.fetch_add(1, Ordering::Relaxed));
        let (wake, is_strict) = (Arc::new(Notify::new()), bot.strict_revocation);
        let waiting = Waiting { number, holder: holder.clone(), is_strict, wake: Arc::clone(&wake) };
        self.shard(key).waiting.entry(key).or_default().push(waiting);
        let woken = Box::pin(Arc::clone(&wake).notified_owned());
        Watch { revoked: Arc::clone(self), holder: holder.clone(), bot: Arc::clone(bot), key, number, wake, woken }
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(key % (SHARDS as u128)).unwrap_or_default();
        self.shards[at].lock()
    }
}

/// A contact or a bot.
fn name(text: &str) -> u128 {
    digest_number(text.as_bytes())
}

/// Something open that is woken when what allows it ends before its time.
pub struct Watch {
    revoked: Arc<Revoked>,
    holder: Holder,
    bot: Arc<Bot>,
    key: u128,
    number: u64,
    wake: Arc<Notify>,
    woken: Pin<Box<OwnedNotified>>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// Why it is good no more, if it is not.
    pub fn over(&self) -> Option<Over> {
        self.revoked.judge_holder(&self.holder, &self.bot).err()
    }

    /// Ready whenever there is a reason to ask [`Watch::over`].
    pub fn poll_woken(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let woken = self.woken.as_mut().poll(context);
        if woken.is_ready() {
            self.woken.set(Arc::clone(&self.wake).notified_owned());
        }
        woken
    }

    /// Waits until it is good no more.
    pub async fn ended(mut self) -> Over {
        loop {
            if let Some(over) = self.over() {
                return over;
            }
            poll_fn(|context| self.poll_woken(context)).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut shard = self.revoked.shard(self.key);
        if let Some(waiting) = shard.waiting.get_mut(&self.key) {
            waiting.retain(|waiting| waiting.number != self.number);
            if waiting.is_empty() {
                shard.waiting.remove(&self.key);
            }
        }
    }
}

//! What the store keeps of sessions, and what this process has read of its log.
//!
//! Nothing here is on the path of a call with a token, which asks [`Revoked`] alone, unless it has an `Idempotency-Key`.
//! What is new (a session, a renewal, a recognition, an end) is in the store before it is answered, and in force here at
//! once; other replicas read it from the log, pushed and asked for, within a second.

use std::mem::discriminant;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::open::Opened;
use super::wish::Recognition;
use crate::access::{Over, Revoked};
use crate::bot::Bot;
use crate::clock::{Clock, Timestamp};
use crate::document::Rate;
use crate::fault::{Code, Fault};
use crate::net::Neighbourhood;
use crate::store::{
    Backend, Begun, Cap, Change, ChangeKind, Counted, Cursor, Filter, Known, LOG_MARGIN, Page, Part, Record, Scope,
    StoreError, Taken,
};
use crate::token::{Contact, ContactClaims, ContactSource, LEEWAY, LONGEST_TTL, Session};

/// The log is asked for so often, in case a push was lost.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// And so often while it cannot be read: what was ended elsewhere is in force within a second of its return, also where an
/// attempt or two came too early.
const ASK_AGAIN: Duration = Duration::from_millis(150);
/// What concerns nobody any more is deleted so often.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// When to come back if the store is away.
const AWAY: Duration = Duration::from_secs(1);

/// The sessions of this gateway.
pub struct Ledger {
    store: Arc<dyn Backend>,
    revoked: Arc<Revoked>,
    clock: Clock,
    contact: ContactClaims,
    max_staleness: Duration,
    /// The number of the last change that was read.
    read: AtomicU64,
    /// Whether the log could not be read the last time.
    is_away: AtomicBool,
    /// Whether there is something in it that this version does not know.
    is_unreadable: AtomicBool,
}

// An entry that goes before the last token that it concerns would bring that token back.
const _: () = assert!(LOG_MARGIN.as_millis() > LEEWAY.as_millis());

impl std::fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ledger").field("read", &self.read).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Over `store`; `contact` says whether tokens show who the visitor is, and so whether the store may. What was read of
    /// revocations is fresh for `max_staleness`.
    pub fn new(
        store: Arc<dyn Backend>,
        revoked: Arc<Revoked>,
        clock: Clock,
        contact: ContactClaims,
        max_staleness: Duration,
    ) -> Self {
        let (read, is_away, is_unreadable) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        Self { store, revoked, clock, contact, max_staleness, read, is_away, is_unreadable }
    }

    /// Keeps a session that was opened for a visitor at `address`. Only then may its token be handed out.
    ///
    /// # Errors
    ///
    /// There are too many of this visitor, or the store is away.
    pub async fn open(&self, bot: &Bot, opened: &Opened, address: Option<IpAddr>) -> Result<(), Fault> {
        let session = &opened.session;
        let record = Record {
            id: session.id.clone(),
            bot: session.bot.clone(),
            client: session.client.clone(),
            subject: session.subject.clone(),
            conversation: session.conversation.clone(),
            source: session.source.map(|source| source.name().to_owned()),
            contact: self.shown(&session.contact),
            origin: session.origin.clone(),
            address: address.map(network),
            opened: session.opened,
            expires: session.expires,
            ends: end_of(session),
            ended: None,
            known: None,
            ends_earlier: false,
        };
        self.store.open(record, caps(bot, session.is_vouched(), address)).await.map_err(not_opened)
    }

    /// Whether there is room for one more session of a visitor at `address`, whose pseudonym is `subject` if somebody vouches
    /// for it. Others may be opened meanwhile: [`Ledger::open`] decides.
    ///
    /// # Errors
    ///
    /// There are too many of this visitor, or the store is away.
    pub async fn has_room(&self, bot: &Bot, subject: Option<String>, address: Option<IpAddr>) -> Result<(), Fault> {
        let caps = caps(bot, subject.is_some(), address);
        if caps.is_empty() {
            return Ok(());
        }
        let (bot, opened) = (bot.name.clone(), self.clock.now());
        let (subject, address) = (subject.unwrap_or_default(), address.map(network));
        self.store
            .has_room(Record { bot, subject, address, opened, ..Record::default() }, caps)
            .await
            .map_err(not_opened)
    }

    /// The session of this id.
    ///
    /// # Errors
    ///
    /// There is none, or the store is away.
    pub async fn session(&self, id: &str) -> Result<Record, Fault> {
        self.store.session(id).await.map_err(fault)?.ok_or_else(missing)
    }

    /// A page of sessions.
    ///
    /// # Errors
    ///
    /// The store is away.
    pub async fn sessions(&self, filter: Filter, after: Option<Cursor>, most: u32) -> Result<Page, Fault> {
        self.store.sessions(filter, after, most).await.map_err(fault)
    }

    /// Notes that `session` has a token until it expires.
    ///
    /// # Errors
    ///
    /// It has ended, or the store is away.
    pub async fn renew(&self, session: &Session) -> Result<Record, Fault> {
        self.store.renew(&session.id, session.expires).await.map_err(fault)
    }

    /// Notes who the visitor of a session is, whose new token is `opened`.
    ///
    /// # Errors
    ///
    /// It is somebody else's, it has ended, or the store is away.
    pub async fn recognise(
        &self,
        opened: &Opened,
        recognition: &Recognition,
        digest: u128,
        keeps: bool,
    ) -> Result<(), Fault> {
        let session = &opened.session;
        let known = Known {
            digest,
            subject: session.subject.clone(),
            source: ContactSource::Asserted.name().to_owned(),
            contact: self.shown(&recognition.contact),
        };
        let record = self.store.recognise(&session.id, known, keeps, session.expires).await.map_err(fault)?;
        let Record { id, subject, ends_earlier, .. } = record;
        let kind = ChangeKind::Recognised { id, digest, subject, ends_earlier };
        self.revoked.apply(&Change { number: 0, kind, at: self.clock.now(), until: record.ends.plus(LEEWAY) });
        Ok(())
    }

    /// Whether the visitor of session `id` may become known as the one of this digest, as far as the store knows now.
    ///
    /// # Errors
    ///
    /// It is somebody else's, it has ended, or the store is away.
    pub async fn may_recognise(&self, id: &str, digest: u128) -> Result<(), Fault> {
        self.is_in_force()?;
        let record = self.session(id).await?;
        if record.ended.is_some() {
            return Err(fault(StoreError::Ended));
        }
        match record.known {
            Some(known) if known != digest => Err(fault(StoreError::Conflict)),
            _ => Ok(()),
        }
    }

    /// Whether the visitor of session `id` became known as the one of this digest; nothing, if it did not become known.
    pub fn is_known_as(&self, id: &str, digest: u128) -> Option<bool> {
        self.revoked.known(id).map(|known| known == digest)
    }

    /// Ends all that is in `scope`: here at once, elsewhere within a second.
    ///
    /// # Errors
    ///
    /// The store is away.
    pub async fn revoke(&self, scope: Scope) -> Result<Timestamp, Fault> {
        // A session that is open now has ended by then, and is not renewed any more.
        let until = self.clock.now().plus(LONGEST_TTL).plus(LOG_MARGIN);
        let kind = match &scope {
            Scope::Session(id) => ChangeKind::Ended(id.clone()),
            Scope::Contact(subject) => ChangeKind::Contact(subject.clone()),
            Scope::Bot(name) => ChangeKind::Bot(name.clone()),
        };
        let revoked = self.store.revoke(scope, until).await.map_err(fault)?;
        self.revoked.apply(&Change { number: revoked.number, kind, at: revoked.at, until });
        Ok(revoked.at)
    }

    /// Begins a call that is to be made once; see [`Backend::begin`].
    ///
    /// # Errors
    ///
    /// The store is away.
    pub async fn begin(&self, key: [u8; 32], digest: [u8; 32], remembered: Duration) -> Result<Begun, Fault> {
        self.store.begin(key, digest, remembered).await.map_err(fault)
    }

    /// Keeps the sealed answer of a call that was begun.
    ///
    /// # Errors
    ///
    /// The store is away.
    pub async fn finish(&self, key: [u8; 32], digest: [u8; 32], answer: Vec<u8>) -> Result<(), Fault> {
        self.store.finish(key, digest, answer).await.map_err(fault)
    }

    /// Forgets a call that was begun and came to nothing.
    ///
    /// # Errors
    ///
    /// The store is away.
    pub async fn abandon(&self, key: [u8; 32], digest: [u8; 32]) -> Result<(), Fault> {
        self.store.abandon(key, digest).await.map_err(fault)
    }

    /// Takes one of a rate that all replicas share; nothing if they do not share any, or not now.
    pub async fn take(&self, key: &str, rate: Rate) -> Option<Taken> {
        match self.store.take(key, rate).await {
            Ok(taken) => Some(taken),
            Err(StoreError::Unsupported) => None,
            Err(error) => {
                // That it is away is said once, by who follows the log.
                tracing::debug!(%error, "a shared limit was not asked");
                None
            }
        }
    }

    /// Tells all replicas what was taken here; see [`Backend::share`].
    ///
    /// # Errors
    ///
    /// The store is away, or shares nothing.
    pub async fn share(&self, parts: Vec<Part>) -> Result<Vec<Duration>, StoreError> {
        self.store.share(parts).await
    }

    /// The contact as the store may show it.
    fn shown(&self, contact: &Contact) -> Option<String> {
        let shows = self.contact == ContactClaims::Claims;
        contact.to_json().filter(|_| shows).map(|contact| contact.to_string())
    }

    /// How the store could lose what it answered, as it is configured: said at the start.
    ///
    /// # Errors
    ///
    /// The store is away.
    pub async fn weaknesses(&self) -> Result<Vec<String>, StoreError> {
        self.store.weaknesses().await
    }

    /// Whether the log was read to its end, and is still understood: else no token is good.
    pub fn is_read(&self) -> bool {
        self.revoked.is_read()
    }

    /// How long ago the log was last read to its end; nothing where no token is good.
    pub fn staleness(&self) -> Option<Duration> {
        let now = self.clock.now();
        self.is_read().then(|| now.plus(self.max_staleness).since(self.revoked.fresh_until()))
    }

    /// Whether vendors may be called at all.
    ///
    /// # Errors
    ///
    /// The log was never read, or is not understood any more.
    pub fn is_in_force(&self) -> Result<(), Fault> {
        if self.is_read() { Ok(()) } else { Err(Over::Unknown.into()) }
    }

    /// Whether the store was away when it was asked last.
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Whether the log has an entry that this version does not know: then no token is good, because a revocation may be
    /// what it says.
    pub fn is_unreadable(&self) -> bool {
        self.is_unreadable.load(Ordering::Relaxed)
    }

    /// Whether rates are shared with other processes, while the store is there.
    pub fn shares_rates(&self) -> bool {
        self.store.shares_rates()
    }

    /// Reads what is new in the log.
    ///
    /// # Errors
    ///
    /// The store is away, or has what this version does not know.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        loop {
            let after = self.read.load(Ordering::Relaxed);
            let changes = self.store.changes(after).await;
            let is_unreadable = matches!(changes, Err(StoreError::Unreadable(_)));
            self.is_away.store(changes.is_err() && !is_unreadable, Ordering::Relaxed);
            self.is_unreadable.store(is_unreadable, Ordering::Relaxed);
            if is_unreadable {
                self.revoked.mark_lost();
            }
            let changes = changes?;
            changes.entries.iter().for_each(|change| self.revoked.apply(change));
            // A store that was emptied is read from its beginning; what was read before stays in force.
            let is_anew = changes.last < after;
            self.read.store(if is_anew { 0 } else { changes.last }, Ordering::Relaxed);
            if is_anew {
                continue;
            }
            if changes.is_all {
                self.revoked.mark_read(self.clock.now().plus(self.max_staleness));
                return Ok(());
            }
        }
    }

    /// Notes that the log is not followed any more, because of a bug: better no call than one with a token that was ended.
    pub fn mark_lost(&self) {
        self.revoked.mark_lost();
    }

    /// Deletes what concerns nobody any more, from time to time until `stopped`.
    pub async fn keep_clean(&self, stopped: &CancellationToken) {
        loop {
            tokio::select! {
                () = stopped.cancelled() => return,
                () = sleep(SWEEP_EVERY) => {}
            }
            self.revoked.sweep(self.clock.now());
            if let Err(error) = self.store.sweep().await {
                tracing::warn!(%error, "the store was not swept");
            }
        }
    }

    /// Follows the log until `stopped`.
    pub async fn follow(&self, stopped: &CancellationToken) {
        let mut pushed = self.store.subscribe();
        let mut told = None;
        loop {
            let trouble = self.catch_up().await.err();
            self.revoked.look_at_freshness();
            // Once, not twice a second.
            if told.as_ref().map(discriminant) != trouble.as_ref().map(discriminant) {
                match &trouble {
                    None => tracing::info!("the store is back"),
                    Some(error @ StoreError::Unreadable(_)) => {
                        tracing::error!(%error, "no call is served: nobody here knows which tokens were revoked");
                    }
                    Some(error) => tracing::error!(%error, "no session can be opened, renewed or ended"),
                }
                told = trouble;
            }
            let pause = if told.is_some() { ASK_AGAIN } else { ASK_EVERY };
            tokio::select! {
                () = stopped.cancelled() => return,
                told = timeout(pause, pushed.changed()) => if matches!(told, Ok(Err(_))) {
                    sleep(ASK_EVERY).await;
                },
            }
        }
    }
}

/// However often a session is renewed, it ends a day after its opening.
pub fn end_of(session: &Session) -> Timestamp {
    session.opened.plus(LONGEST_TTL)
}

/// An address as the store counts by it.
fn network(address: IpAddr) -> String {
    format!("{:x}", Neighbourhood::of(address).bits())
}

/// How many sessions the visitor may have.
fn caps(bot: &Bot, is_vouched: bool, address: Option<IpAddr>) -> Vec<Cap> {
    let caps = [
        bot.limits.sessions_per_ip.filter(|_| address.is_some()).map(|most| (Counted::Address, most)),
        bot.limits.sessions_per_contact.filter(|_| is_vouched).map(|most| (Counted::Contact, most)),
    ];
    caps.into_iter().flatten().map(|(what, most)| Cap { what, most }).collect()
}

fn not_opened(error: StoreError) -> Fault {
    match error {
        StoreError::Ended => {
            let detail = "the sessions of this contact or bot were ended while this one was opened; open it again";
            Fault::new(Code::SessionEnding, detail).retry_after(AWAY)
        }
        other => fault(other),
    }
}

fn missing() -> Fault {
    Fault::new(Code::NotFound, "there is no such session")
}

fn fault(error: StoreError) -> Fault {
    match &error {
        StoreError::TooMany(what) => Fault::new(
            Code::TooManySessions,
            format!("as many sessions of this {what} are open as may be; end one, or wait for one to end"),
        ),
        StoreError::Unknown => missing(),
        StoreError::Ended => Fault::new(Code::TokenRevoked, "the session was ended; open a new one"),
        StoreError::Conflict => {
            Fault::new(Code::ContactConflict, "the visitor of this session is known already, as somebody else")
        }
        StoreError::Unsupported | StoreError::Away(_) | StoreError::Unreadable(_) | StoreError::Unusable(_) => {
            Fault::new(Code::StoreUnavailable, "sessions cannot be kept just now; try again shortly")
                .retry_after(AWAY)
                .because(error)
        }
    }
}

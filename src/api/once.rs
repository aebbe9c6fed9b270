//! Openings that are made once: the key of a call that opens a session is its caller's own, and for one bot.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use tokio::sync::oneshot;

use super::{Api, Opening};
use crate::access::{Caller, MintGrant, Minter};
use crate::aside::aside;
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::id::hex;
use crate::limit::{Key, Kind};
use crate::net::Neighbourhood;
use crate::secret::sha256;
use crate::session::once::{Kept, KeptAnswer, KeptSession, Once, Repeatable, key_of};
use crate::store::Scope;
use crate::telemetry::audit::{Action, Event};
use crate::token::Session;
use crate::vendor::Accept;

/// What tells addresses from sessions, which have a share of their own.
const OF_ADDRESSES: u32 = 1;
/// The longest opening by a browser of which the answer is kept. Usual ones have 3 KiB; only messages make one so long.
const LONGEST: usize = 16 << 10;

/// An opening that is made once.
pub(super) struct MadeOnce {
    once: Once,
    /// Whose share of the store its answer takes, where anybody could ask for it.
    share: Option<Key>,
}

/// A session, and how its opening is answered.
pub(super) struct Minted {
    pub(super) session: String,
    pub(super) response: Response<Bytes>,
    /// For the record, if the answer is given again.
    subject: String,
    expires: u64,
    is_given_again: bool,
    /// Whether the store keeps no more than that it was made.
    is_unkept: bool,
}

impl Api {
    /// What the call that `grant` is for says of being made once. `accept` is of the vendor whose session call it is.
    pub(super) fn once(
        &self,
        head: &Parts,
        body: &[u8],
        grant: &MintGrant,
        caller: &Caller,
        accept: Option<&Accept>,
    ) -> Result<Option<MadeOnce>, Fault> {
        let Some(key) = key_of(&head.headers)? else { return Ok(None) };
        let [who, page, address] = scope(grant, caller);
        let body = hex(&sha256(body));
        let mut asked = vec![head.method.as_str(), head.uri.path(), head.uri.query().unwrap_or_default(), &body];
        // What a vendor's client says in headers is asked for as well; its key is not, and may be another by now.
        let credential = accept.and_then(|accept| accept.credential.header());
        let names = accept.into_iter().flat_map(Accept::headers).filter(|name| Some(*name) != credential);
        asked
            .extend(names.map(|name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()));
        let once = self.repeats.once(&[&who, &page, &address, &grant.bot().name, &key], &asked);
        let bits = || Neighbourhood::of(caller.address).bits();
        let share = grant.is_a_browsers().then(|| Key::new(Kind::KeptAnswer, OF_ADDRESSES, bits()));
        Ok(Some(MadeOnce { once, share }))
    }

    /// Makes the call, or answers what it was answered before.
    pub(super) async fn make_once<F>(
        self: &Arc<Self>,
        once: Option<MadeOnce>,
        opening: Opening,
        minted: impl FnOnce(Arc<Self>, Opening) -> F,
    ) -> Result<Minted, Fault>
    where
        F: Future<Output = Result<Minted, Fault>> + Send + 'static,
    {
        let event = opening.event.clone();
        let opening = minted(Arc::clone(self), opening);
        let minted = match once {
            Some(MadeOnce { once, share }) => {
                let (limiter, clock, opening) = (Arc::clone(&self.limiter), self.clock.clone(), Box::pin(opening));
                let opening = async move {
                    let mut minted = opening.await?;
                    let length = minted.response.body().len();
                    minted.is_unkept =
                        share.is_some_and(|share| length > LONGEST || !limiter.may_keep(share, length, clock.now()));
                    Ok(minted)
                };
                self.repeats.make(once, opening).await?
            }
            None => self.made_to_its_end(event.clone(), opening).await?,
        };
        if minted.is_given_again {
            // A token leaves, as the first time.
            let event = Event {
                session: Some(minted.session.clone()),
                subject: Some(minted.subject.clone()),
                expires: Some(Timestamp::from_millis(minted.expires)),
                replayed: true,
                ..event
            };
            self.put_on_record(event).await?;
        }
        Ok(minted)
    }

    /// Opens a session in a task of its own: a caller that leaves meanwhile leaves none without its record, and none that nobody
    /// has a token of, and that counts as open until it expires.
    async fn made_to_its_end(
        self: &Arc<Self>,
        event: Event,
        opening: impl Future<Output = Result<Minted, Fault>> + Send + 'static,
    ) -> Result<Minted, Fault> {
        let (give, taken) = oneshot::channel();
        let api = Arc::clone(self);
        self.tasks.spawn(aside(|| async move {
            let Err(Ok(left)) = give.send(opening.await) else { return };
            let event = Event { action: Action::Revoke, subject: Some(left.subject), ..event };
            if let Err(fault) = api.revoke(Scope::Session(left.session), event).await {
                tracing::warn!("a session whose caller has left stays open: {fault:?}");
            }
        }));
        let failed = |_panicked| Err(Fault::new(Code::Internal, "the session could not be opened"));
        taken.await.unwrap_or_else(failed)
    }
}

impl Minted {
    /// The opening of `session`, answered with `response`.
    pub(super) fn new(session: &Session, response: Response<Bytes>) -> Self {
        let (subject, expires) = (session.subject.clone(), session.expires.millis());
        Self { session: session.id.clone(), response, subject, expires, is_given_again: false, is_unkept: false }
    }
}

impl Repeatable for Minted {
    fn kept(&self) -> Option<Kept> {
        if self.is_unkept {
            return Some(Kept::Made);
        }
        let session = KeptSession { id: self.session.clone(), subject: self.subject.clone(), expires: self.expires };
        Some(KeptAnswer::of(&self.response, Some(session)).map_or(Kept::Made, Kept::Answer))
    }

    /// An opening that failed can be tried again.
    fn kept_of(_fault: &Fault) -> Option<Kept> {
        None
    }

    fn again(mut kept: KeptAnswer) -> Option<Self> {
        let KeptSession { id, subject, expires } = kept.session.take()?;
        Some(Self {
            session: id,
            response: kept.into_response()?,
            subject,
            expires,
            is_given_again: true,
            is_unkept: false,
        })
    }
}

/// Whose a key is: a client's, and from which page; of a page, or of a client whose secret is in one, also from which address,
/// as everybody can be that.
fn scope(grant: &MintGrant, caller: &Caller) -> [String; 3] {
    let page = grant.page().map(|page| page.as_str().to_owned()).unwrap_or_default();
    let address = || caller.address.to_string();
    match grant.minter() {
        Minter::Owner(client) if client.is_browser => [client.name.clone(), page, address()],
        Minter::Owner(client) => [client.name.clone(), page, String::new()],
        Minter::Page(origin) => [String::new(), origin.as_str().to_owned(), address()],
        // No client's name has a blank, so that no client's key is this.
        Minter::Operator(client) => {
            [format!("operator {}", client.as_ref().map_or("", |client| &client.name)), page, String::new()]
        }
    }
}

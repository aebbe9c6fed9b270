//! What is done to sessions, put on record: the one place where events are made out of grants.
//!
//! A token leaves only when its record is on the disk: else it is 503 `audit_unavailable`. A revocation is carried out all
//! the same: what must end ends, and the log has what the record has not.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{Api, Scene};
use crate::access::{CallGrant, MintGrant, Minter, RenewGrant};
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::session::Opened;
use crate::store::Scope;
use crate::telemetry::audit::{Action, Event, Trace, Who};
use crate::telemetry::metrics::Deed;
use crate::telemetry::traces::Span;
use crate::token::{ContactSource, Session};

/// When to come back if the record cannot be written.
const AWAY: Duration = Duration::from_secs(1);

/// That the bearer of a session's token tells its vendor who the visitor is. On the heap: the calls that tell nothing have
/// no room for it.
#[derive(Debug)]
pub struct Told(Box<Event>);

impl Told {
    /// As the call is made that `grant` is for; an owner's is of no session.
    pub fn of(grant: &CallGrant, scene: &Scene) -> Option<Self> {
        let session = &grant.session()?.session;
        let event = about(by_bearer(Action::Contact, session, scene), session);
        Some(Self(Box::new(Event { source: Some(ContactSource::Claimed.name()), ..event })))
    }
}

/// That whoever `grant` is for opens a session.
pub(super) fn opening(grant: &MintGrant, trace: Trace) -> Event {
    let who = match grant.minter() {
        Minter::Owner(client) => Who::Client(client.name.clone()),
        Minter::Page(origin) => Who::Page(origin.as_str().to_owned()),
        Minter::Operator(_) => Who::operator(),
    };
    Event { bot: Some(grant.bot().name.clone()), ..Event::new(Action::Mint, who, trace) }
}

/// That the bearer of a token of `session` does something.
pub(super) fn by_bearer(action: Action, session: &Session, scene: &Scene) -> Event {
    Event::new(action, Who::Bearer(session.id.clone()), scene.trace)
}

/// The same event, of this session.
pub(super) fn about(event: Event, session: &Session) -> Event {
    Event {
        bot: Some(session.bot.clone()),
        session: Some(session.id.clone()),
        subject: Some(session.subject.clone()),
        source: session.source.map(ContactSource::name),
        ..event
    }
}

/// The same, by which a token of it was handed out.
pub(super) fn with_token(event: Event, session: &Session) -> Event {
    Event { expires: Some(session.expires), ..about(event, session) }
}

/// What is counted of an event; ends are counted also where they cannot be put on record.
fn deed_of(event: &Event) -> Option<Deed> {
    match event.action {
        Action::Mint if event.replayed => Some(Deed::Replayed),
        Action::Mint => Some(Deed::Opened),
        Action::Renew => Some(Deed::Renewed),
        Action::Contact => Some(Deed::Recognised),
        Action::Revoke | Action::RevokeAll | Action::Reload => None,
    }
}

impl Api {
    /// Puts `event` on record, before what it tells of is answered.
    pub(super) async fn put_on_record(&self, event: Event) -> Result<(), Fault> {
        let (deed, bot) = (deed_of(&event), event.bot.clone());
        self.audit.write(event).await.map_err(|unwritten| {
            let detail = "what is done to sessions cannot be put on record just now; try again shortly";
            Fault::new(Code::AuditUnavailable, detail).retry_after(AWAY).because(unwritten)
        })?;
        if let Some(deed) = deed {
            self.metrics.done(deed, bot.as_deref());
        }
        Ok(())
    }

    /// Puts on record that `session` was opened; one of which there is no record is ended again.
    pub(super) async fn put_opened_on_record(&self, session: &Session, event: Event) -> Result<(), Fault> {
        let recorded = self.put_on_record(with_token(event, session)).await;
        if recorded.is_err()
            && let Err(fault) = self.ledger.revoke(Scope::Session(session.id.clone())).await
        {
            tracing::warn!(session = session.id, "a session that nobody was told of stays open: {fault:?}");
        }
        recorded
    }

    /// Another token for whoever `grant` is for, noted and on record before it is handed out.
    ///
    /// # Errors
    ///
    /// The vendor renews nothing, the session has ended, or it cannot be written.
    pub(super) async fn renewed(
        &self,
        grant: &RenewGrant,
        ttl: Duration,
        span: &Span,
        scene: &Scene,
    ) -> Result<Opened, Fault> {
        let opened = self.opener.renew(grant, ttl, span).await?;
        self.ledger.renew(&opened.session).await?;
        let event = by_bearer(Action::Renew, &grant.held().verified().session, scene);
        self.put_on_record(with_token(event, &opened.session)).await?;
        Ok(opened)
    }

    /// Puts on record that a visitor told the vendor who it is, unless the vendor did not take it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub async fn told_by_route(&self, told: Told, status: StatusCode) -> Result<(), Fault> {
        if status.is_success() { self.put_on_record(*told.0).await } else { Ok(()) }
    }

    /// Ends all that is in `scope`, as `event` says but for that.
    ///
    /// # Errors
    ///
    /// The store is away.
    pub async fn revoke(self: &Arc<Self>, scope: Scope, event: Event) -> Result<Timestamp, Fault> {
        let event = match scope.clone() {
            Scope::Session(id) => Event { session: Some(id), ..event },
            Scope::Contact(subject) => Event { subject: Some(subject), ..event },
            Scope::Bot(name) => Event { bot: Some(name), ..event },
        };
        let api = Arc::clone(self);
        // A task of its own: a caller that leaves meanwhile does not leave an end without its record.
        let task = self.tasks.spawn(async move {
            let ended = Deed::Ended(match &scope {
                Scope::Session(_) => "session",
                Scope::Contact(_) => "contact",
                Scope::Bot(_) => "bot",
            });
            let at = api.ledger.revoke(scope).await?;
            api.metrics.done(ended, event.bot.as_deref());
            let request = event.trace.request;
            if let Err(error) = api.audit.write(event).await {
                tracing::error!(%request, %error, "what this request ended is not on record");
            }
            Ok(at)
        });
        task.await.unwrap_or_else(|_panicked| Err(Fault::new(Code::Internal, "the session could not be ended")))
    }
}

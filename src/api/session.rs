//! `/v1/sessions/{id}`: a session is seen, renewed, ended, by whoever holds its token or owns its bot; `/v1/sessions`: those
//! of an owner's bots.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::audited::{about, by_bearer};
use super::call::{Call, answered};
use super::{Api, Refused, Scene, unknown_member};
use crate::access::{Aim, HoldGrant, Proven, RenewGrant};
use crate::bot::Client;
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::session::{read_one, wished_ttl};
use crate::store::{Cursor, Filter, Record, Scope};
use crate::telemetry::audit::{Action, Event, Who};
use crate::token::ContactSource;

/// The longest body: a duration.
const LONGEST_BODY: u64 = 4 << 10;
/// Sessions on a page, where the caller does not say.
const PAGE: u32 = 50;
/// And at most.
pub const LONGEST_PAGE: u32 = 200;

/// Who asks about a session, and has proven it.
enum Holder {
    Bearer(HoldGrant),
    Owner(Arc<Client>, Box<Record>),
}

impl Call {
    /// Whether somebody may see and end the session `id`: its token's bearer, or a client that owns its bot. For all
    /// others there is none.
    async fn holder(&self, id: &str, aim: Aim) -> Result<Holder, Fault> {
        let access = &self.api.access;
        let principal = self.principal()?;
        if !matches!(principal.proven(), Proven::Client(_)) {
            let grant = access.may_hold(principal, id, &self.caller)?;
            self.note_subject(grant.bot(), Some(&grant.verified().session.id));
            return Ok(Holder::Bearer(grant));
        }
        let client = access.client_of(principal, aim)?;
        self.api.admit_call_of(&client, &self.scene)?;
        let record = self.api.ledger.session(id).await?;
        let owned = access.bots_owned_by(&client, Some(&record.bot));
        let bot = owned.ok().and_then(|bots| bots.first().copied());
        let bot = bot.ok_or_else(|| Fault::new(Code::NotFound, "there is no such session"))?;
        self.note_subject(bot, Some(&record.id));
        Ok(Holder::Owner(client, Box::new(record)))
    }

    /// That whoever calls may have another token of the session `id`.
    fn renewing(&self, id: &str) -> Result<RenewGrant, Fault> {
        let access = &self.api.access;
        let principal = access.identify_for_renewal(self.credential()?, &self.caller)?;
        access.may_renew(principal, id, &self.caller)
    }

    /// The client that asks about sessions of its bots.
    fn owner(&self, aim: Aim) -> Result<Arc<Client>, Fault> {
        let client = self.client(aim)?;
        self.api.admit_call_of(&client, &self.scene)?;
        Ok(client)
    }
}

impl Holder {
    fn id(&self) -> &str {
        match self {
            Self::Bearer(grant) => &grant.verified().session.id,
            Self::Owner(_, record) => &record.id,
        }
    }

    /// That it ends the session.
    fn ending(&self, scene: &Scene) -> Event {
        match self {
            Self::Bearer(grant) => {
                let session = &grant.verified().session;
                about(by_bearer(Action::Revoke, session, scene), session)
            }
            Self::Owner(client, record) => Event {
                bot: Some(record.bot.clone()),
                subject: Some(record.subject.clone()),
                ..Event::new(Action::Revoke, Who::Client(client.name.clone()), scene.trace)
            },
        }
    }
}

/// `GET /v1/sessions/{id}`
pub(super) async fn show(Path(id): Path<String>, call: Call) -> Result<Response, Refused> {
    let record = match call.holder(&id, Aim::See).await? {
        Holder::Owner(_, record) => *record,
        Holder::Bearer(grant) => {
            call.api.admit_held(&grant, &call.scene)?;
            call.api.ledger.session(&grant.verified().session.id).await?
        }
    };
    Ok(answered(StatusCode::OK, &call.api.shown(&record)))
}

/// `DELETE /v1/sessions/{id}`
pub(super) async fn end(Path(id): Path<String>, call: Call) -> Result<Response, Refused> {
    let holder = call.holder(&id, Aim::End).await?;
    let _at = call.api.revoke(Scope::Session(holder.id().to_owned()), holder.ending(&call.scene)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/sessions/{id}/renew`
pub(super) async fn renew(Path(id): Path<String>, call: Call, body: Body) -> Result<Response, Refused> {
    let api = &call.api;
    let grant = call.renewing(&id)?;
    let held = grant.held();
    call.note_subject(held.bot(), Some(&held.verified().session.id));
    api.admit_held(held, &call.scene)?;
    let ttl = duration(held, call.members(body, LONGEST_BODY).await?)?;
    // A body may have been long in coming.
    let grant = call.renewing(&id)?;
    let opened = api.renewed(&grant, ttl, &call.caller.span, &call.scene).await?;
    Ok(answered(StatusCode::OK, &api.minted(&opened, &[])))
}

fn duration(grant: &HoldGrant, mut fields: Map<String, Value>) -> Result<Duration, Fault> {
    let ttl = fields.remove("durationInSeconds");
    match fields.keys().next() {
        None => wished_ttl(ttl.as_ref(), grant.bot()),
        Some(other) => Err(unknown_member(other, &["durationInSeconds"])),
    }
}

/// Which sessions are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    bot: Option<String>,
    contact: Option<String>,
    from: Option<String>,
    to: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

/// Which page of which sessions.
#[derive(Debug)]
pub struct Listing {
    /// Which sessions.
    pub filter: Filter,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// How many at most, if the caller says it.
    pub limit: Option<String>,
}

/// The moment that the parameter `name` says.
///
/// # Errors
///
/// It is none.
pub fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let millis = text.parse().map_err(|_no_number| {
        let detail = format!("`{name}` must be a time in milliseconds since 1970, such as 1795244084000");
        Fault::new(Code::BadRequest, detail)
    })?;
    Ok(Some(Timestamp::from_millis(millis)))
}

/// `GET /v1/sessions`
pub(super) async fn list(asked: Result<Query<Asked>, QueryRejection>, call: Call) -> Result<Response, Refused> {
    let (api, client) = (&call.api, call.owner(Aim::See)?);
    let Query(asked) = asked.map_err(|_wrong| {
        Fault::new(
            Code::BadRequest,
            "the query may have bot, contact, from and to (milliseconds since 1970), cursor and limit, each once",
        )
    })?;
    let bots = api.access.bots_owned_by(&client, asked.bot.as_deref())?;
    let filter = Filter {
        bots: Some(bots.iter().map(|bot| bot.name.clone()).collect()),
        subject: asked.contact.as_deref().map(|contact| api.subject_of(&client.name, contact)).transpose()?,
        opened_after: moment("from", asked.from.as_deref())?,
        opened_before: moment("to", asked.to.as_deref())?,
    };
    let page = api.page(Listing { filter, cursor: asked.cursor, limit: asked.limit }).await?;
    Ok(answered(StatusCode::OK, &page))
}

/// `DELETE /v1/sessions?contact=…` or `?bot=…`: all that are open now.
pub(super) async fn end_all(asked: Result<Query<Asked>, QueryRejection>, call: Call) -> Result<Response, Refused> {
    let (api, client) = (&call.api, call.owner(Aim::End)?);
    let scope = match asked {
        Ok(Query(Asked { bot: Some(bot), contact: None, from: None, to: None, cursor: None, limit: None })) => {
            let bots = api.access.bots_owned_by(&client, Some(&bot))?;
            bots.first().map(|bot| Scope::Bot(bot.name.clone()))
        }
        Ok(Query(Asked { bot: None, contact: Some(contact), from: None, to: None, cursor: None, limit: None })) => {
            Some(Scope::Contact(api.subject_of(&client.name, &contact)?))
        }
        _ => None,
    };
    let scope = scope.ok_or_else(|| {
        Fault::new(Code::BadRequest, "say `bot` or `contact` in the query, one of them and once: whose sessions end")
    })?;
    let event = Event::new(Action::RevokeAll, Who::Client(client.name.clone()), call.scene.trace);
    let at = api.revoke(scope, event).await?;
    Ok(answered(StatusCode::OK, &json!({"openedUntil": at.millis()})))
}

impl Api {
    /// A page of sessions, as it is answered.
    ///
    /// # Errors
    ///
    /// Cursor or limit are none, or the store is away.
    pub async fn page(&self, listing: Listing) -> Result<Value, Fault> {
        let Listing { filter, cursor, limit } = listing;
        let wrong = || Fault::new(Code::BadRequest, "`cursor` must be the `next` of an answer, unchanged");
        let cursor = cursor.as_deref().map(|text| Cursor::parse(text).ok_or_else(wrong)).transpose()?;
        let most = limit.map_or(Some(PAGE), |limit| limit.parse().ok());
        let Some(most) = most.filter(|most| (1..=LONGEST_PAGE).contains(most)) else {
            return Err(Fault::new(Code::BadRequest, format!("`limit` must be from 1 to {LONGEST_PAGE}")));
        };
        let page = self.ledger.sessions(filter, cursor, most).await?;
        let sessions: Vec<Value> = page.records.iter().map(|record| self.shown(record)).collect();
        let next = page.next.map(|cursor| cursor.to_string());
        Ok(json!({"sessions": sessions, "next": next}))
    }

    /// A session as it is shown: nothing in it is a secret.
    pub fn shown(&self, record: &Record) -> Value {
        shown(record, self.clock.now())
    }

    /// The pseudonym of a contact for whom `owner` vouches, by email address or phone.
    ///
    /// # Errors
    ///
    /// It is neither.
    pub fn subject_of(&self, owner: &str, contact: &str) -> Result<String, Fault> {
        let named = read_one(contact)?;
        Ok(self.opener.subject(owner, ContactSource::Asserted, &named))
    }
}

fn shown(record: &Record, now: Timestamp) -> Value {
    let state = match record.ended {
        Some(_) => "ended",
        None if record.expires < now => "expired",
        None => "open",
    };
    let contact = record.contact.as_deref().and_then(|contact| serde_json::from_str::<Value>(contact).ok());
    json!({
        "sessionId": record.id,
        "conversationId": record.conversation,
        "bot": record.bot,
        "client": record.client,
        "subject": record.subject,
        "contact": contact,
        "contactSource": record.source,
        "origin": record.origin,
        "state": state,
        "openedAt": record.opened.millis(),
        "expiresAt": record.expires.millis(),
        "endsAt": record.ends.millis(),
        "endedAt": record.ended.map(Timestamp::millis),
    })
}

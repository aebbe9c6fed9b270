//! `/v1/sessions/{id}`: a session is seen, renewed, ended, by whoever holds its token or owns its bot; `/v1/sessions`: those
//! of an owner's bots.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::members::members;
use super::{Api, Refused, Scene, native_answer, renew_after, unknown_member};
use crate::access::{Caller, Credential, HoldGrant, Principal};
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::session::wished_ttl;
use crate::store::{Cursor, Filter, Record, Scope};
use crate::token::{Contact, ContactSource};

/// The longest body: a duration.
const LONGEST_BODY: u64 = 4 << 10;
/// Sessions on a page, where the caller does not say.
const PAGE: u32 = 50;
/// And at most.
const LONGEST_PAGE: u32 = 200;

/// Who asks about a session, and has proven it.
enum Holder {
    Bearer(HoldGrant),
    Owner(Box<Record>),
}

impl Api {
    /// Whether somebody may see and end the session `id`: its token's bearer, or a client that owns its bot. For all
    /// others there is none.
    async fn holder(&self, headers: &HeaderMap, id: &str, caller: &Caller, scene: &Scene) -> Result<Holder, Fault> {
        let principal = self.access.identify(Credential::presented(headers, None, None, false)?, caller)?;
        let holder = match principal {
            Principal::Client(_) => {
                let client = self.access.client_of(principal)?;
                let record = self.ledger.session(id).await?;
                let owned = self.access.bots_owned_by(&client, Some(&record.bot));
                let bot = owned.ok().and_then(|bots| bots.first().copied()).map(Arc::clone);
                let bot = bot.ok_or_else(|| Fault::new(Code::NotFound, "there is no such session"))?;
                let _first = scene.bot.set(bot);
                Holder::Owner(Box::new(record))
            }
            other => {
                let grant = self.access.may_hold(other, id, caller)?;
                let _first = scene.bot.set(Arc::clone(grant.bot()));
                Holder::Bearer(grant)
            }
        };
        let _first = scene.session.set(holder.id().to_owned());
        Ok(holder)
    }
}

impl Holder {
    fn id(&self) -> &str {
        match self {
            Self::Bearer(grant) => &grant.verified().session.id,
            Self::Owner(record) => &record.id,
        }
    }
}

/// `GET /v1/sessions/{id}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(scene): Extension<Arc<Scene>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let record = match api.holder(&headers, &id, &caller, &scene).await? {
        Holder::Owner(record) => *record,
        Holder::Bearer(grant) => api.ledger.session(&grant.verified().session.id).await?,
    };
    Ok(answered(StatusCode::OK, &api.shown(&record)))
}

/// `DELETE /v1/sessions/{id}`
pub(super) async fn end(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(scene): Extension<Arc<Scene>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let holder = api.holder(&headers, &id, &caller, &scene).await?;
    let _at = api.ledger.revoke(Scope::Session(holder.id().to_owned())).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/sessions/{id}/renew`
pub(super) async fn renew(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(scene): Extension<Arc<Scene>>,
    request: Request,
) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    let credential = Credential::presented(&head.headers, None, None, false)?;
    let principal = api.access.identify_for_renewal(credential, &caller)?;
    let grant = api.access.may_hold(principal, &id, &caller)?;
    let _first = scene.bot.set(Arc::clone(grant.bot()));
    let _first = scene.session.set(grant.verified().session.id.clone());
    api.admit_renewal(&grant)?;
    let body = api.intake.json::<Body>(&head.headers, body, LONGEST_BODY).await?;
    let ttl = duration(&grant, &body)?;
    let opened = api.opener.renew(&grant, ttl).await?;
    api.ledger.renew(&opened.session, opened.session.expires).await?;
    let now = opened.session.issued.seconds();
    let life = opened.session.expires.seconds().saturating_sub(now);
    let answer = native_answer(&opened, &[], now, renew_after(life, api.opener.entropy.bytes()));
    Ok(answered(StatusCode::OK, &answer))
}

fn duration(grant: &HoldGrant, body: &[u8]) -> Result<Duration, Fault> {
    let mut fields = members(body)?;
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
    from: Option<u64>,
    to: Option<u64>,
    cursor: Option<String>,
    limit: Option<u32>,
}

/// Which page of which sessions.
#[derive(Debug)]
pub struct Listing {
    /// Which sessions.
    pub filter: Filter,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// How many at most, if the caller says it.
    pub limit: Option<u32>,
}

/// `GET /v1/sessions`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Arc<Caller>>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let client = api.owner(&headers, &caller)?;
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
        opened_after: asked.from.map(Timestamp::from_millis),
        opened_before: asked.to.map(Timestamp::from_millis),
    };
    let page = api.page(Listing { filter, cursor: asked.cursor, limit: asked.limit }).await?;
    Ok(answered(StatusCode::OK, &page))
}

/// `DELETE /v1/sessions?contact=…` or `?bot=…`: all that are open now.
pub(super) async fn end_all(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Arc<Caller>>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let client = api.owner(&headers, &caller)?;
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
    let at = api.ledger.revoke(scope).await?;
    Ok(answered(StatusCode::OK, &json!({"openedUntil": at.millis()})))
}

impl Api {
    fn owner(&self, headers: &HeaderMap, caller: &Caller) -> Result<Arc<crate::bot::Client>, Fault> {
        let credential = Credential::presented(headers, None, None, false)?;
        self.access.client_of(self.access.identify(credential, caller)?)
    }

    /// A page of sessions, as it is answered.
    ///
    /// # Errors
    ///
    /// Cursor or limit are none, or the store is away.
    pub async fn page(&self, listing: Listing) -> Result<Value, Fault> {
        let Listing { filter, cursor, limit } = listing;
        let wrong = || Fault::new(Code::BadRequest, "`cursor` must be the `next` of an answer, unchanged");
        let cursor = cursor.as_deref().map(|text| Cursor::parse(text).ok_or_else(wrong)).transpose()?;
        let most = limit.unwrap_or(PAGE);
        if !(1..=LONGEST_PAGE).contains(&most) {
            return Err(Fault::new(Code::BadRequest, format!("`limit` must be from 1 to {LONGEST_PAGE}")));
        }
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
        let named = if contact.contains('@') {
            Contact { email: Some(contact.to_owned()), ..Contact::default() }
        } else if contact.starts_with('+') {
            Contact { phone: Some(contact.to_owned()), ..Contact::default() }
        } else {
            let detail = "`contact` must be an email address, or a phone number with its `+` (as %2B)";
            return Err(Fault::new(Code::BadRequest, detail));
        };
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

/// An answer that nobody keeps.
pub fn answered(status: StatusCode, answer: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, answer.to_string()).into_response()
}

//! `/v1/sessions` for operators: the sessions of all bots are seen, ended and opened.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{Admin, Peer};
use crate::access::{Caller, Operator};
use crate::api::{Api, Listing, Refused, answered, moment};
use crate::fault::{Code, Fault};
use crate::store::{Filter, Scope};
use crate::telemetry::audit::{Action, Event, Trace, Who};

/// Which sessions are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    bot: Option<String>,
    contact: Option<String>,
    client: Option<String>,
    from: Option<String>,
    to: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

/// `POST /v1/bots/{bot}/sessions`
pub(super) async fn open(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Extension(operator): Extension<Arc<Operator>>,
    Extension(peer): Extension<Peer>,
    Extension(trace): Extension<Trace>,
    request: Request,
) -> Result<Response, Refused> {
    let address = match peer {
        Peer::Address(address) => address,
        Peer::Socket => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let caller = Caller::new(address, request.headers())?;
    let (session, response) = admin.api().open_for(&operator, &name, &caller, trace, request).await?;
    tracing::info!(%peer, session, "an operator opened a session");
    Ok(response)
}

/// `GET /v1/sessions/{id}`
pub(super) async fn show(State(admin): State<Arc<Admin>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let api = admin.api();
    let record = api.ledger.session(&id).await?;
    Ok(answered(StatusCode::OK, &api.shown(&record)))
}

/// `DELETE /v1/sessions/{id}`
pub(super) async fn end(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    Extension(trace): Extension<Trace>,
) -> Result<Response, Refused> {
    // One that is not known any more may have tokens all the same, but a mistyped one should be told.
    let api = admin.api();
    let record = api.ledger.session(&id).await?;
    let event = Event { bot: Some(record.bot), subject: Some(record.subject), ..event(Action::Revoke, trace) };
    let _at = api.revoke(Scope::Session(record.id), event).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /v1/sessions`
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(asked) = asked.map_err(|_wrong| {
        Fault::new(
            Code::BadRequest,
            "the query may have bot, contact with client, from and to (milliseconds since 1970), cursor and limit, each \
             once",
        )
    })?;
    let api = admin.api();
    let bots = asked.bot.as_deref().map(|bot| known(&api, bot)).transpose()?;
    let filter = Filter {
        bots: bots.map(|bot| vec![bot]),
        subject: subject(&api, asked.contact.as_deref(), asked.client.as_deref())?,
        opened_after: moment("from", asked.from.as_deref())?,
        opened_before: moment("to", asked.to.as_deref())?,
    };
    let page = api.page(Listing { filter, cursor: asked.cursor, limit: asked.limit }).await?;
    Ok(answered(StatusCode::OK, &page))
}

/// `DELETE /v1/sessions?bot=…` or `?contact=…&client=…`: all that are open now.
pub(super) async fn end_all(
    State(admin): State<Arc<Admin>>,
    Extension(trace): Extension<Trace>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Refused> {
    let api = admin.api();
    let scope = match asked {
        Ok(Query(Asked { bot, contact, client, from: None, to: None, cursor: None, limit: None })) => {
            match (bot, subject(&api, contact.as_deref(), client.as_deref())?) {
                (Some(bot), None) => Some(Scope::Bot(known(&api, &bot)?)),
                (None, Some(subject)) => Some(Scope::Contact(subject)),
                _ => None,
            }
        }
        _ => None,
    };
    let scope = scope.ok_or_else(|| {
        Fault::new(Code::BadRequest, "say in the query whose sessions end: `bot`, or `contact` and `client`, each once")
    })?;
    let at = api.revoke(scope, event(Action::RevokeAll, trace)).await?;
    Ok(answered(StatusCode::OK, &json!({"openedUntil": at.millis()})))
}

/// The bot of this name, if there is one.
fn known(api: &Api, name: &str) -> Result<String, Fault> {
    let bot = api.access.directory.bot(name);
    bot.map(|bot| bot.name.clone()).ok_or_else(|| Fault::new(Code::UnknownBot, "there is no bot of this name"))
}

/// The pseudonym of a contact, which is another with each client that vouches for it.
fn subject(api: &Api, contact: Option<&str>, client: Option<&str>) -> Result<Option<String>, Fault> {
    match (contact, client) {
        (None, None) => Ok(None),
        (Some(contact), Some(client)) if api.access.directory.has_client(client) => {
            api.subject_of(client, contact).map(Some)
        }
        (Some(_), Some(_)) => Err(Fault::new(Code::BadRequest, "there is no client of this name")),
        _ => Err(Fault::new(Code::BadRequest, "`contact` and `client`, which vouched for it, go together")),
    }
}

/// That an operator does this.
fn event(action: Action, trace: Trace) -> Event {
    Event::new(action, Who::operator(), trace)
}

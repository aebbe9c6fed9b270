//! `POST /v1/sessions/{id}/contact`: a visitor who came as nobody becomes known.
//!
//! An owner's server says who it is, and shows the session's token: nothing else is known of a session here.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value};

use super::audited::{about, with_token};
use super::call::{Call, answered};
use super::{Api, Refused, unknown_member};
use crate::access::{Aim, ContactGrant};
use crate::fault::{Code, Fault};
use crate::session::{Opened, Recognition, Unidentified};
use crate::store::Begun;
use crate::telemetry::audit::{Action, Event, Who};
use crate::telemetry::traces::Span;

/// What the body may have.
const MEMBERS: [&str; 5] = ["token", "contact", "keepPrevious", "visitId", "meta"];
/// Who died while naming somebody is waited for so long: longer than any vendor is.
const NAMING: Duration = Duration::from_secs(90);
/// When to ask again while another does.
const COME_BACK: Duration = Duration::from_secs(1);
/// The longest body: a token and a contact.
const LONGEST_BODY: u64 = 32 << 10;

pub(super) async fn recognise(Path(id): Path<String>, call: Call, body: Body) -> Result<Response, Refused> {
    let (api, client) = (&call.api, call.client(Aim::Name)?);
    let mut fields = call.members(body, LONGEST_BODY).await?;
    let token = text(fields.remove("token"))?;
    let keeps = keeps_previous(fields.remove("keepPrevious"))?;
    let grant = api.access.may_identify(client, &id, &token).map_err(of_body)?;
    call.note_subject(grant.bot(), Some(&grant.verified().session.id));
    if let Some(quota) = api.admit_client(grant.bot(), grant.client()).await? {
        let _first = call.scene.quota.set(quota);
    }
    let recognition = api.recognition(&mut fields, &grant)?;
    let event = Event::new(Action::Contact, Who::Client(grant.client().name.clone()), call.scene.trace);
    let span = call.caller.span.clone();
    // A task of its own: a caller that leaves meanwhile leaves no vendor that knows what the gateway does not.
    let known = api.tasks.spawn(known(Arc::clone(api), grant, recognition, keeps, event, span));
    let opened = known.await.map_err(|_panicked| unknown())?.map_err(of_body)?;
    Ok(answered(StatusCode::OK, &api.minted(&opened, &[])))
}

/// One at a time, on all replicas: of two who are named at once the vendor hears of one.
async fn known(
    api: Arc<Api>,
    grant: ContactGrant,
    recognition: Recognition,
    keeps: bool,
    event: Event,
    span: Span,
) -> Result<Opened, Fault> {
    let naming = api.opener.authority.digest("naming", &[&grant.verified().session.id]);
    if api.ledger.begin(naming, naming, NAMING).await? != Begun::New {
        let detail = "the visitor of this session is being named by another call; ask again in a moment";
        return Err(Fault::new(Code::InFlight, detail).retry_after(COME_BACK));
    }
    let made = told_and_kept(&api, &grant, &recognition, keeps, event, &span).await;
    if let Err(fault) = api.ledger.abandon(naming, naming).await {
        tracing::warn!("the lock on naming this visitor stays for {NAMING:?}: {fault:?}");
    }
    made
}

/// To the vendor, to the store, on record. Where nobody knows whether the vendor took it, the session counts as this
/// visitor's all the same: a token that somebody else planted must not go on in it. Whoever asks again gets the new one.
async fn told_and_kept(
    api: &Api,
    grant: &ContactGrant,
    recognition: &Recognition,
    keeps: bool,
    event: Event,
    span: &Span,
) -> Result<Opened, Fault> {
    // First of all: what has ended, or can be put down nowhere, is not told to the vendor.
    let number = api.opener.number_of(&recognition.contact);
    api.ledger.may_recognise(&grant.verified().session.id, number).await?;
    let opened = api.opener.named(grant, recognition)?;
    let told = api.opener.identify(grant, recognition, &opened.session.subject, span).await;
    if let Err(Unidentified { fault, is_lost: false }) = told {
        return Err(fault);
    }
    api.ledger.recognise(&opened, recognition, number, keeps).await?;
    match told {
        Ok(()) => api.put_on_record(with_token(event, &opened.session)).await.map(|()| opened),
        Err(Unidentified { fault, .. }) => {
            api.put_on_record(about(event, &opened.session)).await?;
            Err(fault)
        }
    }
}

/// What is wrong with the session's token is wrong with the body: a 401 is about the credential of whoever calls.
fn of_body(fault: Fault) -> Fault {
    if fault.code().status() != StatusCode::UNAUTHORIZED {
        return fault;
    }
    Fault::new(Code::BadRequest, format!("the `token` of the body is refused: {}", fault.detail()))
}

fn unknown() -> Fault {
    Fault::new(Code::Internal, "the visitor could not be made known")
}

fn text(token: Option<Value>) -> Result<String, Fault> {
    match token {
        Some(Value::String(token)) => Ok(token),
        _ => Err(Fault::new(
            Code::BadRequest,
            "`token` must be the session's token, as a string: it is all that is known of the session",
        )),
    }
}

fn keeps_previous(value: Option<Value>) -> Result<bool, Fault> {
    match value {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(keeps)) => Ok(keeps),
        Some(_) => Err(Fault::new(Code::BadRequest, "`keepPrevious` must be true or false")),
    }
}

impl Api {
    /// What the owner says of the visitor, who is nobody else already.
    fn recognition(&self, fields: &mut Map<String, Value>, grant: &ContactGrant) -> Result<Recognition, Fault> {
        let (contact, visit, meta) = (fields.remove("contact"), fields.remove("visitId"), fields.remove("meta"));
        if let Some(other) = fields.keys().next() {
            return Err(unknown_member(other, &MEMBERS));
        }
        let recognition = Recognition::read(contact.as_ref(), visit.as_ref(), meta.as_ref(), grant.bot())?;
        let by_token = || !grant.is_recognised() || self.opener.is_same_visitor(grant, &recognition.contact);
        let id = &grant.verified().session.id;
        if self.ledger.is_known_as(id, self.opener.number_of(&recognition.contact)).unwrap_or_else(by_token) {
            Ok(recognition)
        } else {
            Err(somebody_else())
        }
    }
}

fn somebody_else() -> Fault {
    Fault::new(Code::ContactConflict, "the visitor of this session is known already, as somebody else")
}

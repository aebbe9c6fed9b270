//! `POST /v1/sessions/{id}/contact`: a visitor who came as nobody becomes known.
//!
//! An owner's server says who it is, and shows the session's token: nothing else is known of a session here.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde_json::{Map, Value};

use super::members::members;
use super::{Api, Refused, Scene, native_answer, renew_after, unknown_member};
use crate::access::{Caller, ContactGrant, Credential};
use crate::fault::{Code, Fault};
use crate::session::Recognition;

/// What the body may have.
const MEMBERS: [&str; 5] = ["token", "contact", "keepPrevious", "visitId", "meta"];
/// The longest body: a token and a contact.
const LONGEST_BODY: u64 = 32 << 10;

pub(super) async fn recognise(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(scene): Extension<Arc<Scene>>,
    request: Request,
) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    let credential = Credential::presented(&head.headers, None, None, false)?;
    let client = api.access.client_of(api.access.identify(credential, &caller)?)?;
    let body = api.intake.json::<Body>(&head.headers, body, LONGEST_BODY).await?;
    let mut fields = members(&body)?;
    let token = text(fields.remove("token"))?;
    let keeps = keeps_previous(fields.remove("keepPrevious"))?;
    let grant = api.access.may_identify(client, &id, &token)?;
    let _first = scene.bot.set(Arc::clone(grant.bot()));
    let _first = scene.session.set(grant.verified().session.id.clone());
    let _left = api.admit_client(grant.bot(), grant.client()).await?;
    let recognition = api.recognition(&mut fields, &grant)?;
    let opened = api.opener.identify(&grant, &recognition).await?;
    // Only now that the vendor knows it: had the vendor failed, nothing would have ended.
    api.ledger.recognise(&opened, &recognition, keeps).await?;
    let now = opened.session.issued.seconds();
    let life = opened.session.expires.seconds().saturating_sub(now);
    let answer = native_answer(&opened, &[], now, renew_after(life, api.opener.entropy.bytes()));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, answer.to_string()).into_response())
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
        if self.ledger.is_known_as(id, &recognition.contact).unwrap_or_else(by_token) {
            Ok(recognition)
        } else {
            Err(somebody_else())
        }
    }
}

fn somebody_else() -> Fault {
    Fault::new(Code::ContactConflict, "the visitor of this session is known already, as somebody else")
}

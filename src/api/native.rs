//! `POST /v1/bots/{bot}/sessions`: a session, in the gateway's own shape.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value};

use super::audited::opening;
use super::call::{Call, written};
use super::members::members;
use super::once::Minted;
use super::{Api, Opening, Refused, unknown_member, visitor_of};
use crate::access::{Caller, MintGrant, Minter, Operator};
use crate::fault::{Code, Fault};
use crate::session::RawWish;
use crate::telemetry::audit::Trace;

/// What the body may have.
const MEMBERS: [&str; 7] = ["durationInSeconds", "contact", "messages", "visitId", "meta", "origin", "visitorAddress"];

pub(super) async fn open(Path(name): Path<String>, call: Call, body: Body) -> Result<Response, Refused> {
    let api = &call.api;
    // A wrong credential is told before a wrong name.
    let principal = call.principal()?;
    let Some(bot) = api.access.directory.bot(&name).map(Arc::clone) else {
        return Err(Fault::new(Code::UnknownBot, "there is no bot of this name").into());
    };
    call.note_subject(&bot, None);
    let grant = api.access.may_mint(principal, &bot, &call.caller)?;
    // Whose address is to be counted stands in a server's body, and the narrower limit comes first.
    let server = match grant.minter() {
        Minter::Owner(client) if !client.is_browser => Some(client),
        Minter::Owner(_) | Minter::Page(_) | Minter::Operator(_) => None,
    };
    match server {
        Some(client) => api.may_admit(&bot, client)?,
        None => api.admit(&grant, &call.caller, &call.scene).await?,
    }
    let body = api.intake.json(&call.head.headers, body, bot.limits.body).await?;
    let asked = asked(&body, &grant);
    if server.is_some() {
        if let Ok((_, Some(address))) = &asked {
            let _left = api.admit_address(&bot, *address).await?;
        }
        api.admit(&grant, &call.caller, &call.scene).await?;
    }
    let (fields, named) = asked?;
    let wish = raw_wish(fields)?;
    let address = named.or_else(|| visitor_of(&grant, &call.caller));
    let once = api.once(&call.head, &body, &grant, &call.caller, None)?;
    let (event, span) = (opening(&grant, call.scene.trace), call.caller.span.clone());
    let minted = api.make_once(once, Opening { grant, wish, address, event, span }, minted).await?;
    call.note_subject(&bot, Some(&minted.session));
    Ok(minted.response.map(Body::from))
}

impl Api {
    /// The same call of an operator: the body may also have `client`, in whose name the session is opened. No rate counts
    /// it. `trace` is for the record. Also answers the session's id.
    ///
    /// # Errors
    ///
    /// See [`Access::may_mint_for`](crate::access::Access::may_mint_for); what is wrong with the body, or with the vendor.
    pub async fn open_for(
        self: &Arc<Self>,
        operator: &Operator,
        name: &str,
        caller: &Caller,
        trace: Trace,
        request: Request,
    ) -> Result<(String, Response), Fault> {
        let unknown = || Fault::new(Code::UnknownBot, "there is no bot of this name");
        let bot = self.access.directory.bot(name).map(Arc::clone).ok_or_else(unknown)?;
        let (head, body) = request.into_parts();
        let body = self.intake.json::<Body>(&head.headers, body, bot.limits.body).await?;
        let mut fields = members(&body)?;
        let client = match fields.remove("client") {
            None | Some(Value::Null) => None,
            Some(Value::String(client)) => Some(client),
            Some(_) => return Err(Fault::new(Code::BadRequest, "`client` must be a client's name")),
        };
        let grant = self.access.may_mint_for(operator, &bot, client.as_deref())?;
        let address = visitor(&mut fields, &grant)?;
        let wish = raw_wish(fields)?;
        let once = self.once(&head, &body, &grant, caller, None)?;
        let (event, span) = (opening(&grant, trace), caller.span.clone());
        let minted = self.make_once(once, Opening { grant, wish, address, event, span }, minted).await?;
        Ok((minted.session, minted.response.map(Body::from)))
    }
}

async fn minted(api: Arc<Api>, opening: Opening) -> Result<Minted, Fault> {
    let (opened, wish) = api.open(&opening).await?;
    let response = written(StatusCode::CREATED, &api.minted(&opened, &wish.messages));
    Ok(Minted::new(&opened.session, response))
}

/// What the body says, and the address of the visitor for whom an owner calls.
fn asked(body: &[u8], grant: &MintGrant) -> Result<(Map<String, Value>, Option<IpAddr>), Fault> {
    let mut fields = members(body)?;
    let named = visitor(&mut fields, grant)?;
    Ok((fields, named))
}

fn visitor(fields: &mut Map<String, Value>, grant: &MintGrant) -> Result<Option<IpAddr>, Fault> {
    match fields.remove("visitorAddress") {
        None | Some(Value::Null) => Ok(None),
        Some(_) if grant.is_a_browsers() => {
            Err(Fault::new(Code::BadRequest, "`visitorAddress` is for servers; a page's visitor is whoever calls"))
        }
        Some(value) => value.as_str().and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
            Fault::new(
                Code::BadRequest,
                "`visitorAddress` must be an IP address: the visitor's, as your server sees it",
            )
        }),
    }
}

fn raw_wish(mut fields: Map<String, Value>) -> Result<RawWish, Fault> {
    let wish = RawWish {
        ttl: fields.remove("durationInSeconds"),
        contact: fields.remove("contact"),
        messages: fields.remove("messages"),
        meta: fields.remove("meta"),
        visit: fields.remove("visitId"),
        origin: fields.remove("origin"),
    };
    match fields.keys().next() {
        None => Ok(wish),
        Some(other) => Err(unknown_member(other, &MEMBERS)),
    }
}

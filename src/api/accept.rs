//! A vendor's session call, as that vendor's own clients send it: answered in the vendor's status and shape.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Body;
use serde_json::{Map, Value, json};

use super::asked::Asked;
use super::audited::opening;
use super::once::Minted;
use super::{Api, Opening, Scene, session_headers, visitor_of};
use crate::access::{CallGrant, CallTarget, Caller, Credential, Principal, Proven};
use crate::bot::{Bot, Vendor, Visibility};
use crate::fault::{Code, Fault};
use crate::session::{Opened, Wish};
use crate::telemetry::traces::Span;
use crate::vendor::{Accept, Place, Reply, Values, Variable};

impl Api {
    /// Answers the session call of `vendor`; `values` are those of the placeholders in its path.
    ///
    /// # Errors
    ///
    /// Why there is no session.
    pub async fn accept(
        self: &Arc<Self>,
        vendor: &Vendor,
        values: &[&str],
        caller: &Caller,
        request: Request<impl Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin>,
        scene: &Scene,
    ) -> Result<Response<Bytes>, Fault> {
        let (head, body) = request.into_parts();
        let accept = vendor.profile.accept.as_ref().ok_or_else(missing)?;
        let mut asked = Asked::new(&head.headers, head.uri.query());
        let longest = self.access.directory.longest_body(vendor);
        // Who calls, and for which bot, may stand in the body; else it is read only for a caller who may.
        let is_early = [Some(&accept.credential), accept.bot.as_ref()].into_iter().flatten().any(is_in_body);
        let (mut coming, mut held) = (Some(body), None);
        if is_early && let Some(body) = coming.take() {
            let early = held.insert(self.intake.unproven().json(&head.headers, body, longest).await?);
            asked = asked.with_body(early)?;
        }
        let slot = match &accept.credential {
            Place::Header(_) => None,
            place => asked.text(place)?,
        };
        let credential = Credential::presented(&head.headers, accept.credential.header(), slot.as_deref(), false)?;
        let principal = self.access.identify(credential, caller)?;
        let name = match &accept.bot {
            Some(place) => asked.text(place)?,
            None => accept.call.bot_in(values).map(str::to_owned),
        };
        let bot = Arc::clone(self.meant(vendor, accept, name.as_deref(), &principal)?);
        // Only the first bot counts, and there is one.
        let _first = scene.bot.set(Arc::clone(&bot));
        let grant = self.grant(&bot, principal, caller, scene).await?;
        // One that was read early was let in by the longest of the vendor's bots.
        let mut held = held.map(|body| body.within(bot.limits.body)).transpose()?;
        if let Some(body) = coming {
            let body = held.insert(self.intake.json(&head.headers, body, bot.limits.body).await?);
            asked = asked.with_body(body)?;
        }
        let wish = asked.wish(accept)?;
        let once = self.once(&head, held.as_deref().unwrap_or_default(), &grant, caller, Some(accept))?;
        let address = visitor_of(&grant, caller);
        let (event, span) = (opening(&grant, scene.trace), caller.span.clone());
        let minted = self.make_once(once, Opening { grant, wish, address, event, span }, minted).await?;
        let _first = scene.session.set(minted.session);
        Ok(minted.response)
    }

    /// The bot that the call is about.
    fn meant(
        &self,
        vendor: &Vendor,
        accept: &Accept,
        name: Option<&str>,
        principal: &Principal,
    ) -> Result<&Arc<Bot>, Fault> {
        let directory = &self.access.directory;
        if let Some(name) = name {
            return directory.bot_of(vendor, name).ok_or_else(|| unknown_bot("there is no bot of this name"));
        }
        if let Some(place) = &accept.bot {
            return Err(unknown_bot(format!("the call names no bot; `{}` says which", place.name())));
        }
        match principal.proven() {
            Proven::Client(client) => directory.only_bot_of(vendor, |bot| bot.is_owned_by(&client.name)),
            Proven::Page(origin) => {
                let is_meant = |bot: &Bot| bot.visibility == Visibility::Public && bot.origins.allows(origin);
                directory.only_bot_of(vendor, is_meant).map_err(|fault| match fault.code() {
                    Code::OwnerRequired => {
                        Fault::new(Code::OriginNotAllowed, "pages of this origin may use no bot here")
                    }
                    _ => fault,
                })
            }
            Proven::Session(_) | Proven::Anonymous => Err(Fault::new(
                Code::CredentialRequired,
                "send a client credential, or call from a web page of an origin that the bot allows",
            )),
        }
    }
}

async fn minted(api: Arc<Api>, opening: Opening) -> Result<Minted, Fault> {
    let (opened, wish) = api.open(&opening).await?;
    let bot = opening.grant.bot();
    let accept = bot.profile.accept.as_ref().or(bot.vendor.profile.accept.as_ref()).ok_or_else(missing)?;
    let response = reply(accept, bot, &opened, &wish)?;
    Ok(Minted::new(&opened.session, response))
}

fn is_in_body(place: &Place) -> bool {
    place.body().is_some()
}

fn unknown_bot(detail: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(Code::UnknownBot, detail)
}

/// A profile without `[accept]` has no such call in the table.
fn missing() -> Fault {
    Fault::new(Code::NotFound, "there is no such call")
}

fn reply(accept: &Accept, bot: &Bot, opened: &Opened, wish: &Wish) -> Result<Response<Bytes>, Fault> {
    let values = ReplyValues { bot, opened, wish: Some(wish) };
    let (media, body) = match &accept.reply {
        Reply::Text(template) => ("text/plain; charset=utf-8", template.fill(&values)),
        Reply::Json(shape) => ("application/json", shape.fill(&values).map(|value| value.to_string())),
    };
    let body = body.ok_or_else(|| Fault::new(Code::Internal, "the answer could not be made"))?;
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = accept.status;
    *response.headers_mut() = session_headers(opened)?;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(response)
}

impl Api {
    /// A new token of the session, as the vendor's own clients ask for one and read it.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn renewed_by_route(
        &self,
        grant: &CallGrant,
        target: &CallTarget<'_>,
        scene: &Scene,
        span: &Span,
    ) -> Result<Response<Bytes>, Fault> {
        let renewing =
            grant.renewing().ok_or_else(|| Fault::new(Code::SessionTokenRequired, "send a session's token"))?;
        let opened = self.renewed(&renewing, grant.bot().ttl.default, span, scene).await?;
        let values = ReplyValues { bot: grant.bot(), opened: &opened, wish: None };
        let members = &grant.route(target).answer;
        let body: Map<String, Value> =
            members.iter().filter_map(|(name, shape)| Some((name.clone(), shape.fill(&values)?))).collect();
        let mut response = Response::new(Bytes::from(Value::Object(body).to_string()));
        *response.headers_mut() = session_headers(&opened)?;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

/// What the placeholders of the answer stand for.
struct ReplyValues<'r> {
    bot: &'r Bot,
    opened: &'r Opened,
    /// What was asked for, where a session was opened.
    wish: Option<&'r Wish>,
}

impl Values for ReplyValues<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        let Opened { session, vendor_session, token, .. } = self.opened;
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let value = match variable {
            Variable::Bot => Some(self.bot.vendor_id_json()),
            Variable::Session => Some(json!(vendor_session)),
            Variable::Token => Some(json!(token.expose())),
            Variable::ExpiresMs => Some(json!(session.expires.millis())),
            Variable::Ttl => Some(json!(session.expires.since(session.issued).as_secs())),
            Variable::Contact => session.contact.to_json(),
            Variable::ContactName => text(&session.contact.name),
            Variable::ContactEmail => text(&session.contact.email),
            Variable::ContactPhone => text(&session.contact.phone),
            // The list is always there in an answer, also when it is empty.
            Variable::Messages => Some(Value::from(self.wish.map(|wish| wish.messages.clone()).unwrap_or_default())),
            Variable::Meta => self.wish.and_then(|wish| wish.meta.clone()),
            Variable::MetaMember(name) => self.wish?.meta.as_ref().and_then(|meta| meta.get(&**name)).cloned(),
            Variable::Visit => text(&self.wish?.visit),
            Variable::Subject => Some(json!(session.subject)),
            Variable::Answer => self.opened.answer.clone(),
            Variable::AnswerMember(name) => self.opened.answer.as_ref().and_then(|answer| answer.get(&**name)).cloned(),
            // Secrets have no place in an answer, whatever a profile says.
            Variable::Key | Variable::VendorToken => None,
            Variable::Query(_) | Variable::Segment(_) | Variable::Nothing => None,
        };
        value.map(Cow::Owned)
    }
}

//! A vendor's session call, as that vendor's own clients send it: answered in the vendor's status and shape.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::members::{members, take};
use super::{Api, Scene, session_headers};
use crate::access::{Caller, Credential};
use crate::bot::{Bot, Vendor};
use crate::fault::{Code, Fault};
use crate::session::{Opened, RawWish, Wish};
use crate::vendor::{Accept, Reply, Values, Variable};

impl Api {
    /// Answers the session call of `vendor`; `values` are those of the placeholders in its path.
    ///
    /// # Errors
    ///
    /// Why there is no session.
    pub async fn accept(
        &self,
        vendor: &Vendor,
        values: &[&str],
        caller: &Caller,
        request: Request<Incoming>,
        scene: &Scene,
    ) -> Result<Response<Bytes>, Fault> {
        let (head, body) = request.into_parts();
        let accept = vendor.profile.accept.as_ref().ok_or_else(missing)?;
        let name = accept.bot_in(values).ok_or_else(missing)?;
        let credential = Credential::presented(&head.headers, Some(&accept.credential), false)?;
        let Some(bot) = self.access.directory.bot_of(vendor, name).map(Arc::clone) else {
            return Err(self.unknown_bot(credential, caller));
        };
        // Only the first bot counts, and there is one.
        let _first = scene.bot.set(Arc::clone(&bot));
        let grant = self.grant(&bot, credential, caller)?;
        let body = self.intake.json(&head.headers, body, bot.limits.body).await?;
        let wish = raw_wish(accept, &body)?;
        let (opened, wish) = self.open(&grant, &wish).await?;
        let _first = scene.session.set(opened.session.id.clone());
        reply(accept, &bot, &opened, &wish)
    }
}

/// A profile without `[accept]` has no such call in the table.
fn missing() -> Fault {
    Fault::new(Code::NotFound, "there is no such call")
}

/// What the vendor's own fields say; others are the vendor's business, and there is nobody to pass them to.
fn raw_wish(accept: &Accept, body: &[u8]) -> Result<RawWish, Fault> {
    let mut members = members(body)?;
    let mut field = |name: &Option<String>| match name {
        Some(name) => take(&mut members, name),
        None => Ok(None),
    };
    let fields = &accept.fields;
    Ok(RawWish {
        ttl: field(&fields.ttl)?,
        contact: field(&fields.contact)?,
        messages: field(&fields.messages)?,
        meta: field(&fields.meta)?,
        visit: field(&fields.visit)?,
        origin: None,
    })
}

fn reply(accept: &Accept, bot: &Bot, opened: &Opened, wish: &Wish) -> Result<Response<Bytes>, Fault> {
    let values = ReplyValues { bot, opened, wish };
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

/// What the placeholders of the answer stand for.
struct ReplyValues<'r> {
    bot: &'r Bot,
    opened: &'r Opened,
    wish: &'r Wish,
}

impl Values for ReplyValues<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        let Opened { session, vendor_session, token } = self.opened;
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
            Variable::Messages => Some(Value::from(self.wish.messages.clone())),
            Variable::Meta => self.wish.meta.clone(),
            Variable::Visit => text(&self.wish.visit),
            Variable::Subject => Some(json!(session.subject)),
            // Secrets have no place in an answer, whatever a profile says.
            Variable::Key | Variable::VendorToken | Variable::Segment(_) => None,
        };
        value.map(Cow::Owned)
    }
}

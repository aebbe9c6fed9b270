//! What the placeholders of the gateway's own calls stand for.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::wish::Wish;
use crate::bot::Bot;
use crate::secret::Secret;
use crate::token::{Contact, ContactSource, VendorSession};
use crate::vendor::{Values, Variable};

/// The values of one call.
pub(super) struct OwnValues<'c> {
    pub(super) bot: &'c Bot,
    pub(super) key: &'c Secret,
    pub(super) contact: &'c Contact,
    pub(super) source: Option<ContactSource>,
    pub(super) subject: &'c str,
    pub(super) visit: Option<&'c str>,
    pub(super) meta: Option<&'c Value>,
    pub(super) messages: &'c [Value],
    /// In seconds; where a session is opened.
    pub(super) ttl: Option<u64>,
    /// What the vendor gave for the session; where there is one.
    pub(super) session: Option<&'c VendorSession>,
    pub(super) vendor_token: Option<&'c Secret>,
}

impl<'c> OwnValues<'c> {
    /// Those of the session call.
    pub(super) fn of_opening(
        bot: &'c Bot,
        key: &'c Secret,
        wish: &'c Wish,
        source: Option<ContactSource>,
        subject: &'c str,
    ) -> Self {
        Self {
            bot,
            key,
            contact: &wish.contact,
            source,
            subject,
            visit: wish.visit.as_deref(),
            meta: wish.meta.as_ref(),
            messages: &wish.messages,
            ttl: Some(wish.ttl.as_secs()),
            session: None,
            vendor_token: None,
        }
    }

    /// Whether what is known of the visitor is a browser's word.
    pub(super) fn is_claimed(&self) -> bool {
        self.source == Some(ContactSource::Claimed)
    }
}

impl Values for OwnValues<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        let contact = self.contact;
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let value = match variable {
            Variable::Key => Some(json!(self.key.expose())),
            Variable::Bot => Some(self.bot.vendor_id_json()),
            Variable::Session => self.session.map(|session| json!(session)),
            Variable::VendorToken => self.vendor_token.map(|token| json!(token.expose())),
            Variable::Ttl => self.ttl.map(Value::from),
            Variable::Contact => contact.to_json(),
            Variable::ContactName => text(&contact.name),
            Variable::ContactEmail => text(&contact.email),
            Variable::ContactPhone => text(&contact.phone),
            Variable::Messages => (!self.messages.is_empty()).then(|| Value::from(self.messages)),
            Variable::Meta => self.meta.cloned(),
            Variable::MetaMember(name) => self.meta.and_then(|meta| meta.get(&**name)).cloned(),
            Variable::Visit => self.visit.map(Value::from),
            Variable::Subject => Some(json!(self.subject)),
            Variable::Token
            | Variable::ExpiresMs
            | Variable::Answer
            | Variable::AnswerMember(_)
            | Variable::Query(_)
            | Variable::Segment(_)
            | Variable::Nothing => None,
        };
        value.map(Cow::Owned)
    }
}

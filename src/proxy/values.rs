//! What the placeholders of a proxied call stand for.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::access::{CallGrant, CallTarget};
use crate::token::VendorSession;
use crate::vendor::{Segment, Values, Variable};

/// The values of one call.
pub(super) struct CallValues<'c> {
    pub(super) grant: &'c CallGrant,
    pub(super) target: &'c CallTarget<'c>,
}

impl CallValues<'_> {
    fn segment(&self, wanted: &str) -> Option<&str> {
        let segments = &self.target.route.call.segments;
        let placeholders = segments.iter().filter(|segment| !matches!(segment, Segment::Literal(_)));
        placeholders.zip(self.target.values).find_map(|(segment, value)| match segment {
            Segment::Free(name) if name == wanted => Some(*value),
            _ => None,
        })
    }
}

impl Values for CallValues<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        let verified = self.grant.verified();
        let value = match variable {
            Variable::Bot => self.grant.bot().vendor_id_json(),
            Variable::Session => json!(verified.binding.session.as_ref()?),
            Variable::Contact => verified.session.contact.to_json()?,
            other => json!(self.text(other)?),
        };
        Some(Cow::Owned(value))
    }

    fn text(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        let verified = self.grant.verified();
        let contact = &verified.session.contact;
        match variable {
            Variable::Key => self.grant.key().map(|key| key.expose()),
            Variable::Bot => Some(self.grant.bot().vendor_id.as_str()),
            Variable::Session => match verified.binding.session.as_ref()? {
                VendorSession::Text(text) => Some(text.as_str()),
                VendorSession::Integer(integer) => return Some(Cow::Owned(integer.to_string())),
            },
            Variable::VendorToken => verified.binding.token.as_ref().map(|token| token.expose()),
            Variable::ContactName => contact.name.as_deref(),
            Variable::ContactEmail => contact.email.as_deref(),
            Variable::ContactPhone => contact.phone.as_deref(),
            Variable::Subject => Some(verified.session.subject.as_str()),
            Variable::Segment(name) => self.segment(name),
            Variable::Contact
            | Variable::Visit
            | Variable::Ttl
            | Variable::Messages
            | Variable::Meta
            | Variable::Token
            | Variable::ExpiresMs => None,
        }
        .map(Cow::Borrowed)
    }
}

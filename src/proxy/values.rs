//! What the placeholders of a proxied call stand for.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::query::parameter_as_written;
use crate::access::{CallGrant, CallTarget};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::token::{ContactSource, VendorSession, Verified};
use crate::vendor::{Segment, Values, Variable};

/// The values of one call.
pub(super) struct CallValues<'c> {
    pub(super) grant: &'c CallGrant,
    pub(super) target: &'c CallTarget<'c>,
}

impl CallValues<'_> {
    /// Whether what is known of the visitor is a browser's word.
    pub(super) fn is_claimed(&self) -> bool {
        self.verified().is_some_and(|verified| verified.session.source == Some(ContactSource::Claimed))
    }

    fn verified(&self) -> Option<&Verified> {
        self.grant.session().map(AsRef::as_ref)
    }

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
        let value = match variable {
            Variable::Bot => self.grant.bot().vendor_id_json(),
            Variable::Session => json!(self.verified()?.binding.session.as_ref()?),
            Variable::Contact => self.verified()?.session.contact.to_json()?,
            other => json!(self.text(other)?),
        };
        Some(Cow::Owned(value))
    }

    fn text(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        let contact = || Some(&self.verified()?.session.contact);
        match variable {
            Variable::Key => self.grant.key().map(|key| key.expose()),
            Variable::Bot => Some(self.grant.bot().vendor_id.as_str()),
            Variable::Session => match self.verified()?.binding.session.as_ref()? {
                VendorSession::Text(text) => Some(text.as_str()),
                VendorSession::Integer(integer) => return Some(Cow::Owned(integer.to_string())),
            },
            Variable::VendorToken => self.verified()?.binding.token.as_ref().map(|token| token.expose()),
            Variable::ContactName => contact()?.name.as_deref(),
            Variable::ContactEmail => contact()?.email.as_deref(),
            Variable::ContactPhone => contact()?.phone.as_deref(),
            Variable::Subject => {
                let verified = self.verified()?;
                Some(verified.binding.opened_as.as_ref().unwrap_or(&verified.session.subject).as_str())
            }
            Variable::Segment(name) => self.segment(name),
            Variable::Contact
            | Variable::Visit
            | Variable::Ttl
            | Variable::Messages
            | Variable::Meta
            | Variable::MetaMember(_)
            | Variable::Token
            | Variable::ExpiresMs
            | Variable::Answer
            | Variable::AnswerMember(_)
            | Variable::Query(_)
            | Variable::Nothing => None,
        }
        .map(Cow::Borrowed)
    }
}

/// The same for an answer, where our own token has a place, and the time that it has left.
pub(super) struct AnswerValues<'c> {
    pub(super) call: CallValues<'c>,
    /// Nothing where an owner calls.
    pub(super) token: Option<&'c Secret>,
    /// The query of the call, without `?`.
    pub(super) query: Option<&'c str>,
    pub(super) now: Timestamp,
}

impl Values for AnswerValues<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        let value = match variable {
            Variable::Token => json!(self.token?.expose()),
            Variable::ExpiresMs => json!(self.call.grant.expires()?.millis()),
            Variable::Ttl => json!(self.call.grant.expires()?.since(self.now).as_secs()),
            Variable::Query(name) => json!(parameter_as_written(self.query, name)),
            // Secrets have no place in an answer, whatever a profile says.
            Variable::Key | Variable::VendorToken => return None,
            other => return self.call.value(other),
        };
        Some(Cow::Owned(value))
    }
}

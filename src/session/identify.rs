//! A visitor becomes known after the opening: to the vendor, then as a new token of the same session.

use tokio::time::Instant;

use super::call::{CallError, LONGEST_CALL, OwnCall};
use super::open::{Opened, Opener};
use super::values::OwnValues;
use super::wish::Recognition;
use crate::access::ContactGrant;
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::telemetry::traces::Span;
use crate::token::{Contact, ContactSource, Session};
use crate::vendor::{Set, Variable};

/// Why the vendor was not told.
#[derive(Debug)]
pub struct Unidentified {
    /// What the caller is told.
    pub fault: Fault,
    /// Whether it may have been told all the same.
    pub is_lost: bool,
}

impl From<Fault> for Unidentified {
    fn from(fault: Fault) -> Self {
        Self { fault, is_lost: false }
    }
}

impl Opener {
    /// The session with its visitor known, and a token that says so. It ends when the one before it would have ended.
    ///
    /// # Errors
    ///
    /// No token can be made.
    pub fn named(&self, grant: &ContactGrant, recognition: &Recognition) -> Result<Opened, Fault> {
        let (verified, contact) = (grant.verified(), &recognition.contact);
        // Who is known already keeps the pseudonym, also without anything that one could be derived from.
        let subject = if grant.is_recognised() {
            verified.session.subject.clone()
        } else {
            self.subject(&grant.client().name, ContactSource::Asserted, contact)
        };
        let session = Session {
            subject,
            contact: contact.clone(),
            source: Some(ContactSource::Asserted),
            issued: Timestamp::from_seconds(self.clock.now().seconds()),
            ..verified.session.clone()
        };
        let mut binding = verified.binding.clone();
        if binding.opened_as.is_none() && session.subject != verified.session.subject {
            binding.opened_as = Some(verified.session.subject.clone());
        }
        self.with_token(session, &binding)
    }

    /// Tells the vendor who the visitor is, where its profile has a call for that.
    ///
    /// # Errors
    ///
    /// What is wrong with the vendor.
    pub async fn identify(
        &self,
        grant: &ContactGrant,
        recognition: &Recognition,
        subject: &str,
        span: &Span,
    ) -> Result<(), Unidentified> {
        let (bot, verified) = (grant.bot(), grant.verified());
        let Some(identify) = &bot.profile.identify else { return Ok(()) };
        let key = grant.key().ok_or_else(|| Fault::new(Code::Internal, "the vendor has no key"))?;
        bot.vendor.keys.take(grant.key_place(), self.clock.now()).map_err(Fault::from)?;
        let purpose = "take in who the visitor is";
        let (target, set, now) = (&identify.target, &identify.set, self.clock.now());
        let who = verified.number;
        let call = OwnCall { bot, target, set, purpose, now, who, span };
        let values = OwnValues {
            bot,
            key,
            contact: &recognition.contact,
            source: Some(ContactSource::Asserted),
            subject,
            visit: recognition.visit.as_deref(),
            meta: recognition.meta.as_ref(),
            messages: &[],
            ttl: None,
            session: verified.binding.session.as_ref(),
            vendor_token: verified.binding.token.as_ref(),
        };
        let made = call.make(&values, Instant::now() + LONGEST_CALL).await;
        made.map(drop).map_err(|error| Unidentified {
            is_lost: matches!(error, CallError::Lost(_)),
            fault: self.unidentified(error, grant, &identify.set),
        })
    }

    /// Whether a token that says who its visitor is says that it is `contact`. Where the configuration leaves contacts out of
    /// tokens, the pseudonym tells.
    pub fn is_same_visitor(&self, grant: &ContactGrant, contact: &Contact) -> bool {
        let session = &grant.verified().session;
        if session.contact.is_empty() {
            let owners = [&session.client, &grant.client().name];
            return owners.iter().any(|owner| session.subject == self.subject(owner, ContactSource::Asserted, contact));
        }
        session.contact.is_same_as(contact)
    }

    /// What the caller is told. The call is not repeated, but where it carried the account key, an answer about that sets
    /// it aside for new sessions.
    fn unidentified(&self, error: CallError, grant: &ContactGrant, set: &Set) -> Fault {
        if let CallError::AboutKey { refusal, .. } = &error
            && set.variables().contains(&&Variable::Key)
        {
            self.refuse(grant.bot(), grant.key_place(), *refusal);
        }
        error.into_fault()
    }
}

//! The claims of a token, as JSON (RFC 7519 §4, RFC 9068 §2.2, OpenID Connect Core §5.1).
//!
//! What we know is read strictly: moments are integers, `aud` is one string. What we do not know is let pass, so that
//! a replica of the next version can add a claim; but nothing may stand there twice.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::jws::object;
use super::refusal::{Part, Refusal};
use super::session::{Contact, Session};
use crate::clock::Timestamp;

/// What a session token is good for. There is no other scope yet, and a token of another is none of ours.
pub(super) const SCOPE: &str = "conversation";

/// All claims of a session token.
#[derive(Deserialize, Serialize)]
pub(super) struct Claims<'c> {
    #[serde(borrow)]
    pub(super) iss: Cow<'c, str>,
    #[serde(borrow)]
    pub(super) aud: Cow<'c, str>,
    #[serde(borrow)]
    sub: Cow<'c, str>,
    #[serde(borrow)]
    pub(super) sid: Cow<'c, str>,
    #[serde(borrow)]
    pub(super) jti: Cow<'c, str>,
    iat: u64,
    pub(super) nbf: u64,
    exp: u64,
    auth_time: u64,
    #[serde(borrow)]
    client_id: Cow<'c, str>,
    #[serde(borrow)]
    pub(super) bot: Cow<'c, str>,
    #[serde(borrow)]
    cid: Cow<'c, str>,
    #[serde(borrow)]
    pub(super) scope: Cow<'c, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Cow<'c, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'c, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<Cow<'c, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<Cow<'c, str>>,
    #[serde(borrow)]
    pub(super) bnd: Cow<'c, str>,
}

impl<'c> Claims<'c> {
    /// How many seconds it lives.
    pub(super) fn life(&self) -> u64 {
        self.exp.saturating_sub(self.iat)
    }

    /// The claims of a new token. `contact` is what stands in the open, which may be less than the session's.
    pub(super) fn new(issuer: &'c str, session: &'c Session, contact: &'c Contact, jti: &'c str, bnd: String) -> Self {
        Self {
            iss: issuer.into(),
            aud: issuer.into(),
            sub: session.subject.as_str().into(),
            sid: session.id.as_str().into(),
            jti: jti.into(),
            iat: session.issued.seconds(),
            nbf: session.issued.seconds(),
            exp: session.expires.seconds(),
            auth_time: session.opened.seconds(),
            client_id: session.client.as_str().into(),
            bot: session.bot.as_str().into(),
            cid: session.conversation.as_str().into(),
            scope: SCOPE.into(),
            origin: session.origin.as_deref().map(Cow::from),
            name: contact.name.as_deref().map(Cow::from),
            email: contact.email.as_deref().map(Cow::from),
            email_verified: contact.email.is_some().then_some(contact.email_verified),
            phone_number: contact.phone.as_deref().map(Cow::from),
            bnd: bnd.into(),
        }
    }

    /// Reads them; says nothing yet about whether they are good.
    pub(super) fn parse(json: &'c str) -> Result<Self, Refusal> {
        object(json, Part::Claims)
    }

    /// The session that they describe, with the contact of the claims and without what is under seal.
    pub(super) fn into_session(self) -> Session {
        let contact = Contact {
            email_verified: self.email.is_some() && self.email_verified == Some(true),
            name: self.name.map(Cow::into_owned),
            email: self.email.map(Cow::into_owned),
            phone: self.phone_number.map(Cow::into_owned),
        };
        Session {
            id: self.sid.into_owned(),
            bot: self.bot.into_owned(),
            conversation: self.cid.into_owned(),
            client: self.client_id.into_owned(),
            subject: self.sub.into_owned(),
            origin: self.origin.map(Cow::into_owned),
            contact,
            source: None,
            opened: Timestamp::from_seconds(self.auth_time),
            issued: Timestamp::from_seconds(self.iat),
            expires: Timestamp::from_seconds(self.exp),
        }
    }
}

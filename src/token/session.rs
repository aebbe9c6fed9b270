//! What a token says: the session in the open, the binding under seal.
//!
//! A [`Binding`] holds what must never be shown (the vendor's token, which key opened the session), and a [`Contact`]
//! is personal data: neither is in any `Debug` output.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::secret::Secret;

/// What a token says of its session. The moments count in whole seconds, and what is finer is cut off at minting; but for
/// the opening, whose milliseconds are under seal: an end of a contact's or bot's sessions is of those opened before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The gateway's id of the session: `sid`.
    pub id: String,
    /// The bot, by the gateway's name: `bot`.
    pub bot: String,
    /// The conversation as clients know it: `cid`.
    pub conversation: String,
    /// Who minted, `public` where nobody did: `client_id`.
    pub client: String,
    /// Whose session it is, as a pseudonym: `sub`.
    pub subject: String,
    /// The only web origin the token is good from, if it was minted for one: `origin`.
    pub origin: Option<String>,
    /// Who the visitor is said to be; empty after verification where the token does not keep it.
    pub contact: Contact,
    /// Who said so; always under seal.
    pub source: Option<ContactSource>,
    /// When the session was opened; survives renewal: `auth_time`.
    pub opened: Timestamp,
    /// When this token was made, and from when it is good: `iat` and `nbf`.
    pub issued: Timestamp,
    /// When this token ends: `exp`.
    pub expires: Timestamp,
}

impl Session {
    /// Whether a path that names it so means this one.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.id || name == self.conversation
    }

    /// Whether somebody else than a browser says who the visitor is.
    pub fn is_vouched(&self) -> bool {
        matches!(self.source, Some(ContactSource::Asserted | ContactSource::Verified))
    }
}

/// Who a visitor is said to be.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// The full name: `name`.
    pub name: Option<String>,
    /// The email address: `email`.
    pub email: Option<String>,
    /// The phone number: `phone_number`.
    pub phone: Option<String>,
    /// Whether an identity provider has checked the email address: `email_verified`. Says nothing without an address,
    /// and does not survive a token then.
    pub email_verified: bool,
}

impl Contact {
    /// Whether nothing is known of the visitor.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.email.is_none() && self.phone.is_none()
    }

    /// Whose this is, for a pseudonym: the email address, else the phone number. Of an address only ASCII letters are the same
    /// in both cases: in all of Unicode the Kelvin sign is a `k`, and the mailbox another one.
    pub fn identity(&self) -> Option<String> {
        self.email.as_ref().map(|email| email.to_ascii_lowercase()).or_else(|| self.phone.clone())
    }

    /// Whether both are the same visitor, whose address may be spelt otherwise, and who may have another name by now.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }

    /// What is of the visitor alone: address and phone number, and where there is neither the name.
    pub fn parts(&self) -> [String; 3] {
        let owned = |text: &Option<String>| text.clone().unwrap_or_default();
        let (email, phone) = (owned(&self.email).to_ascii_lowercase(), owned(&self.phone));
        let name = if email.is_empty() && phone.is_empty() { owned(&self.name) } else { String::new() };
        [email, phone, name]
    }

    /// What is known of the visitor, as an object; nothing if nothing is.
    pub fn to_json(&self) -> Option<Value> {
        let members = [("name", &self.name), ("email", &self.email), ("phone", &self.phone)];
        let known: Map<String, Value> = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value.as_deref()?))))
            .collect();
        (!known.is_empty()).then_some(Value::Object(known))
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = |value: &Option<String>| value.as_ref().map(|_| "…");
        formatter
            .debug_struct("Contact")
            .field("name", &masked(&self.name))
            .field("email", &masked(&self.email))
            .field("phone", &masked(&self.phone))
            .field("email_verified", &self.email_verified)
            .finish()
    }
}

/// Who said who the visitor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContactSource {
    /// A browser.
    Claimed,
    /// An owner's client.
    Asserted,
    /// An identity provider.
    Verified,
}

impl ContactSource {
    /// As records and answers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Asserted => "asserted",
            Self::Verified => "verified",
        }
    }
}

/// A vendor's id of a session, with the JSON type that the vendor gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VendorSession {
    /// A string.
    Text(String),
    /// A number.
    Integer(i64),
}

impl fmt::Display for VendorSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => formatter.write_str(text),
            Self::Integer(integer) => integer.fmt(formatter),
        }
    }
}

/// What a call needs of the vendor's session, and what must still be so today for the call to be sent.
#[derive(Clone)]
pub struct Binding {
    /// The vendor, by the gateway's name.
    pub vendor: String,
    /// The name of its profile.
    pub profile: String,
    /// The digest of its base URL.
    pub base: [u8; 16],
    /// The vendor's own id of the bot.
    pub bot: String,
    /// The fingerprint of the vendor key that opened the session, see [`super::Authority::fingerprint`].
    pub key: [u8; 32],
    /// The vendor's id of the session, where it has one.
    pub session: Option<VendorSession>,
    /// The vendor's token for the session, where it has one.
    pub token: Option<Secret>,
    /// The pseudonym under which the session was opened at the vendor, where the visitor became known since and has
    /// another: the vendor's token stays bound to it.
    pub opened_as: Option<String>,
    /// When the vendor's session, or its token, ends, where the vendor said so.
    pub ends: Option<Timestamp>,
}

impl fmt::Debug for Binding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `key` is left out although it is only a fingerprint: which key opened a session is nobody's business.
        formatter
            .debug_struct("Binding")
            .field("vendor", &self.vendor)
            .field("profile", &self.profile)
            .field("base", &self.base)
            .field("bot", &self.bot)
            .field("session", &self.session)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// A token whose signature, claims and seal were found good. Only this module can make one.
///
/// It is evidence of what the token says, not of a permission: origin, bot, client, revocation and limits are judged
/// anew at each call.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What the token says of its session.
    pub session: Session,
    /// That session's number.
    pub number: u128,
    /// What a call needs of the vendor's session.
    pub binding: Binding,
    /// Until when anything that this key signed is good, where another has taken its place.
    pub(super) key_until: Option<Timestamp>,
    /// From when it is good, `nbf`. We mint it equal to `iat`; it is kept for the check at each use.
    pub(super) not_before: Timestamp,
    /// When it was last found not to have ended before its time.
    pub judged: Judged,
}

/// A number that rises with each revocation of the process: the one at which a token was judged last.
#[derive(Debug, Default)]
pub struct Judged(AtomicU64);

impl Judged {
    /// Whether it was judged at `epoch`.
    pub fn is(&self, epoch: u64) -> bool {
        self.0.load(Ordering::Relaxed) == epoch
    }

    /// Notes that it was.
    pub fn set(&self, epoch: u64) {
        self.0.store(epoch, Ordering::Relaxed);
    }
}

impl Clone for Judged {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

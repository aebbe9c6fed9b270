//! What is kept of a session.

use crate::clock::Timestamp;

/// A session as the store keeps it: nothing in it is a secret, but a contact is somebody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The gateway's session id, the claim `sid`.
    pub id: String,
    /// The bot's name.
    pub bot: String,
    /// Who opened it: a client's name, or `public`.
    pub client: String,
    /// The contact's `sub`.
    pub subject: String,
    /// The vendor's session id, or the gateway's own where the vendor has none.
    pub conversation: String,
    /// Where the contact came from, if there is one: claimed, asserted or verified.
    pub source: Option<String>,
    /// The contact as JSON, where it is to be kept.
    pub contact: Option<String>,
    /// The page's origin.
    pub origin: Option<String>,
    /// The visitor's address, as limits count it.
    pub address: Option<String>,
    /// When it was opened: the tokens' `auth_time`, with which watermarks are compared.
    pub opened: Timestamp,
    /// When its longest token ends.
    pub expires: Timestamp,
    /// When the session ends, however often it is renewed.
    pub ends: Timestamp,
    /// When it was revoked: itself, or its contact or its bot at or after its opening.
    pub ended: Option<Timestamp>,
    /// The digest of the contact that it was recognised as.
    pub known: Option<u128>,
    /// Whether tokens from before the recognition ended with it.
    pub ends_earlier: bool,
}

impl Record {
    /// What a cap of this kind counts by; nothing where the session has none.
    pub fn counted_by(&self, what: Counted) -> Option<&str> {
        match what {
            Counted::Contact => Some(&self.subject),
            Counted::Address => self.address.as_deref(),
        }
    }
}

/// How many live sessions of one bot there may be of one kind, the new one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// What is counted.
    pub what: Counted,
    /// How many.
    pub most: u32,
}

/// What a cap counts by, within a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The contact's `sub`.
    Contact,
    /// The visitor's address.
    Address,
}

impl Counted {
    /// As it is written in the store and in errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Address => "address",
        }
    }
}

/// Who an anonymous visitor turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Tells one contact from another.
    pub digest: u128,
    /// The contact's `sub`, from now on.
    pub subject: String,
    /// Where the contact came from.
    pub source: String,
    /// The contact as JSON, where it is to be kept.
    pub contact: Option<String>,
}

//! What is put on record.

use std::net::IpAddr;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::id::RequestId;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A session was opened, and its token handed out.
    Mint,
    /// A session got another token.
    Renew,
    /// The visitor of a session became known.
    Contact,
    /// A session was ended.
    Revoke,
    /// All sessions of a contact or a bot were ended.
    RevokeAll,
    /// Another configuration came into force.
    Reload,
}

impl Action {
    /// As records write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mint => "session.mint",
            Self::Renew => "session.renew",
            Self::Contact => "session.contact",
            Self::Revoke => "session.revoke",
            Self::RevokeAll => "sessions.revoke",
            Self::Reload => "configuration.reload",
        }
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// A client, by its name.
    Client(String),
    /// A page without a credential, by its origin: a browser's word.
    Page(String),
    /// Whoever had a token of this session.
    Bearer(String),
    /// An operator, by the name of the credential.
    Operator(String),
}

impl Who {
    /// Whoever has the operators' credential, of which there is one.
    pub fn operator() -> Self {
        Self::Operator("admin".to_owned())
    }
}

/// Where a call came from, and under which id it was answered.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    /// The address that it came from; nothing where it came through the admin listener's Unix socket.
    pub from: Option<IpAddr>,
    /// The id in its answer.
    pub request: RequestId,
}

/// Something that was done to sessions. All of it may be read by whoever reads the record.
#[derive(Clone, Debug)]
pub struct Event {
    /// What.
    pub action: Action,
    /// By whom.
    pub who: Who,
    /// In which call.
    pub trace: Trace,
    /// The bot, where it is of one.
    pub bot: Option<String>,
    /// The session, where it is one.
    pub session: Option<String>,
    /// The visitor, by the pseudonym.
    pub subject: Option<String>,
    /// Who said who the visitor is, where somebody did.
    pub source: Option<&'static str>,
    /// When the token ends that was handed out.
    pub expires: Option<Timestamp>,
    /// Whether it is an answer that was given before.
    pub replayed: bool,
}

impl Event {
    /// That somebody did this, in this call; what it was done to is still to be said.
    pub fn new(action: Action, who: Who, trace: Trace) -> Self {
        Self {
            action,
            who,
            trace,
            bot: None,
            session: None,
            subject: None,
            source: None,
            expires: None,
            replayed: false,
        }
    }
}

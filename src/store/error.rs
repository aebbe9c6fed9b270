//! Why the store did not do it.

use std::fmt;

/// Why the store did not do it. No text here holds a password, a contact or an address of a Redis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// As many sessions are live as may be; what was counted.
    #[error("too many live sessions of this {0}")]
    TooMany(&'static str),
    /// There is no such session.
    #[error("there is no such session")]
    Unknown,
    /// The session was revoked, or is over.
    #[error("the session has ended")]
    Ended,
    /// The session was recognised as another contact's.
    #[error("the session is another contact's")]
    Conflict,
    /// This store has no such operation.
    #[error("this store does not share rates")]
    Unsupported,
    /// The store cannot be reached, or cannot do it now.
    #[error("the store is away: {0}")]
    Away(String),
    /// The log has an entry that this version does not know: nobody here can say what is revoked.
    #[error("{0} of the store's log cannot be read; a later version wrote it, or it is damaged")]
    Unreadable(String),
    /// The store cannot be used as it is: an operator must do something.
    #[error("the store cannot be used: {0}")]
    Unusable(String),
}

impl StoreError {
    pub(super) fn away(why: impl fmt::Display) -> Self {
        Self::Away(why.to_string())
    }

    pub(super) fn unusable(why: impl fmt::Display) -> Self {
        Self::Unusable(why.to_string())
    }
}

//! Why a token is not accepted, not minted, or the keys cannot be used.

use std::io;
use std::path::PathBuf;

use crate::clock::Timestamp;
use crate::fault::{Code, Fault};

/// Why a presented token is refused. The variants are for the log and for `keystile token inspect`; a caller sees only
/// whether the token has expired, since a forger learns nothing from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not the compact form of three parts, or a part is not what it should be.
    #[error("the {0} of the token is malformed")]
    Malformed(Part),
    /// More than 8 KiB; it was not looked at.
    #[error("the token is longer than 8 KiB")]
    TooLong,
    /// A header member that is none of `alg`, `typ` and `kid`: `crit`, `jku`, `jwk`, `x5u`, `b64`, `zip` and so on.
    #[error("the header has a member other than alg, typ and kid")]
    ForbiddenHeader,
    /// `typ` is not `at+jwt`: a token for another use.
    #[error("typ is not at+jwt")]
    Type,
    /// No key here has this `kid`.
    #[error("kid names no key of this gateway")]
    UnknownKey,
    /// `alg` is not the algorithm of the key that `kid` names.
    #[error("alg is not the algorithm of the key")]
    Algorithm,
    /// The signature is not the key's for this text.
    #[error("the signature is wrong")]
    Signature,
    /// `iss` is somebody else.
    #[error("iss is not this gateway")]
    Issuer,
    /// `aud` is somebody else.
    #[error("aud is not this gateway")]
    Audience,
    /// `scope` is one that this version does not know.
    #[error("scope is not conversation")]
    Scope,
    /// `exp` has passed by more than the leeway.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is further ahead than the leeway.
    #[error("the token is not good yet")]
    NotYet,
    /// The sealed binding does not open for this token: it is another token's, or its key is gone.
    #[error("the sealed binding does not open")]
    Binding,
}

/// A part of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The three parts and the dots between them.
    Form,
    /// The first part.
    Header,
    /// The second part.
    Claims,
}

impl std::fmt::Display for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Form => "form",
            Self::Header => "header",
            Self::Claims => "claims",
        })
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (code, detail) = match refusal {
            Refusal::Expired => (
                Code::TokenExpired,
                "the token has expired; renew a token before its `expiresAt`, or open a new session",
            ),
            Refusal::Malformed(_) => (
                Code::InvalidToken,
                "this is no session token; send it whole and unchanged, as it was given, or the credential of a client \
                 where a session is opened",
            ),
            Refusal::TooLong => (
                Code::InvalidToken,
                "the token is longer than 8 KiB; send one session token of this gateway and nothing else",
            ),
            Refusal::NotYet => (Code::InvalidToken, "the token is not good yet"),
            Refusal::ForbiddenHeader
            | Refusal::Type
            | Refusal::UnknownKey
            | Refusal::Algorithm
            | Refusal::Signature
            | Refusal::Issuer
            | Refusal::Audience
            | Refusal::Scope
            | Refusal::Binding => (
                Code::InvalidToken,
                "the token is not a session token of this gateway; open a new session and send its token unchanged",
            ),
        };
        Self::new(code, detail).because(refusal)
    }
}

/// Why a token was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// It would not fit where tokens must fit: headers of proxies and servers on the way.
    #[error("the token would be {length} bytes long, more than 4 KiB")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// The claims could not be written as JSON, or the binding as CBOR.
    #[error("the claims or the binding cannot be encoded")]
    Encode,
    /// The binding could not be sealed.
    #[error("the binding cannot be sealed")]
    Seal,
    /// The key could not sign.
    #[error("the key cannot sign")]
    Sign,
}

impl From<MintError> for Fault {
    fn from(error: MintError) -> Self {
        match error {
            MintError::TooLarge { .. } => Self::new(
                Code::BindingTooLarge,
                "what the vendor gave for this session does not fit into a token of 4 KiB; nothing was minted",
            ),
            MintError::Encode | MintError::Seal | MintError::Sign => {
                Self::new(Code::Internal, "the token could not be made")
            }
        }
        .because(error)
    }
}

/// Why the key directory cannot be used. Holds paths and reasons, never contents.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Others than the owner may read or write the keys.
    #[error("{} can be accessed by others (mode {mode:03o}); run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is there, but is not a key file of ours. It is left as it is: it may hold the only copy of a key.
    #[error("{} cannot be used: {reason}; restore it from a copy, or move it away to start with new keys", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The keys were rotated, and the new ones are not at work yet.
    #[error("key {kid} is to take over at {from} already; rotate after that")]
    Pending {
        /// The key.
        kid: String,
        /// When.
        from: Timestamp,
    },
    /// A new key could not be made.
    #[error("cannot make a new key for {algorithm}")]
    Generate {
        /// For what.
        algorithm: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_learns_of_expiry_and_of_nothing_internal() {
        let expired = Fault::from(Refusal::Expired);
        assert_eq!((expired.code(), expired.cause().is_some()), (Code::TokenExpired, true));
        let details: Vec<String> = [Refusal::UnknownKey, Refusal::Algorithm, Refusal::Signature, Refusal::Binding]
            .map(|refusal| Fault::from(refusal).detail().to_owned())
            .to_vec();
        assert!(details.windows(2).all(|pair| pair[0] == pair[1]), "{details:?}");
    }

    #[test]
    fn a_token_too_large_is_the_vendors_doing() {
        assert_eq!(Fault::from(MintError::TooLarge { length: 5000 }).code(), Code::BindingTooLarge);
        assert_eq!(Fault::from(MintError::Sign).code(), Code::Internal);
    }
}

//! The tokens that the vendor gave out.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::conversation::User;
use super::fault::Fault;
use crate::clock::Timestamp;
use crate::id::Entropy;
use crate::secret::{Secret, sha256};

/// Whose credential a call came with.
#[derive(Debug)]
pub(super) enum Caller {
    /// The secret of the bot's site.
    Secret,
    /// A token.
    Token(Grant),
}

impl Caller {
    /// Whom the credential is for, if it is for one user.
    pub(super) fn user(&self) -> Option<User> {
        match self {
            Self::Secret => None,
            Self::Token(grant) => grant.user.clone(),
        }
    }
}

/// What a token is for.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) conversation: String,
    pub(super) user: Option<User>,
    pub(super) expires: Timestamp,
}

/// Where a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// In `Authorization`.
    Calls,
    /// In the address of a WebSocket that begins at this activity.
    Stream(usize),
}

/// All tokens, found by digest: the time of a look-up tells nothing of the token.
#[derive(Default)]
pub(super) struct Tokens(HashMap<[u8; 32], (Grant, Use)>);

impl Tokens {
    /// A new token. It has the form of a JWT, because clients read the user out of it; its signature is random, and
    /// nobody but this vendor can tell whether it is good.
    pub(super) fn issue(&mut self, entropy: &Entropy, grant: Grant, usage: Use) -> Secret {
        let mut claims = json!({ "conv": grant.conversation, "exp": grant.expires.seconds() });
        if let Some(user) = &grant.user {
            claims["user"] = json!(user.id);
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signature = URL_SAFE_NO_PAD.encode(entropy.bytes::<32>());
        let head = part(&json!({ "alg": "RS256", "typ": "JWT" }));
        let token = Secret::new(format!("{head}.{}.{signature}", part(&claims)));
        self.0.insert(token.sha256(), (grant, usage));
        token
    }

    /// What `token` is good for at `now`.
    pub(super) fn find(&self, token: &str, now: Timestamp) -> Result<(Grant, Use), Fault> {
        let (grant, usage) = self.0.get(&sha256(token.as_bytes())).ok_or_else(Fault::wrong_credential)?;
        (now < grant.expires).then(|| (grant.clone(), *usage)).ok_or_else(Fault::expired)
    }
}

//! May this client say who the visitor of this session is.

use std::sync::Arc;

use super::{Access, Over, Principal, Proven};
use crate::bot::{Bot, Client};
use crate::fault::{Code, Fault};
use crate::secret::Secret;
use crate::token::Verified;

/// Evidence that a client may say who the visitor of a session is.
#[derive(Debug)]
pub struct ContactGrant {
    client: Arc<Client>,
    verified: Arc<Verified>,
    bot: Arc<Bot>,
    key: usize,
}

impl ContactGrant {
    /// Who says it.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The session's token.
    pub fn verified(&self) -> &Arc<Verified> {
        &self.verified
    }

    /// The bot that it talks to.
    pub fn bot(&self) -> &Arc<Bot> {
        &self.bot
    }

    /// The vendor key that opened the session.
    pub fn key(&self) -> Option<&Secret> {
        self.bot.vendor.keys.at(self.key)
    }

    /// The place of that key.
    pub fn key_place(&self) -> usize {
        self.key
    }

    /// Whether the token says already who the visitor is.
    pub fn is_recognised(&self) -> bool {
        self.verified.session.is_vouched()
    }
}

/// What a client wants to do with sessions of its bots.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// Say who the visitor is.
    Name,
    /// See them.
    See,
    /// End them.
    End,
}

impl Aim {
    /// What a client whose secret is in a page is told.
    fn refused_to_a_page(self) -> &'static str {
        match self {
            Self::Name => {
                "a client that may be in a page cannot say who its visitor is; send the credential of a server"
            }
            Self::See => "a client that may be in a page sees no sessions; send the credential of a server",
            Self::End => "a client that may be in a page ends no sessions; send the credential of a server",
        }
    }

    /// What the bearer of a session's token is told.
    fn refused_to_a_bearer(self) -> &'static str {
        match self {
            Self::Name => {
                "a session token cannot say who its visitor is; send the credential of a client that owns the bot, and \
                 the token in the body"
            }
            Self::See => {
                "a session token shows its own session alone, at that session's path; send the credential of a client \
                 that owns the bots"
            }
            Self::End => {
                "a session token ends its own session alone, at that session's path; send the credential of a client \
                 that owns the bot"
            }
        }
    }
}

impl Access {
    /// The client that may do what it wants to with sessions of its bots.
    ///
    /// # Errors
    ///
    /// Whoever it is, it is no client; or its secret is in a page, where anybody can read it.
    pub fn client_of(&self, principal: Principal, aim: Aim) -> Result<Arc<Client>, Fault> {
        match principal.0 {
            Proven::Client(client) if client.is_browser => {
                Err(Fault::new(Code::OwnerRequired, aim.refused_to_a_page()))
            }
            Proven::Client(client) => Ok(client),
            Proven::Session(_) => Err(Fault::new(Code::OwnerRequired, aim.refused_to_a_bearer())),
            Proven::Page(_) | Proven::Anonymous => Err(Fault::new(
                Code::CredentialRequired,
                "send the credential of a client that owns the bot as `Authorization: Bearer <secret>`",
            )),
        }
    }

    /// Whether `client` may say who the visitor of session `id` is, whose token is `token`.
    ///
    /// # Errors
    ///
    /// Why not. A session of a bot that the client does not own does not exist for it. A token that was replaced is good
    /// here: whoever lost the answer has no other, and the visitor can only be named again.
    pub fn may_identify(&self, client: Arc<Client>, id: &str, token: &str) -> Result<ContactGrant, Fault> {
        let verified = self.authority.verify(token)?;
        let session = &verified.session;
        let missing = || Fault::new(Code::NotFound, "there is no such session of a bot that this client owns");
        let bot = self.directory.bot(&session.bot).filter(|bot| bot.is_owned_by(&client.name)).ok_or_else(missing)?;
        if !session.is_called(id) {
            return Err(Fault::new(
                Code::WrongSession,
                "the `token` of the body is for another session than the path's",
            ));
        }
        if let Err(over) = self.revoked.judge(&verified, bot.strict_revocation)
            && over != Over::Replaced
        {
            return Err(over.into());
        }
        self.may_its_minter(&verified, bot)?;
        let key = self.is_bound_to(&verified, bot)?;
        Ok(ContactGrant { client, bot: Arc::clone(bot), verified, key })
    }
}

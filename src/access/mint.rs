//! May this caller have a session of this bot.

use std::sync::Arc;

use super::{Access, Caller, Principal};
use crate::bot::{Bot, Client, Origin, Visibility};
use crate::fault::{Code, Fault};

/// Who gets the session.
#[derive(Debug)]
pub enum Minter {
    /// A client that owns the bot.
    Owner(Arc<Client>),
    /// A page of an allowed origin.
    Page(Origin),
}

/// Evidence that a session of a bot may be opened.
#[derive(Debug)]
pub struct MintGrant {
    bot: Arc<Bot>,
    minter: Minter,
    page: Option<Origin>,
}

impl MintGrant {
    /// The bot.
    pub fn bot(&self) -> &Arc<Bot> {
        &self.bot
    }

    /// Who gets the session.
    pub fn minter(&self) -> &Minter {
        &self.minter
    }

    /// The page that asked for it, if one did: also with a client's credential.
    pub fn page(&self) -> Option<&Origin> {
        self.page.as_ref()
    }
}

impl Access {
    /// Whether `principal` may open a session of `bot`.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn may_mint(&self, principal: Principal, bot: &Arc<Bot>, caller: &Caller) -> Result<MintGrant, Fault> {
        let minter = match principal {
            Principal::Client(client) if !bot.is_owned_by(&client.name) => {
                return Err(Fault::new(Code::OwnerRequired, "this client does not own the bot"));
            }
            Principal::Client(client) => {
                is_allowed_page(bot, caller)?;
                Minter::Owner(client)
            }
            Principal::Session(_) => {
                return Err(Fault::new(
                    Code::CredentialRequired,
                    "a session token does not open sessions; send a client credential",
                ));
            }
            Principal::Page(_) | Principal::Anonymous if bot.visibility == Visibility::Private => {
                return Err(Fault::new(
                    Code::CredentialRequired,
                    "this bot is private: send the credential of a client that owns it",
                ));
            }
            Principal::Anonymous => {
                return Err(Fault::new(
                    Code::CredentialRequired,
                    "send a client credential, or call from a web page of an origin that the bot allows",
                ));
            }
            Principal::Page(origin) => {
                is_allowed(bot, &origin)?;
                Minter::Page(origin)
            }
        };
        Ok(MintGrant { bot: Arc::clone(bot), minter, page: self.page(caller) })
    }
}

/// Whether the page that a client's credential comes from, if it comes from one, may use the bot.
pub(super) fn is_allowed_page(bot: &Bot, caller: &Caller) -> Result<(), Fault> {
    caller.origin.as_ref().map_or(Ok(()), |origin| is_allowed(bot, origin))
}

fn is_allowed(bot: &Bot, origin: &Origin) -> Result<(), Fault> {
    if bot.origins.allows(origin) {
        return Ok(());
    }
    Err(Fault::new(Code::OriginNotAllowed, "pages of this origin may not use the bot"))
}

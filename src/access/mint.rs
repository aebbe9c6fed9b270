//! May this caller have a session of this bot.

use std::sync::Arc;

use super::{Access, Caller, Operator, Principal, Proven};
use crate::bot::{Bot, Client, Origin, PUBLIC, Visibility};
use crate::fault::{Code, Fault};
use crate::net::Neighbourhood;

/// Who gets the session.
#[derive(Debug)]
pub enum Minter {
    /// A client that owns the bot.
    Owner(Arc<Client>),
    /// A page of an allowed origin.
    Page(Origin),
    /// An operator, in the name of a client that owns the bot; of nobody where the bot is public.
    Operator(Option<Arc<Client>>),
}

impl Minter {
    /// Whose the session is, as its token says: calls are refused once this client may not use the bot any more.
    pub fn client_id(&self) -> &str {
        match self {
            Self::Owner(client) | Self::Operator(Some(client)) => &client.name,
            Self::Page(_) | Self::Operator(None) => PUBLIC,
        }
    }
}

/// Evidence that a session of a bot may be opened.
#[derive(Debug)]
pub struct MintGrant {
    bot: Arc<Bot>,
    minter: Minter,
    page: Option<Origin>,
    /// Where the call comes from, if a page makes it.
    visitor: Option<u128>,
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

    /// Whether a visitor's browser asks: a page, or a client whose secret is in one, which anybody can be.
    pub fn is_a_browsers(&self) -> bool {
        match &self.minter {
            Minter::Page(_) => true,
            Minter::Owner(client) => client.is_browser,
            Minter::Operator(_) => false,
        }
    }

    /// Whom the vendor's failures count, where a page asks for it.
    pub fn visitor(&self) -> Option<u128> {
        self.visitor
    }
}

impl Access {
    /// Whether `principal` may open a session of `bot`.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn may_mint(&self, principal: Principal, bot: &Arc<Bot>, caller: &Caller) -> Result<MintGrant, Fault> {
        let minter = match principal.0 {
            Proven::Client(client) if !bot.is_owned_by(&client.name) => {
                return Err(Fault::new(Code::OwnerRequired, "this client does not own the bot"));
            }
            Proven::Client(client) => {
                is_allowed_page(bot, caller)?;
                Minter::Owner(client)
            }
            Proven::Session(_) => {
                return Err(Fault::new(
                    Code::CredentialRequired,
                    "a session token does not open sessions; send a client credential",
                ));
            }
            Proven::Page(_) | Proven::Anonymous if bot.visibility == Visibility::Private => {
                return Err(Fault::new(
                    Code::CredentialRequired,
                    "this bot is private: send the credential of a client that owns it",
                ));
            }
            Proven::Anonymous => {
                return Err(Fault::new(
                    Code::CredentialRequired,
                    "send a client credential, or call from a web page of an origin that the bot allows",
                ));
            }
            Proven::Page(origin) => {
                is_allowed(bot, &origin)?;
                Minter::Page(origin)
            }
        };
        let page = self.page(caller);
        let visitor = visitor(page.is_some(), caller);
        Ok(MintGrant { bot: Arc::clone(bot), minter, page, visitor })
    }

    /// Whether an operator may open a session of `bot` in the name of `client`. Without one it is the bot's only owner's,
    /// or nobody's where the bot is public.
    ///
    /// # Errors
    ///
    /// The client does not own the bot, so that the session's calls would be refused; or it must be named.
    pub fn may_mint_for(&self, _operator: &Operator, bot: &Arc<Bot>, client: Option<&str>) -> Result<MintGrant, Fault> {
        let named = match (client, bot.owners.as_slice()) {
            (Some(name), _) => Some(name),
            (None, _) if bot.visibility == Visibility::Public => None,
            (None, [only]) => Some(only.as_str()),
            (None, _) => {
                return Err(Fault::new(
                    Code::BadRequest,
                    "this bot is private and does not have exactly one owner: name one with `client`",
                ));
            }
        };
        let owner = |name: &str| {
            let client = self.directory.client_named(name).filter(|_| bot.is_owned_by(name));
            let detail = "`client` must be a client that owns the bot: calls of a session of another would be refused";
            client.cloned().ok_or_else(|| Fault::new(Code::BadRequest, detail))
        };
        let minter = Minter::Operator(named.map(owner).transpose()?);
        Ok(MintGrant { bot: Arc::clone(bot), minter, page: None, visitor: None })
    }
}

/// Whom the vendor's failures count where a page calls, which opens as many sessions as it likes: the address.
pub(super) fn visitor(is_page: bool, caller: &Caller) -> Option<u128> {
    is_page.then(|| Neighbourhood::of(caller.address).bits())
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

//! May this session make this call.

use std::sync::Arc;

use super::{Access, Caller, Principal};
use crate::bot::{Bot, PUBLIC, Vendor, Visibility};
use crate::fault::{Code, Fault};
use crate::secret::Secret;
use crate::token::Verified;
use crate::vendor::{Route, Segment};

/// The call that was asked for.
#[derive(Debug)]
pub struct CallTarget<'t> {
    /// Whose paths it is on.
    pub vendor: &'t Arc<Vendor>,
    /// Which of its calls.
    pub route: &'t Route,
    /// The values of the route's placeholders in the path, in their order.
    pub values: &'t [&'t str],
}

/// Evidence that a session may make a call. It holds what is needed to make it.
#[derive(Debug)]
pub struct CallGrant {
    verified: Arc<Verified>,
    bot: Arc<Bot>,
    key: usize,
}

impl CallGrant {
    /// The session's token.
    pub fn verified(&self) -> &Arc<Verified> {
        &self.verified
    }

    /// The bot it talks to.
    pub fn bot(&self) -> &Arc<Bot> {
        &self.bot
    }

    /// The vendor key that opened the session.
    pub fn key(&self) -> Option<&Secret> {
        self.bot.vendor.keys.at(self.key)
    }
}

impl Access {
    /// Whether `principal` may make the call: its bot, its session, from its origin, under today's configuration.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn may_call(&self, principal: Principal, target: &CallTarget<'_>, caller: &Caller) -> Result<CallGrant, Fault> {
        let verified = session_of(principal)?;
        let bot =
            self.directory.bot(&verified.session.bot).ok_or_else(|| moved("the bot is not configured any more"))?;
        self.may_its_minter(&verified, bot)?;
        // Before the vendors are compared: a bot that has moved to another vendor makes no token a wrong one.
        let key = is_bound_to(&verified, bot)?;
        if bot.vendor.index != target.vendor.index {
            return Err(Fault::new(Code::WrongBot, "this token is for a bot of another vendor"));
        }
        is_own_path(&verified, bot, target)?;
        self.is_from_its_origin(&verified, bot, caller)?;
        // The source is always sealed in the token, also where the contact itself is left out of it.
        if target.route.identifies && verified.session.source.is_some() {
            return Err(Fault::new(
                Code::ContactSet,
                "this session has a contact already; a session token cannot change it",
            ));
        }
        Ok(CallGrant { bot: Arc::clone(bot), verified, key })
    }
}

impl Access {
    /// Who opened the session must still be allowed to: a client that was removed, or a bot that is private now, takes
    /// its sessions along.
    fn may_its_minter(&self, verified: &Verified, bot: &Bot) -> Result<(), Fault> {
        let client = verified.session.client.as_str();
        let may = if client == PUBLIC {
            bot.visibility == Visibility::Public
        } else {
            bot.is_owned_by(client) && self.directory.has_client(client)
        };
        if may {
            Ok(())
        } else {
            Err(Fault::new(Code::OwnerRequired, "whoever opened this session may not use the bot any more"))
        }
    }

    /// A token that was minted for a page works from that page only, and only while the bot still allows it. A token
    /// without an origin came through a site's own server; from a page it works where the bot allows that page.
    ///
    /// A browser leaves `Origin` out where a page reads from its own origin: then the page is the gateway's own.
    fn is_from_its_origin(&self, verified: &Verified, bot: &Bot, caller: &Caller) -> Result<(), Fault> {
        let own = self.own_origin.as_ref().filter(|_| caller.is_same_origin);
        let refused = |why: &'static str| Err(Fault::new(Code::OriginNotAllowed, why));
        match (&verified.session.origin, caller.origin.as_ref().or(own)) {
            (None, None) => Ok(()),
            (Some(_), None) => refused("this token was minted for a page; it works from that page only"),
            (Some(minted), Some(origin)) if minted != origin.as_str() => {
                refused("this token was minted for a page of another origin")
            }
            (_, Some(origin)) if !bot.origins.allows(origin) => refused("pages of this origin may not use the bot"),
            (_, Some(_)) => Ok(()),
        }
    }
}

fn session_of(principal: Principal) -> Result<Arc<Verified>, Fault> {
    match principal {
        Principal::Session(verified) => Ok(verified),
        Principal::Client(_) => Err(Fault::new(
            Code::SessionTokenRequired,
            "a client credential opens sessions; this call takes the session token that it gets",
        )),
        Principal::Page(_) | Principal::Anonymous => {
            Err(Fault::new(Code::CredentialRequired, "send the session token as `Authorization: Bearer <token>`"))
        }
    }
}

/// What the token was bound to must be what today's configuration says, else the call could reach somebody else's
/// session. Answers the place of the key that opened the session.
fn is_bound_to(verified: &Verified, bot: &Bot) -> Result<usize, Fault> {
    let (binding, vendor) = (&verified.binding, &bot.vendor);
    let is_same = binding.vendor == vendor.name
        && binding.profile == vendor.profile.name
        && binding.base == vendor.upstream.base_digest()
        && binding.bot == bot.vendor_id;
    if !is_same {
        return Err(moved("the bot has moved to another vendor, address or id since"));
    }
    vendor
        .keys
        .place_of(&binding.key)
        .ok_or_else(|| moved("the key that opened the session is not configured any more"))
}

fn moved(why: &'static str) -> Fault {
    Fault::new(Code::SessionMoved, format!("{why}; open a new session"))
}

/// A path's `{bot}` and `{session}` are the token's own: by the vendor's id, or the gateway's.
fn is_own_path(verified: &Verified, bot: &Bot, target: &CallTarget<'_>) -> Result<(), Fault> {
    let segments = target.route.call.segments.iter().filter(|segment| !matches!(segment, Segment::Literal(_)));
    for (segment, value) in segments.zip(target.values) {
        match segment {
            Segment::Bot if *value != bot.vendor_id && *value != bot.name => {
                return Err(Fault::new(Code::WrongBot, "this token is for another bot than the path's"));
            }
            Segment::Session if *value != verified.session.conversation && *value != verified.session.id => {
                return Err(Fault::new(Code::WrongSession, "this token is for another session than the path's"));
            }
            Segment::Bot | Segment::Session | Segment::Free(_) | Segment::Literal(_) => {}
        }
    }
    Ok(())
}

//! May this session make this call.

use std::sync::Arc;

use super::mint::{is_allowed_page, visitor};
use super::{Access, Caller, Holder, Over, Principal, Proven, RenewGrant, Renewed, Revoked, Watch};
use crate::bot::{Bot, Client, ContactNeed, PUBLIC, Vendor, Visibility};
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::secret::Secret;
use crate::token::Verified;
use crate::vendor::{Route, Segment, Who};

/// The call that was asked for.
#[derive(Debug)]
pub struct CallTarget<'t> {
    /// Whose paths it is on.
    pub vendor: &'t Arc<Vendor>,
    /// Which of its calls.
    pub route: &'t Route,
    /// The number of that route in the vendor's profile.
    pub number: usize,
    /// The values of the route's placeholders in the path, in their order.
    pub values: &'t [&'t str],
}

impl<'t> CallTarget<'t> {
    /// The route of this number of `vendor`.
    ///
    /// # Errors
    ///
    /// It has no such route.
    pub fn of(vendor: &'t Arc<Vendor>, number: usize, values: &'t [&'t str]) -> Result<Self, Fault> {
        let missing = || Fault::new(Code::NotFound, "there is no such call");
        let route = vendor.profile.routes.get(number).ok_or_else(missing)?;
        Ok(Self { vendor, route, number, values })
    }
}

/// Evidence that a session may make a call. It holds what is needed to make it.
#[derive(Clone, Debug)]
pub struct CallGrant {
    holder: Holder,
    bot: Arc<Bot>,
    key: usize,
    /// Where the call comes from, if a page makes it.
    visitor: Option<u128>,
    revoked: Arc<Revoked>,
}

impl CallGrant {
    /// The session's token, where it is a session that calls.
    pub fn session(&self) -> Option<&Arc<Verified>> {
        match &self.holder {
            Holder::Session(verified) => Some(verified),
            Holder::Owner(_) => None,
        }
    }

    /// The client, where it is an owner of the bot that calls.
    pub fn owner(&self) -> Option<&Arc<Client>> {
        match &self.holder {
            Holder::Session(_) => None,
            Holder::Owner(client) => Some(client),
        }
    }

    /// Whom the circuit breaker charges with the vendor's failures, so that nobody stops it for all others: the address of a
    /// page that calls, else the session.
    pub fn visitor(&self) -> u128 {
        self.visitor.unwrap_or_else(|| self.caller())
    }

    /// Under whom rates and open calls are counted.
    pub fn caller(&self) -> u128 {
        self.holder.number(&self.bot, self.visitor)
    }

    /// That the session may have another token; nothing for an owner.
    pub fn renewing(&self) -> Option<RenewGrant> {
        let verified = self.session()?;
        Some(RenewGrant::of(Arc::clone(verified), Arc::clone(&self.bot), self.key, self.visitor()))
    }

    /// When what allows the call ends; an owner's credential does not.
    pub fn expires(&self) -> Option<Timestamp> {
        self.session().map(|verified| verified.session.expires)
    }

    /// The route as the bot has it: with its own options.
    pub fn route<'g>(&'g self, target: &CallTarget<'g>) -> &'g Route {
        self.bot.profile.routes.get(target.number).unwrap_or(target.route)
    }

    /// The bot it talks to.
    pub fn bot(&self) -> &Arc<Bot> {
        &self.bot
    }

    /// The vendor key to use.
    pub fn key(&self) -> Option<&Secret> {
        self.bot.vendor.keys.at(self.key)
    }

    /// The place of that key.
    pub fn key_place(&self) -> usize {
        self.key
    }

    /// Why it is good no more, if it ended since and before its time.
    pub fn over(&self) -> Option<Over> {
        self.revoked.judge_holder(&self.holder, &self.bot).err()
    }

    /// Whether the call may still be made: nothing has ended since, and nobody has become known whom it would rename.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn may_go_on(&self, target: &CallTarget<'_>) -> Result<(), Fault> {
        self.revoked.judge_holder(&self.holder, &self.bot)?;
        self.session().map_or(Ok(()), |verified| self.revoked.may_tell(verified, target))
    }

    /// What wakes whoever waits when that may be so.
    pub fn watch(&self) -> Watch {
        self.revoked.watch(&self.holder, &self.bot)
    }

    /// Until when the session's newest token is good, if that is later than `known`, or than this token's end: asked of the
    /// store. Nothing for an owner, nor where a renewal may have made a new token of the vendor's: what is open is not searched
    /// for that one.
    pub fn renewed(&self, known: Option<Timestamp>) -> Option<Renewed> {
        let verified = Arc::clone(self.session()?);
        if self.bot.profile.renew.is_some() && verified.binding.token.is_some() {
            return None;
        }
        let after = known.unwrap_or(verified.session.expires);
        Some(Box::pin(Arc::clone(&self.revoked).renewed(verified, after)))
    }
}

impl Access {
    /// Whether `principal` may make the call: its bot, its session, from its origin, under today's configuration.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn may_call(&self, principal: Principal, target: &CallTarget<'_>, caller: &Caller) -> Result<CallGrant, Fault> {
        if target.route.who == Who::Owner {
            return self.may_call_as_owner(principal, target, caller);
        }
        let verified = session_of(principal)?;
        let bot = self.bot_it_is_for(&verified)?;
        self.revoked.judge(&verified, bot.strict_revocation)?;
        // Before the vendors are compared: a bot that has moved to another vendor makes no token a wrong one.
        let key = self.is_bound_to(&verified, bot)?;
        if bot.vendor.index != target.vendor.index {
            return Err(Fault::new(Code::WrongBot, "this token is for a bot of another vendor"));
        }
        is_own_path(&verified, bot, target)?;
        self.is_from_its_origin(&verified, bot, caller)?;
        if target.route.identifies && bot.contact == ContactNeed::None {
            return Err(Fault::new(Code::InvalidContact, "this bot takes no contact"));
        }
        self.revoked.may_tell(&verified, target)?;
        let visitor = visitor(verified.session.origin.is_some(), caller);
        let revoked = Arc::clone(&self.revoked);
        Ok(CallGrant { bot: Arc::clone(bot), holder: Holder::Session(verified), key, visitor, revoked })
    }

    /// Whether a client may make a call that shows more than one session: for the bot that the path names, or for the
    /// only one of this vendor that it owns.
    fn may_call_as_owner(
        &self,
        principal: Principal,
        target: &CallTarget<'_>,
        caller: &Caller,
    ) -> Result<CallGrant, Fault> {
        let refused = |why: &'static str| Err(Fault::new(Code::OwnerRequired, why));
        let client = match principal.0 {
            Proven::Client(client) => client,
            Proven::Session(_) => {
                return refused(
                    "this call shows more than one session; it takes the credential of a client that owns the bot",
                );
            }
            Proven::Page(_) | Proven::Anonymous => {
                return Err(Fault::new(
                    Code::CredentialRequired,
                    "send the credential of a client that owns the bot as `Authorization: Bearer <secret>`",
                ));
            }
        };
        let bot = match target.route.call.bot_in(target.values) {
            Some(name) => match self.directory.bot_of(target.vendor, name) {
                Some(bot) if bot.is_owned_by(&client.name) => bot,
                _ => return refused("this client owns no such bot"),
            },
            None => self.directory.only_bot_of(target.vendor, |bot| bot.is_owned_by(&client.name))?,
        };
        // A credential that may be in a page is read by whoever opens that page.
        is_allowed_page(bot, caller)?;
        self.revoked.judge_owner(&client, bot)?;
        let key = self.next_key(bot)?;
        let (visitor, revoked) = (visitor(client.is_browser, caller), Arc::clone(&self.revoked));
        Ok(CallGrant { bot: Arc::clone(bot), holder: Holder::Owner(client), key, visitor, revoked })
    }

    fn next_key(&self, bot: &Bot) -> Result<usize, Fault> {
        bot.vendor.keys.next(self.clock.now()).map_err(Fault::from)
    }

    /// What the token was bound to must be what today's configuration says, else the call could reach somebody else's
    /// session. Answers the place of the key to use: the one that opened the session. Where the vendor knows of no
    /// sessions, and that one is set aside or spent, any other.
    pub(super) fn is_bound_to(&self, verified: &Verified, bot: &Bot) -> Result<usize, Fault> {
        let (binding, vendor) = (&verified.binding, &bot.vendor);
        let is_same = binding.vendor == vendor.name
            && binding.profile == vendor.profile.name
            && binding.base == vendor.upstream.base_digest()
            && binding.bot == bot.vendor_id;
        if !is_same {
            return Err(moved("the bot has moved to another vendor, address or id since"));
        }
        let missing = || moved("the key that opened the session is not configured any more");
        let place = vendor.keys.place_of(&binding.key).ok_or_else(missing)?;
        if vendor.profile.open.is_some() {
            return Ok(place);
        }
        let now = self.clock.now();
        if vendor.keys.is_free(place, now) && vendor.keys.spent(place, now).is_none() {
            return Ok(place);
        }
        // Where all are spent, it is for the limits to say so, to a call that reaches the vendor.
        if vendor.keys.is_free(place, now) { Ok(vendor.keys.next(now).unwrap_or(place)) } else { self.next_key(bot) }
    }
}

impl Access {
    /// The bot that a token is for, whose minter may still use it.
    pub(super) fn bot_it_is_for(&self, verified: &Verified) -> Result<&Arc<Bot>, Fault> {
        let missing = || moved("the bot is not configured any more");
        let bot = self.directory.bot(&verified.session.bot).ok_or_else(missing)?;
        self.may_its_minter(verified, bot)?;
        Ok(bot)
    }

    /// Who opened the session must still be allowed to: a client that was removed, or a bot that is private now, takes
    /// its sessions along.
    pub(super) fn may_its_minter(&self, verified: &Verified, bot: &Bot) -> Result<(), Fault> {
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
    pub(super) fn is_from_its_origin(&self, verified: &Verified, bot: &Bot, caller: &Caller) -> Result<(), Fault> {
        let refused = |why: &'static str| Err(Fault::new(Code::OriginNotAllowed, why));
        match (&verified.session.origin, &self.page(caller)) {
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

impl Revoked {
    /// Whether a session may tell the vendor who its visitor is, if that is what the call does: only while nobody is known.
    fn may_tell(&self, verified: &Verified, target: &CallTarget<'_>) -> Result<(), Fault> {
        // The source is always sealed in the token, also where the contact itself is left out of it.
        let is_known = || verified.session.source.is_some() || self.known(&verified.session.id).is_some();
        if target.route.identifies && is_known() {
            return Err(Fault::new(
                Code::ContactSet,
                "this session has a contact already; a session token cannot change it",
            ));
        }
        Ok(())
    }
}

pub(super) fn session_of(principal: Principal) -> Result<Arc<Verified>, Fault> {
    match principal.0 {
        Proven::Session(verified) => Ok(verified),
        Proven::Client(_) => Err(Fault::new(
            Code::SessionTokenRequired,
            "a client credential opens sessions; this call takes the session token that it gets",
        )),
        Proven::Page(_) | Proven::Anonymous => {
            Err(Fault::new(Code::CredentialRequired, "send the session token as `Authorization: Bearer <token>`"))
        }
    }
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
            Segment::Session if !verified.session.is_called(value) => {
                return Err(Fault::new(Code::WrongSession, "this token is for another session than the path's"));
            }
            Segment::Bot | Segment::Session | Segment::Free(_) | Segment::Literal(_) => {}
        }
    }
    Ok(())
}

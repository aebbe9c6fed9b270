//! May the bearer of a session token see, renew or end its session; may a client do so with sessions of its bots.

use std::sync::Arc;

use super::call::session_of;
use super::mint::visitor;
use super::{Access, Caller, Principal};
use crate::bot::{Bot, Client};
use crate::fault::{Code, Fault};
use crate::secret::Secret;
use crate::token::Verified;

/// Evidence that whoever calls holds a good token of the session: it may see and end it, whatever has become of the
/// vendor since.
#[derive(Debug)]
pub struct HoldGrant {
    verified: Arc<Verified>,
    bot: Arc<Bot>,
}

impl HoldGrant {
    /// The token.
    pub fn verified(&self) -> &Arc<Verified> {
        &self.verified
    }

    /// The bot that the session talks to.
    pub fn bot(&self) -> &Arc<Bot> {
        &self.bot
    }
}

/// Evidence that a session may have another token.
#[derive(Debug)]
pub struct RenewGrant {
    held: HoldGrant,
    key: usize,
    visitor: u128,
}

impl RenewGrant {
    pub(super) fn of(verified: Arc<Verified>, bot: Arc<Bot>, key: usize, visitor: u128) -> Self {
        Self { held: HoldGrant { verified, bot }, key, visitor }
    }

    /// That its bearer holds the session.
    pub fn held(&self) -> &HoldGrant {
        &self.held
    }

    /// Whom the vendor's failures count, as for a call.
    pub fn visitor(&self) -> u128 {
        self.visitor
    }

    /// The vendor key that opened the session.
    pub fn key(&self) -> Option<&Secret> {
        self.held.bot.vendor.keys.at(self.key)
    }

    /// The place of that key.
    pub fn key_place(&self) -> usize {
        self.key
    }
}

impl Access {
    /// Whether `principal` holds the session that the path calls `id`.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn may_hold(&self, principal: Principal, id: &str, caller: &Caller) -> Result<HoldGrant, Fault> {
        let verified = session_of(principal)?;
        let bot = self.bot_it_is_for(&verified)?;
        self.revoked.judge(&verified, bot.strict_revocation)?;
        if !verified.session.is_called(id) {
            return Err(Fault::new(Code::WrongSession, "this token is for another session than the path's"));
        }
        self.is_from_its_origin(&verified, bot, caller)?;
        Ok(HoldGrant { bot: Arc::clone(bot), verified })
    }

    /// Whether `principal` may have another token of the session that the path calls `id`.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn may_renew(&self, principal: Principal, id: &str, caller: &Caller) -> Result<RenewGrant, Fault> {
        let held = self.may_hold(principal, id, caller)?;
        let key = self.is_bound_to(&held.verified, &held.bot)?;
        let visitor = visitor(held.verified.session.origin.is_some(), caller).unwrap_or(held.verified.number);
        Ok(RenewGrant { held, key, visitor })
    }

    /// The bots that `client` owns, by name; `wanted` alone, where one is named.
    ///
    /// # Errors
    ///
    /// It owns no such bot: for it there is none.
    pub fn bots_owned_by(&self, client: &Client, wanted: Option<&str>) -> Result<Vec<&Arc<Bot>>, Fault> {
        let mut bots: Vec<&Arc<Bot>> = self.directory.bots().filter(|bot| bot.is_owned_by(&client.name)).collect();
        bots.sort_by_key(|bot| bot.number);
        if let Some(wanted) = wanted {
            bots.retain(|bot| bot.name == wanted);
            if bots.is_empty() {
                return Err(Fault::new(Code::UnknownBot, "this client owns no bot of this name"));
            }
        }
        Ok(bots)
    }
}

//! May the bearer of a session token see, renew or end its session; may a client do so with sessions of its bots.

use std::sync::Arc;

use super::call::session_of;
use super::{Access, Caller, Principal};
use crate::bot::{Bot, Client};
use crate::fault::{Code, Fault};
use crate::secret::Secret;
use crate::token::Verified;

/// Evidence that whoever calls holds a good token of the session.
#[derive(Debug)]
pub struct HoldGrant {
    verified: Arc<Verified>,
    bot: Arc<Bot>,
    key: usize,
}

impl HoldGrant {
    pub(super) fn of(verified: Arc<Verified>, bot: Arc<Bot>, key: usize) -> Self {
        Self { verified, bot, key }
    }

    /// The token.
    pub fn verified(&self) -> &Arc<Verified> {
        &self.verified
    }

    /// The bot that the session talks to.
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
        let key = self.is_bound_to(&verified, bot)?;
        if id != verified.session.id && id != verified.session.conversation {
            return Err(Fault::new(Code::WrongSession, "this token is for another session than the path's"));
        }
        self.is_from_its_origin(&verified, bot, caller)?;
        Ok(HoldGrant { bot: Arc::clone(bot), verified, key })
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

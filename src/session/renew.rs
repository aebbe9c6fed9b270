//! A session goes on: a new token for it, and where the vendor's own would end first, a new one of that too.

use std::time::Duration;

use tokio::time::Instant;

use super::answer::{renewed, unusable};
use super::call::{CallError, LONGEST_CALL, OwnCall};
use super::ledger::end_of;
use super::open::{Opened, Opener};
use super::values::OwnValues;
use crate::access::RenewGrant;
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::telemetry::traces::Span;
use crate::token::{Binding, SHORTEST_TTL, Session};
use crate::vendor::Renew;

/// A token that ends sooner is of no use.
const SHORTEST: Duration = Duration::from_secs(60);

impl Opener {
    /// Makes another token of the session, for `ttl` from now: never past the session's end, nor past the vendor's where
    /// its profile has no call to renew that. What was there before lives to its own end.
    ///
    /// # Errors
    ///
    /// The session ends within the minute, or what is wrong with the vendor.
    pub async fn renew(&self, grant: &RenewGrant, ttl: Duration, span: &Span) -> Result<Opened, Fault> {
        let verified = grant.held().verified();
        let now = self.clock.now();
        let wished = now.plus(ttl).min(end_of(&verified.session));
        if wished.since(now) < SHORTEST {
            return Err(ending());
        }
        let mut binding = verified.binding.clone();
        if let Some(renew) = &grant.held().bot().profile.renew
            && binding.ends.is_some_and(|ends| ends < wished)
        {
            binding = self.exchange(renew, grant, binding, wished, now, span).await?;
        }
        let expires = binding.ends.map_or(wished, |ends| ends.min(wished));
        if expires.since(now) < SHORTEST {
            return Err(ending());
        }
        let session = Session {
            issued: Timestamp::from_seconds(now.seconds()),
            expires: Timestamp::from_seconds(expires.seconds()),
            ..verified.session.clone()
        };
        self.with_token(session, &binding)
    }

    /// Asks the vendor for a new token of its own.
    async fn exchange(
        &self,
        renew: &Renew,
        grant: &RenewGrant,
        binding: Binding,
        wished: Timestamp,
        now: Timestamp,
        span: &Span,
    ) -> Result<Binding, Fault> {
        let (bot, session) = (grant.held().bot(), &grant.held().verified().session);
        let key = grant.key().ok_or_else(|| Fault::new(Code::Internal, "the vendor has no key"))?;
        bot.vendor.keys.take(grant.key_place(), now)?;
        let (purpose, who) = ("renew a session", grant.visitor());
        let call = OwnCall { bot, target: &renew.target, set: &renew.set, purpose, now, who, span };
        let values = OwnValues {
            bot,
            key,
            contact: &session.contact,
            source: session.source,
            subject: binding.opened_as.as_deref().unwrap_or(&session.subject),
            visit: None,
            meta: None,
            messages: &[],
            // No vendor is asked for less than it would open a session for.
            ttl: Some(wished.since(now).max(SHORTEST_TTL).as_secs()),
            session: binding.session.as_ref(),
            vendor_token: binding.token.as_ref(),
        };
        let made = call.make(&values, Instant::now() + LONGEST_CALL).await;
        let reply = made.map_err(CallError::into_fault)?;
        let (token, ends) = renewed(renew, reply.json()?, now)?;
        if bot.vendor.keys.secrets().any(|secret| secret.expose() == token.expose()) {
            return Err(unusable("its session token is the account key"));
        }
        Ok(Binding { token: Some(token), ends: ends.or(Some(wished)), ..binding })
    }
}

fn ending() -> Fault {
    Fault::new(Code::SessionEnding, "the session ends within a minute; open a new one")
}

//! Opening a session: with the vendor, then as a token.
//!
//! Nothing is minted unless the vendor's answer was exactly what its profile says. An answer about the key sends the
//! opening to the next key, and nothing else is ever repeated.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::answer::{self, VendorAnswer};
use super::call::{CallError, OwnCall, Reply};
use super::values::OwnValues;
use super::wish::Wish;
use crate::access::{MintGrant, Minter};
use crate::bot::Bot;
use crate::clock::{Clock, Timestamp};
use crate::fault::{Code, Fault};
use crate::id::{Entropy, digest_number};
use crate::secret::Secret;
use crate::telemetry::traces::Span;
use crate::token::{Authority, Binding, Contact, ContactSource, Session, VendorSession};
use crate::upstream::keys::Refusal;
use crate::vendor::{Open, is_value};

/// No caller waits longer for a session, whatever the vendor's time-outs.
const LONGEST_OPENING: Duration = Duration::from_secs(120);
/// A vendor's session that ends sooner is of no use.
const SHORTEST_SESSION: Duration = Duration::from_secs(60);

/// Opens sessions.
#[derive(Clone, Debug)]
pub struct Opener {
    /// Makes the tokens.
    pub authority: Arc<Authority>,
    /// The time.
    pub clock: Clock,
    /// Where ids come from.
    pub entropy: Entropy,
}

/// A session that is open.
#[derive(Debug)]
pub struct Opened {
    /// What its token says.
    pub session: Session,
    /// The vendor's id of it, with its type.
    pub vendor_session: VendorSession,
    /// Its token.
    pub token: Secret,
    /// The vendor's whole answer, secrets masked, where it was JSON.
    pub answer: Option<Value>,
}

impl Opener {
    /// Opens a session as it was granted and wished for.
    ///
    /// # Errors
    ///
    /// What is wrong with the vendor, or with the session that it gave. No token was made then.
    pub async fn open(&self, grant: &MintGrant, wish: &Wish, span: &Span) -> Result<Opened, Fault> {
        let bot = grant.bot();
        let id = self.entropy.session_id(self.clock.now());
        let source = source_of(grant, &wish.contact);
        let subject = self.vouched(grant, &wish.contact).unwrap_or_else(|| self.entropy.token_id());
        let (place, answer) = match &bot.profile.open {
            None => (bot.vendor.keys.next(self.clock.now())?, VendorAnswer::none(&id)),
            Some(open) => {
                let (purpose, now) = ("open a session", self.clock.now());
                let (target, set) = (&open.target, &open.set);
                let who = grant.visitor().unwrap_or_else(|| digest_number(subject.as_bytes()));
                let call = OwnCall { bot, target, set, purpose, now, who, span };
                self.ask(open, &call, wish, source, &subject).await?
            }
        };
        let issued = self.clock.now();
        let expires = end(issued, wish.ttl, answer.ends)?;
        let session = Session {
            conversation: conversation(&answer.session, &id),
            id,
            bot: bot.name.clone(),
            client: grant.minter().client_id().to_owned(),
            subject,
            origin: wish.origin.clone(),
            contact: wish.contact.clone(),
            source,
            opened: issued,
            issued: Timestamp::from_seconds(issued.seconds()),
            expires,
        };
        let binding = Binding { ends: answer.ends, ..binding(bot, place, answer.session, answer.token) };
        Ok(Opened { answer: answer.whole, ..self.with_token(session, &binding)? })
    }

    /// The session with a token of it.
    pub(super) fn with_token(&self, session: Session, binding: &Binding) -> Result<Opened, Fault> {
        let token = Secret::new(self.authority.mint(session.clone(), binding)?);
        // Where the vendor has no sessions, the gateway's own id stands for one.
        let vendor_session = binding.session.clone().unwrap_or_else(|| VendorSession::Text(session.id.clone()));
        Ok(Opened { session, vendor_session, token, answer: None })
    }

    /// Makes the vendor's session call, with one key after the other while the answer is about the key. Answers the
    /// place of the key that opened the session.
    async fn ask(
        &self,
        open: &Open,
        call: &OwnCall<'_>,
        wish: &Wish,
        source: Option<ContactSource>,
        subject: &str,
    ) -> Result<(usize, VendorAnswer), Fault> {
        let deadline = Instant::now() + LONGEST_OPENING;
        let bot = call.bot;
        let mut tried = Vec::new();
        loop {
            let place = bot.vendor.keys.next_but(&tried, self.clock.now())?;
            // Another call took the last of it just now.
            if bot.vendor.keys.take(place, self.clock.now()).is_err() {
                tried.push(place);
                continue;
            }
            let key = bot.vendor.keys.at(place).ok_or_else(|| Fault::new(Code::Internal, "the vendor has no key"))?;
            let values = OwnValues::of_opening(bot, key, wish, source, subject);
            match call.make(&values, deadline).await {
                Ok(reply) => {
                    bot.vendor.keys.accept(place);
                    return Ok((place, self.read(open, bot, &reply)?));
                }
                Err(CallError::Lost(fault) | CallError::Other(fault)) => return Err(fault),
                Err(CallError::AboutKey { refusal, fault }) => {
                    self.refuse(bot, place, refusal);
                    // Of an only key the vendor's own reason says more.
                    if bot.vendor.keys.count() == 1 && fault.code() == Code::VendorRefusedKey {
                        return Err(fault);
                    }
                    tried.push(place);
                }
            }
        }
    }

    /// The vendor refused a key, to a call of the gateway's own.
    pub(super) fn refuse(&self, bot: &Bot, place: usize, refusal: Refusal) {
        let is_aside = bot.vendor.keys.refuse(place, refusal, self.clock.now());
        let (vendor, status) = (bot.vendor.name.as_str(), refusal.status);
        tracing::warn!(vendor, key = place + 1, %status, is_aside, "the vendor refused a key to the gateway's own call");
    }

    fn read(&self, open: &Open, bot: &Bot, reply: &Reply) -> Result<VendorAnswer, Fault> {
        answer::read(open, &bot.vendor, reply, self.clock.now())
    }

    /// The pseudonym of a contact for whom a client vouches; nothing for one that a browser claims.
    pub fn vouched(&self, grant: &MintGrant, contact: &Contact) -> Option<String> {
        match (source_of(grant, contact), grant.minter()) {
            (
                Some(source @ (ContactSource::Asserted | ContactSource::Verified)),
                Minter::Owner(client) | Minter::Operator(Some(client)),
            ) => Some(self.subject(&client.name, source, contact)),
            _ => None,
        }
    }

    /// The pseudonym of a contact for whom `owner` vouches.
    pub fn subject(&self, owner: &str, source: ContactSource, contact: &Contact) -> String {
        let identity = contact.identity();
        identity.map_or_else(|| self.entropy.token_id(), |identity| self.authority.subject(owner, source, &identity))
    }

    /// What the store tells visitors by. It is keyed: there are few enough phone numbers to try them all.
    pub fn number_of(&self, contact: &Contact) -> u128 {
        let [email, phone, name] = contact.parts();
        let digest = self.authority.digest("contact", &[&email, &phone, &name]);
        u128::from_be_bytes(digest.first_chunk().copied().unwrap_or_default())
    }
}

/// The vendor's id of the session where it can stand in a path, as clients put it there; else the gateway's.
fn conversation(session: &VendorSession, id: &str) -> String {
    Some(session.to_string()).filter(|text| is_value(text)).unwrap_or_else(|| id.to_owned())
}

fn source_of(grant: &MintGrant, contact: &Contact) -> Option<ContactSource> {
    if contact.is_empty() {
        return None;
    }
    Some(match grant.minter() {
        // A secret that is in a page is no secret: whoever reads it there could be anybody.
        Minter::Owner(client) if client.is_browser => ContactSource::Claimed,
        // What an operator says in a client's name counts as said by it, also where its secret is in a page.
        Minter::Owner(_) | Minter::Operator(Some(_)) => ContactSource::Asserted,
        Minter::Page(_) | Minter::Operator(None) => ContactSource::Claimed,
    })
}

fn binding(bot: &Bot, place: usize, session: VendorSession, token: Option<Secret>) -> Binding {
    Binding {
        vendor: bot.vendor.name.clone(),
        profile: bot.vendor.profile.name.clone(),
        base: bot.vendor.upstream.base_digest(),
        bot: bot.vendor_id.clone(),
        key: bot.vendor.keys.fingerprint_at(place).unwrap_or_default(),
        session: Some(session),
        token,
        opened_as: None,
        ends: None,
    }
}

/// The end of the token: as wished, or where the vendor's own session ends first.
fn end(issued: Timestamp, ttl: Duration, vendor_ends: Option<Timestamp>) -> Result<Timestamp, Fault> {
    let wished = issued.plus(ttl);
    let ends = vendor_ends.map_or(wished, |ends| ends.min(wished));
    if ends.since(issued) < SHORTEST_SESSION {
        return Err(answer::unusable("the session ends in less than a minute"));
    }
    Ok(Timestamp::from_seconds(ends.seconds()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_session_that_ends_sooner_shortens_the_token() {
        let now = Timestamp::from_millis(1_800_000_000_500);
        let hour = Duration::from_secs(3600);
        assert_eq!(end(now, hour, None).unwrap().seconds(), 1_800_003_600);
        assert_eq!(end(now, hour, Some(Timestamp::from_seconds(1_800_001_000))).unwrap().seconds(), 1_800_001_000);
        assert_eq!(end(now, hour, Some(Timestamp::from_seconds(1_900_000_000))).unwrap().seconds(), 1_800_003_600);
        assert!(end(now, hour, Some(Timestamp::from_seconds(1_800_000_030))).is_err());
    }
}

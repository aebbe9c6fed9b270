//! Is this token ours, and what does it say?
//!
//! The order: the cheap and public first, then the signature, and only what is signed is read any further. Nothing is
//! remembered of a token that fails.

use std::time::Duration;

use super::LEEWAY;
use super::claims::{Claims, SCOPE};
use super::jws::{Header, Parts, TYPE, decode_json};
use super::keys::Keys;
use super::refusal::{Part, Refusal};
use super::seal::{self, Context, Sealed};
use super::session::{Judged, Verified};
use super::settings::LONGEST_TTL;
use super::signing::SigningKey;
use crate::clock::Timestamp;
use crate::id::session_number;

/// A longer token is refused before anything of it is decoded.
pub(super) const LONGEST: usize = 8 * 1024;

/// Everything but the token's times, which are asked again at each use of the outcome: [`Verified::check_time`].
pub(super) fn check(token: &str, keys: &Keys, issuer: &str, now: Timestamp) -> Result<Verified, Refusal> {
    if token.len() > LONGEST {
        return Err(Refusal::TooLong);
    }
    let parts = Parts::of(token)?;
    // Word for word the header of our own tokens says nothing that is not known.
    let (key, key_until) = match keys.signing_key_of(parts.header, now) {
        Some(found) => found,
        None => key_of(&parts, keys, now)?,
    };
    key.verify(&parts)?;
    let payload = decode_json(parts.payload, Part::Claims)?;
    let claims = Claims::parse(&payload)?;
    check_claims(&claims, issuer)?;
    let sealed = open(&claims, key.kid(), keys, now)?;
    Ok(Verified { key_until, ..join(claims, sealed) })
}

/// The key that a header names, if it is for a token of ours.
fn key_of<'k>(
    parts: &Parts<'_>,
    keys: &'k Keys,
    now: Timestamp,
) -> Result<(&'k SigningKey, Option<Timestamp>), Refusal> {
    let header = decode_json(parts.header, Part::Header)?;
    let header = Header::parse(&header)?;
    if header.typ != TYPE {
        return Err(Refusal::Type);
    }
    let found = keys.signing_key(&header.kid, now).ok_or(Refusal::UnknownKey)?;
    // The key says which algorithm it is for. The token's word is only compared, and then not used.
    if header.alg == found.0.algorithm().name() { Ok(found) } else { Err(Refusal::Algorithm) }
}

fn check_claims(claims: &Claims<'_>, issuer: &str) -> Result<(), Refusal> {
    if claims.iss != issuer {
        return Err(Refusal::Issuer);
    }
    if claims.aud != issuer {
        return Err(Refusal::Audience);
    }
    // A scope of a later version may be narrower than ours; to take it for ours would widen it.
    if claims.scope != SCOPE {
        return Err(Refusal::Scope);
    }
    // We mint none that lives longer: whoever had the key once has no token for ever.
    if claims.life() > (LONGEST_TTL + LEEWAY).as_secs() {
        return Err(Refusal::Malformed(Part::Claims));
    }
    Ok(())
}

/// Opens the binding of these claims.
pub(super) fn open(claims: &Claims<'_>, kid: &str, keys: &Keys, now: Timestamp) -> Result<Sealed, Refusal> {
    let context = Context {
        kid,
        issuer: &claims.iss,
        audience: &claims.aud,
        session: &claims.sid,
        bot: &claims.bot,
        jti: &claims.jti,
    };
    seal::open(keys.openers(now), &claims.bnd, &context)
}

fn join(claims: Claims<'_>, sealed: Sealed) -> Verified {
    let not_before = Timestamp::from_seconds(claims.nbf);
    let mut session = claims.into_session();
    session.source = sealed.source;
    session.opened = session.opened.plus(Duration::from_millis(u64::from(sealed.opened_millis)));
    // Whether the contact is sealed is read off the token, not off today's configuration, which may have changed.
    if let Some(contact) = sealed.contact {
        session.contact = contact;
    }
    let number = session_number(&session.id);
    let judged = Judged::default();
    Verified { session, number, binding: sealed.binding, key_until: None, not_before, judged }
}

impl Verified {
    /// Whether it ended no longer than `grace`, and the leeway, before `now`; and whether its key is good for anything.
    pub(super) fn check_end(&self, now: Timestamp, grace: Duration) -> Result<(), Refusal> {
        if self.key_until.is_some_and(|until| until < now) {
            return Err(Refusal::UnknownKey);
        }
        if now > self.session.expires.plus(LEEWAY).plus(grace) { Err(Refusal::Expired) } else { Ok(()) }
    }

    /// Whether it is good at `now`: to the millisecond, from `nbf` less the leeway to `exp` and the leeway, both
    /// moments included.
    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), Refusal> {
        self.check_end(now, Duration::ZERO)?;
        if self.not_before > now.plus(LEEWAY) {
            return Err(Refusal::NotYet);
        }
        Ok(())
    }
}

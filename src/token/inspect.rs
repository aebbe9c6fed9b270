//! What a token says, for an operator: `keystile token inspect`.
//!
//! Reads as far as it can whatever it is given, and believes none of it: the verdict is [`check`]'s. Of an opened
//! binding it shows what is no secret.

use serde_json::Value;

use super::claims::Claims;
use super::jws::{Header, Parts, decode_json};
use super::keys::Keys;
use super::refusal::{Part, Refusal};
use super::session::ContactSource;
use super::verify::{LONGEST, check, open};
use crate::clock::Timestamp;

/// A token, explained.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The header, if it is JSON; not necessarily ours.
    pub header: Option<Value>,
    /// The claims, if they are JSON; true only if the verdict is good.
    pub claims: Option<Value>,
    /// The binding, if it opens: the token may still be expired or its other claims forged.
    pub binding: Option<OpenedBinding>,
    /// Whether the token is good now, and why not.
    pub verdict: Result<(), Refusal>,
}

/// What may be shown of a binding: neither a token nor which key opened the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedBinding {
    /// The vendor.
    pub vendor: String,
    /// Its profile.
    pub profile: String,
    /// The vendor's id of the bot.
    pub bot: String,
    /// Whether there is a vendor token in it.
    pub has_token: bool,
    /// Who said who the visitor is.
    pub source: Option<ContactSource>,
}

pub(super) fn inspect(token: &str, keys: &Keys, issuer: &str, now: Timestamp) -> Inspection {
    let verdict = check(token, keys, issuer, now).and_then(|verified| verified.check_time(now));
    let parts = if token.len() > LONGEST { None } else { Parts::of(token).ok() };
    let Some(parts) = parts else { return Inspection { header: None, claims: None, binding: None, verdict } };
    let header = decode_json(parts.header, Part::Header).unwrap_or_default();
    let claims = decode_json(parts.payload, Part::Claims).unwrap_or_default();
    Inspection {
        header: serde_json::from_str(&header).ok(),
        claims: serde_json::from_str(&claims).ok(),
        binding: opened(&header, &claims, keys, now),
        verdict,
    }
}

fn opened(header: &str, claims: &str, keys: &Keys, now: Timestamp) -> Option<OpenedBinding> {
    let header = Header::parse(header).ok()?;
    let claims = Claims::parse(claims).ok()?;
    let sealed = open(&claims, &header.kid, keys, now).ok()?;
    Some(OpenedBinding {
        has_token: sealed.binding.token.is_some(),
        source: sealed.source,
        vendor: sealed.binding.vendor,
        profile: sealed.binding.profile,
        bot: sealed.binding.bot,
    })
}

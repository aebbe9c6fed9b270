//! The sealed binding: AES-256-GCM-SIV (RFC 8452) under a key that signs nothing.
//!
//! `bnd` is base64url of nonce and ciphertext. GCM-SIV, because nonces are random and a repeated one then tells no more
//! than that two bindings are equal. The associated data names the token around it, so a binding cannot be moved to
//! another session even by somebody who has the signing key; the length is padded, so that it tells little of what is inside.

pub(super) mod answer;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::refusal::{MintError, Refusal};
use super::session::{Binding, Contact, ContactSource, VendorSession};
use crate::clock::Timestamp;
use crate::id::Entropy;
use crate::secret::Secret;

/// The plaintext is a multiple of this long.
const BLOCK: usize = 64;

/// Room for all bindings that fit into a token, so that the plaintext is never moved and left behind.
const ROOM: usize = 4096;

/// The token that a binding belongs to.
pub(super) struct Context<'c> {
    pub(super) kid: &'c str,
    pub(super) issuer: &'c str,
    pub(super) audience: &'c str,
    pub(super) session: &'c str,
    pub(super) bot: &'c str,
    pub(super) jti: &'c str,
}

impl Context<'_> {
    /// All of it, in an encoding that no other context has.
    fn associated_data(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let parts = ["bnd", self.kid, self.issuer, self.audience, self.session, self.bot, self.jti];
        frame(&parts, |bytes| out.extend_from_slice(bytes));
        out
    }
}

/// Writes each part behind its length, so that no two lists of parts give the same bytes.
pub(super) fn frame(parts: &[&str], mut write: impl FnMut(&[u8])) {
    for part in parts {
        // A `usize` has at most 64 bits wherever this runs.
        write(&(part.len() as u64).to_be_bytes());
        write(part.as_bytes());
    }
}

/// What is under the seal. Field names are short because they are paid for in every call.
#[derive(Deserialize, Serialize)]
struct Plaintext {
    v: String,
    p: String,
    u: String,
    b: String,
    k: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<VendorSession>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_secret",
        default,
        deserialize_with = "read_secret"
    )]
    t: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<u64>,
    #[serde(skip_serializing_if = "is_zero", default)]
    m: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    o: Option<ContactSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<SealedContact>,
}

#[derive(Deserialize, Serialize)]
struct SealedContact {
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    v: bool,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

fn write_secret<S: serde::Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

fn read_secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

/// A binding and what else a token keeps under its seal.
pub(super) struct Sealed {
    pub(super) binding: Binding,
    /// Milliseconds of the session's opening beyond the whole seconds of `auth_time`.
    pub(super) opened_millis: u16,
    pub(super) source: Option<ContactSource>,
    /// The contact, where the claims do not have it.
    pub(super) contact: Option<Contact>,
}

impl Sealed {
    fn to_plaintext(&self) -> Plaintext {
        let binding = self.binding.clone();
        Plaintext {
            v: binding.vendor,
            p: binding.profile,
            u: binding.base,
            b: binding.bot,
            k: binding.key,
            s: binding.session,
            t: binding.token,
            a: binding.opened_as,
            e: binding.ends.map(Timestamp::seconds),
            m: self.opened_millis,
            o: self.source,
            c: self.contact.clone().map(|contact| SealedContact {
                n: contact.name,
                v: contact.email.is_some() && contact.email_verified,
                e: contact.email,
                p: contact.phone,
            }),
        }
    }

    fn from_plaintext(plain: Plaintext) -> Self {
        let binding = Binding {
            vendor: plain.v,
            profile: plain.p,
            base: plain.u,
            bot: plain.b,
            key: plain.k,
            session: plain.s,
            token: plain.t,
            opened_as: plain.a,
            ends: plain.e.map(Timestamp::from_seconds),
        };
        let contact = plain.c.map(|sealed| Contact {
            name: sealed.n,
            email: sealed.e,
            phone: sealed.p,
            email_verified: sealed.v,
        });
        Self { binding, opened_millis: plain.m, source: plain.o, contact }
    }
}

/// One sealing key.
pub(super) struct SealingKey(LessSafeKey);

impl SealingKey {
    /// The key of these 32 bytes; nothing if there are more or fewer.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, bytes).ok()?)))
    }

    pub(super) fn seal(&self, sealed: &Sealed, context: &Context<'_>, entropy: &Entropy) -> Result<String, MintError> {
        let nonce: [u8; NONCE_LEN] = entropy.bytes();
        let mut buffer = Zeroizing::new(Vec::with_capacity(ROOM));
        buffer.extend_from_slice(&nonce);
        serde_json::to_writer(&mut *buffer, &sealed.to_plaintext()).ok().ok_or(MintError::Encode)?;
        // JSON may end in white space: the padding needs no length of its own.
        let padded = NONCE_LEN + (buffer.len() - NONCE_LEN).next_multiple_of(BLOCK);
        buffer.resize(padded, b' ');
        let plaintext = buffer.get_mut(NONCE_LEN..).ok_or(MintError::Seal)?;
        let aad = Aad::from(context.associated_data());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, aad, plaintext).ok().ok_or(MintError::Seal)?;
        buffer.extend_from_slice(tag.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(&*buffer))
    }

    fn open(&self, sealed: &[u8], associated: &[u8]) -> Option<Sealed> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut buffer = Zeroizing::new(text.to_vec());
        let plain = self.0.open_in_place(Nonce::from(nonce), Aad::from(associated), &mut buffer).ok()?;
        serde_json::from_slice(plain).ok().map(Sealed::from_plaintext)
    }
}

/// Opens `bnd` with whichever of the keys sealed it. After a rotation there are two; it takes no key id to find out.
pub(super) fn open<'k>(
    mut keys: impl Iterator<Item = &'k SealingKey>,
    bnd: &str,
    context: &Context<'_>,
) -> Result<Sealed, Refusal> {
    let sealed = URL_SAFE_NO_PAD.decode(bnd).ok().ok_or(Refusal::Binding)?;
    let associated = context.associated_data();
    keys.find_map(|key| key.open(&sealed, &associated)).ok_or(Refusal::Binding)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: Context<'_> =
        Context { kid: "k", issuer: "https://a", audience: "https://a", session: "s", bot: "b", jti: "j" };

    fn sealed(token: &str) -> Sealed {
        let binding = Binding {
            vendor: "acme".into(),
            profile: "superseek".into(),
            base: "digest".into(),
            bot: "1234".into(),
            key: "fingerprint".into(),
            session: Some(VendorSession::Integer(-7)),
            token: Some(Secret::new(token)),
            opened_as: None,
            ends: None,
        };
        Sealed { binding, opened_millis: 0, source: Some(ContactSource::Asserted), contact: None }
    }

    fn key(byte: u8) -> SealingKey {
        SealingKey::new(&[byte; 32]).expect("32 bytes")
    }

    #[test]
    fn what_is_sealed_opens_under_its_own_key_and_context_only() {
        let text = key(1).seal(&sealed("vendor-token"), &CONTEXT, &Entropy::system()).expect("seals");
        let opened = open([key(2), key(1)].iter(), &text, &CONTEXT).expect("opens");
        assert_eq!(opened.binding.token.as_ref().map(Secret::expose), Some("vendor-token"));
        assert_eq!(opened.binding.session, Some(VendorSession::Integer(-7)));
        assert!(open([key(2)].iter(), &text, &CONTEXT).is_err());
        for other in [
            Context { kid: "x", ..CONTEXT },
            Context { issuer: "x", ..CONTEXT },
            Context { audience: "x", ..CONTEXT },
            Context { session: "x", ..CONTEXT },
            Context { bot: "x", ..CONTEXT },
            Context { jti: "x", ..CONTEXT },
            // The same letters, parted elsewhere.
            Context { session: "sb", bot: "", ..CONTEXT },
        ] {
            assert_eq!(open([key(1)].iter(), &text, &other).err(), Some(Refusal::Binding));
        }
    }

    #[test]
    fn any_changed_byte_spoils_the_seal() {
        let text = key(1).seal(&sealed("vendor-token"), &CONTEXT, &Entropy::system()).expect("seals");
        let bytes = URL_SAFE_NO_PAD.decode(&text).expect("base64url");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(open([key(1)].iter(), &URL_SAFE_NO_PAD.encode(changed), &CONTEXT).is_err(), "{at}");
        }
        assert!(open([key(1)].iter(), "", &CONTEXT).is_err());
    }

    #[test]
    fn the_length_of_a_secret_does_not_show() {
        let length = |token| key(1).seal(&sealed(token), &CONTEXT, &Entropy::system()).expect("seals").len();
        assert_eq!(length("x"), length("xxxxxxxx"));
        let text = key(1).seal(&sealed("x"), &CONTEXT, &Entropy::system()).expect("seals");
        let plain = URL_SAFE_NO_PAD.decode(text).expect("base64url").len() - NONCE_LEN - AES_256_GCM_SIV.tag_len();
        assert_eq!(plain % BLOCK, 0);
    }

    #[test]
    fn the_same_binding_is_never_sealed_to_the_same_text() {
        let text = || key(1).seal(&sealed("x"), &CONTEXT, &Entropy::system()).expect("seals");
        assert_ne!(text(), text());
    }
}

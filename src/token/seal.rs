//! The sealed binding: AES-256-GCM-SIV (RFC 8452) under a key that signs nothing.
//!
//! `bnd` is base64url of nonce and ciphertext. GCM-SIV, because nonces are random and a repeated one then tells no more
//! than that two bindings are equal. The associated data names the token around it, so a binding cannot be moved to
//! another session even by somebody who has the signing key; the length is padded, so that it tells little of what is inside.

pub(super) mod answer;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::{Decode, Encode};
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

/// Who may have named a contact, by the number that is written. One that is not known may be stronger or weaker than ours: what
/// has it does not open.
const SOURCES: [ContactSource; 3] = [ContactSource::Claimed, ContactSource::Asserted, ContactSource::Verified];

/// What is under the seal, as CBOR (RFC 8949): a map by numbers, as short as can be, since it is paid for in every call.
/// Numbers that are not known are let pass, so that a replica of the next version can add one.
#[derive(Decode, Encode)]
#[cbor(map)]
struct Plaintext<'p> {
    #[b(0)]
    vendor: &'p str,
    #[b(1)]
    profile: &'p str,
    #[cbor(n(2), with = "minicbor::bytes")]
    base: [u8; 16],
    #[b(3)]
    bot: &'p str,
    #[cbor(n(4), with = "minicbor::bytes")]
    key: [u8; 32],
    #[b(5)]
    session_text: Option<&'p str>,
    #[n(6)]
    session_integer: Option<i64>,
    #[b(7)]
    token: Option<&'p str>,
    #[b(8)]
    opened_as: Option<&'p str>,
    #[n(9)]
    ends: Option<u64>,
    #[n(10)]
    opened_millis: u16,
    /// The place in [`SOURCES`].
    #[n(11)]
    source: Option<u8>,
    #[b(12)]
    contact: Option<SealedContact<'p>>,
}

#[derive(Decode, Encode)]
#[cbor(map)]
struct SealedContact<'p> {
    #[b(0)]
    name: Option<&'p str>,
    #[b(1)]
    email: Option<&'p str>,
    #[b(2)]
    phone: Option<&'p str>,
    #[n(3)]
    email_verified: bool,
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
    fn to_plaintext(&self) -> Plaintext<'_> {
        let binding = &self.binding;
        let (session_text, session_integer) = match &binding.session {
            Some(VendorSession::Text(text)) => (Some(text.as_str()), None),
            Some(VendorSession::Integer(integer)) => (None, Some(*integer)),
            None => (None, None),
        };
        Plaintext {
            vendor: &binding.vendor,
            profile: &binding.profile,
            base: binding.base,
            bot: &binding.bot,
            key: binding.key,
            session_text,
            session_integer,
            token: binding.token.as_ref().map(Secret::expose),
            opened_as: binding.opened_as.as_deref(),
            ends: binding.ends.map(Timestamp::seconds),
            opened_millis: self.opened_millis,
            source: SOURCES.iter().zip(0..).find_map(|(known, number)| (self.source == Some(*known)).then_some(number)),
            contact: self.contact.as_ref().map(|contact| SealedContact {
                name: contact.name.as_deref(),
                email: contact.email.as_deref(),
                phone: contact.phone.as_deref(),
                email_verified: contact.email.is_some() && contact.email_verified,
            }),
        }
    }

    fn from_plaintext(plain: &Plaintext<'_>) -> Option<Self> {
        let source = match plain.source {
            Some(number) => Some(*SOURCES.get(usize::from(number))?),
            None => None,
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let text = owned(plain.session_text).map(VendorSession::Text);
        let binding = Binding {
            vendor: plain.vendor.to_owned(),
            profile: plain.profile.to_owned(),
            base: plain.base,
            bot: plain.bot.to_owned(),
            key: plain.key,
            session: text.or(plain.session_integer.map(VendorSession::Integer)),
            token: plain.token.map(Secret::new),
            opened_as: owned(plain.opened_as),
            ends: plain.ends.map(Timestamp::from_seconds),
        };
        let contact = plain.contact.as_ref().map(|sealed| Contact {
            name: owned(sealed.name),
            email: owned(sealed.email),
            phone: owned(sealed.phone),
            email_verified: sealed.email_verified,
        });
        Some(Self { binding, opened_millis: plain.opened_millis, source, contact })
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
        minicbor::encode(sealed.to_plaintext(), &mut *buffer).ok().ok_or(MintError::Encode)?;
        // The map says where it ends: the padding behind it needs no length of its own.
        let padded = NONCE_LEN + (buffer.len() - NONCE_LEN).next_multiple_of(BLOCK);
        buffer.resize(padded, 0);
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
        minicbor::decode(plain).ok().as_ref().and_then(Sealed::from_plaintext)
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
            base: [5; 16],
            bot: "1234".into(),
            key: [6; 32],
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
    fn all_that_is_sealed_comes_back() {
        let said = |sealed: &Sealed| {
            let Binding { vendor, profile, base, bot, key, session, token, opened_as, ends } = sealed.binding.clone();
            let names = (vendor, profile, base, bot, key, session);
            let rest = (token.map(|token| token.expose().to_owned()), opened_as, ends);
            (names, rest, sealed.opened_millis, sealed.source, sealed.contact.clone())
        };
        let (text, integer) = (VendorSession::Text("conv_1".into()), VendorSession::Integer(i64::MIN));
        let full = Contact {
            name: Some("Ada".into()),
            email: Some("ada@example.com".into()),
            phone: Some("+44207".into()),
            email_verified: true,
        };
        let none = Contact { name: None, email: None, phone: None, email_verified: false };
        for (session, contact, source) in [
            (Some(text), Some(full), Some(ContactSource::Verified)),
            (Some(integer), Some(none), Some(ContactSource::Claimed)),
            (None, None, None),
        ] {
            let has = source.is_some();
            let mut sealed =
                Sealed { opened_millis: if has { 999 } else { 0 }, source, contact, ..sealed("vendor-token") };
            sealed.binding.session = session;
            sealed.binding.opened_as = has.then(|| "pseudonym".to_owned());
            sealed.binding.ends = has.then(|| Timestamp::from_seconds(1_800_000_000));
            sealed.binding.token = sealed.binding.token.filter(|_| has);
            let text = key(1).seal(&sealed, &CONTEXT, &Entropy::system()).expect("seals");
            let opened = open([key(1)].iter(), &text, &CONTEXT).expect("opens");
            assert_eq!(said(&opened), said(&sealed));
        }
    }

    #[test]
    fn a_source_of_a_later_version_is_none_of_ours() {
        let known = sealed("vendor-token");
        for (number, is_known) in [(Some(2), true), (Some(3), false), (Some(255), false), (None, true)] {
            let plain = Plaintext { source: number, ..known.to_plaintext() };
            assert_eq!(Sealed::from_plaintext(&plain).is_some(), is_known, "{number:?}");
        }
        let mut text = minicbor::to_vec(Plaintext { source: None, ..known.to_plaintext() }).expect("encodes");
        text[0] += 1;
        // No number of ours, and larger than any of them.
        text.extend([11, 0x19, 0x01, 0x00]);
        assert!(minicbor::decode::<Plaintext<'_>>(&text).is_err());
    }

    #[test]
    fn what_a_later_version_seals_besides_is_let_pass() {
        let mut text = minicbor::to_vec(sealed("vendor-token").to_plaintext()).expect("encodes");
        // A map of few says in its first byte of how many (RFC 8949 §3.1).
        assert_eq!(text[0] >> 5, 5);
        text[0] += 1;
        text.extend(minicbor::to_vec((99, ["later"])).expect("encodes").split_off(1));
        // And the padding.
        text.resize(text.len().next_multiple_of(BLOCK), 0);
        let plain: Plaintext<'_> = minicbor::decode(&text).expect("decodes");
        assert_eq!(plain.token, Some("vendor-token"));
        assert!(minicbor::decode::<Plaintext<'_>>(&[0; BLOCK]).is_err());
        assert!(minicbor::decode::<Plaintext<'_>>(&[0xa0]).is_err(), "a binding without a vendor");
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

//! How a secret may be written: as it stands, in hex, in base64.
//!
//! Escapes are no forms: they may stand for any of the characters of any form, see [`super::escape`].

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::escape;
use super::needles::HEAD;
use crate::secret::SHORTEST;

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Raw,
    /// What a secret that looks escaped itself (`a%2Fb`) is for whoever undoes escapes.
    Unescaped,
    /// A secret with `\` as JSON writes it, the one escape that is not undone, see [`escape::parse`].
    Doubled,
    LowerHex,
    UpperHex,
    /// Base64 of a text that holds the secret behind so many bytes, modulo 3.
    Base64(usize),
    /// The same in the alphabet for URLs.
    Base64Url(usize),
}

/// The kinds of every secret.
pub(super) const USUAL: [Kind; 9] = [
    Kind::Raw,
    Kind::LowerHex,
    Kind::UpperHex,
    Kind::Base64(0),
    Kind::Base64(1),
    Kind::Base64(2),
    Kind::Base64Url(0),
    Kind::Base64Url(1),
    Kind::Base64Url(2),
];

/// Those that a secret has only if it holds a character with which escapes begin.
pub(super) const UNUSUAL: [Kind; 2] = [Kind::Unescaped, Kind::Doubled];

impl Kind {
    /// The whole of `secret` in this form. Nothing if that is so short that it would be found in ordinary text, or
    /// the same as in another.
    pub(super) fn of(self, secret: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let form = self.written(secret);
        let is_another = match self {
            Self::Raw | Self::LowerHex | Self::Base64(_) => true,
            Self::Unescaped | Self::Doubled => *form != secret,
            Self::UpperHex => form.iter().any(u8::is_ascii_uppercase),
            Self::Base64Url(_) => form.iter().any(|byte| matches!(byte, b'-' | b'_')),
        };
        (is_another && form.len() >= SHORTEST).then_some(form)
    }

    /// How `secret` is written.
    fn written(self, secret: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Raw => secret.to_vec(),
            Self::Unescaped => unescaped(secret),
            Self::Doubled => secret.iter().flat_map(|byte| [*byte].repeat(1 + usize::from(*byte == b'\\'))).collect(),
            Self::LowerHex => hex(secret, b"0123456789abcdef").collect(),
            Self::UpperHex => hex(secret, b"0123456789ABCDEF").collect(),
            Self::Base64(before) => determined(&STANDARD_NO_PAD, before, secret),
            Self::Base64Url(before) => determined(&URL_SAFE_NO_PAD, before, secret),
        })
    }

    /// The first bytes of a usual form, without the others: a beginning of a secret gives a beginning of its form.
    pub(super) fn head(self, secret: &[u8]) -> Option<Zeroizing<[u8; HEAD]>> {
        let secret: &[u8; HEAD] = secret.first_chunk()?;
        let mut head = Zeroizing::new(*secret);
        match self {
            Self::Raw => {}
            Self::LowerHex => head.iter_mut().zip(hex(secret, b"0123456789abcdef")).for_each(|(at, digit)| *at = digit),
            Self::UpperHex => head.iter_mut().zip(hex(secret, b"0123456789ABCDEF")).for_each(|(at, digit)| *at = digit),
            Self::Base64(before) => *head = first_determined(&STANDARD_NO_PAD, before, secret)?,
            Self::Base64Url(before) => *head = first_determined(&URL_SAFE_NO_PAD, before, secret)?,
            Self::Unescaped | Self::Doubled => return None,
        }
        Some(head)
    }

    /// How long the form of a secret of `length` bytes is, if it is a usual one.
    pub(super) const fn length(self, length: usize) -> usize {
        match self {
            Self::LowerHex | Self::UpperHex => 2 * length,
            Self::Base64(before) | Self::Base64Url(before) => {
                let (first, end) = digits(before, length);
                end - first
            }
            Self::Raw | Self::Unescaped | Self::Doubled => length,
        }
    }
}

fn hex<'s>(secret: &'s [u8], digits: &'static [u8; 16]) -> impl Iterator<Item = u8> + 's {
    secret.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]])
}

/// The digits of base64 that hold bits of `length` bytes behind `before` others, and no other bits.
const fn digits(before: usize, length: usize) -> (usize, usize) {
    ((before * 8).div_ceil(6), (before + length) * 8 / 6)
}

fn determined(engine: &impl Engine, before: usize, secret: &[u8]) -> Vec<u8> {
    let whole = Zeroizing::new([&[0; 2][..before], secret].concat());
    let encoded = Zeroizing::new(engine.encode(&*whole));
    let (first, end) = digits(before, secret.len());
    encoded.as_bytes()[first..end].to_vec()
}

/// The first of them, of which the secret's first bytes make enough.
fn first_determined(engine: &impl Engine, before: usize, secret: &[u8; HEAD]) -> Option<[u8; HEAD]> {
    let (mut whole, mut encoded) = ([0; HEAD + 2], [0; 2 * HEAD]);
    whole[before..before + HEAD].copy_from_slice(secret);
    engine.encode_slice(&whole[..before + HEAD], &mut encoded).ok()?;
    encoded[digits(before, HEAD).0..].first_chunk().copied()
}

fn unescaped(secret: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(secret.len());
    let mut rest = secret;
    while let [first, behind @ ..] = rest {
        match escape::parse(rest) {
            escape::Parsed::Escape { byte, length } => {
                out.push(byte);
                rest = &rest[length..];
            }
            escape::Parsed::Partial | escape::Parsed::Plain => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

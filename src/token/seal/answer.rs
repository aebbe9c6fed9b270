//! Answers that were given once, sealed as bindings are: they hold tokens, and the store is no place for those.
//!
//! The associated data is the key under which the store keeps the answer, so that nobody who can write there moves one
//! caller's answer to another's key; its first part is no binding's, so that neither is ever opened as the other.

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use zeroize::Zeroizing;

use super::{SealingKey, frame};
use crate::id::{Entropy, hex};

/// Seals `answer` for `key`: nonce, ciphertext, tag.
pub(in crate::token) fn seal(
    sealing: &SealingKey,
    key: &[u8; 32],
    answer: &[u8],
    entropy: &Entropy,
) -> Option<Vec<u8>> {
    let nonce: [u8; NONCE_LEN] = entropy.bytes();
    let mut buffer = Zeroizing::new(answer.to_vec());
    let aad = Aad::from(associated_data(key));
    let tag = sealing.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut buffer).ok()?;
    Some([nonce.as_slice(), &buffer, tag.as_ref()].concat())
}

/// Opens what was sealed for `key`, with whichever of the keys did it.
pub(in crate::token) fn open<'k>(
    mut keys: impl Iterator<Item = &'k SealingKey>,
    key: &[u8; 32],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let associated = associated_data(key);
    keys.find_map(|sealing| {
        let mut buffer = Zeroizing::new(text.to_vec());
        let aad = Aad::from(associated.as_slice());
        let length = sealing.0.open_in_place(Nonce::from(nonce), aad, &mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    })
}

fn associated_data(key: &[u8; 32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    frame(&["answer", &hex(key)], |bytes| out.extend_from_slice(bytes));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealing(byte: u8) -> SealingKey {
        SealingKey::new(&[byte; 32]).expect("32 bytes")
    }

    #[test]
    fn a_sealed_answer_opens_under_its_own_key_only_and_shows_nothing() {
        let answer = b"{\"token\":\"eyJhbGciOiJFZERTQSIs\"}";
        let sealed = seal(&sealing(1), &[7; 32], answer, &Entropy::system()).expect("seals");
        assert!(!sealed.windows(5).any(|part| part == b"token"));
        let opened = open([sealing(2), sealing(1)].iter(), &[7; 32], &sealed).expect("opens after a rotation, too");
        assert_eq!(opened.as_slice(), answer);
        assert!(open([sealing(2)].iter(), &[7; 32], &sealed).is_none());
        assert!(open([sealing(1)].iter(), &[8; 32], &sealed).is_none());
        assert!(open([sealing(1)].iter(), &[7; 32], b"short").is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open([sealing(1)].iter(), &[7; 32], &changed).is_none(), "{at}");
        }
    }
}

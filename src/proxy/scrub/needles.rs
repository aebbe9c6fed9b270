//! What to look for.
//!
//! Of each form its first bytes are kept, and a filter over them; its whole is made when they are found
//! ([`super::form`]), which is next to never. So the needles for a session's vendor token are small and made in less
//! time than a call takes to be routed: they are made anew for each answer, and nothing of them is kept with the token.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::filter::{BLOCK, Bytes, Filter, block};
use super::forms::{Kind, UNUSUAL, USUAL};
use crate::secret::{SHORTEST, Secret};

/// How many bytes of each form are kept. None is shorter than the shortest secret.
pub(super) const HEAD: usize = SHORTEST;

/// Whoever looks at every so many bytes of a text sees a whole block of every head in it.
pub(super) const STRIDE: usize = HEAD - BLOCK + 1;

/// What to look for: the forms of some secrets.
#[derive(Default)]
pub(crate) struct Needles {
    /// Those of the vendor's keys, if these are a session's.
    keys: Option<Arc<Needles>>,
    secrets: Vec<Secret>,
    needles: Vec<Needle>,
    /// Over the heads of all, also of `keys`.
    filter: Filter,
    /// The bytes with which forms begin.
    first: Bytes,
    /// All bytes that forms are made of, and perhaps more.
    alphabet: Bytes,
    /// The length of the longest form.
    longest: usize,
}

/// One form of one secret.
pub(super) struct Needle {
    secret: usize,
    kind: Kind,
    head: Zeroizing<[u8; HEAD]>,
}

impl Needles {
    /// The forms of a vendor's keys. Those that are too short (see [`crate::secret::SHORTEST`]) are left out, as
    /// masking them would spoil answers: whoever takes a secret in has to refuse them.
    pub(crate) fn of<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Self {
        Self::default().and(secrets)
    }

    /// Those of `keys`, and of a session's vendor token.
    pub(crate) fn with(keys: &Arc<Self>, token: &Secret) -> Self {
        let own = Self {
            keys: Some(Arc::clone(keys)),
            secrets: Vec::new(),
            needles: Vec::new(),
            filter: keys.filter.clone(),
            first: keys.first,
            alphabet: keys.alphabet,
            longest: keys.longest,
        };
        own.and([token])
    }

    fn and<'s>(mut self, secrets: impl IntoIterator<Item = &'s Secret>) -> Self {
        for secret in secrets {
            let is_known = self.all_secrets().any(|known| known.expose() == secret.expose());
            if !is_known && !secret.is_too_short() {
                self.add(secret);
            }
        }
        let heads = self.needles.len() + self.keys.as_ref().map_or(0, |keys| keys.needles.len());
        if !self.filter.is_for(heads * STRIDE) {
            self.filter = Filter::new(heads * STRIDE);
            self.keys
                .iter()
                .for_each(|keys| keys.needles.iter().for_each(|needle| needle.filter_into(&mut self.filter)));
        }
        self.needles.iter().for_each(|needle| needle.filter_into(&mut self.filter));
        self
    }

    fn add(&mut self, secret: &Secret) {
        let number = self.secrets.len();
        self.secrets.push(secret.clone());
        let secret = secret.expose().as_bytes();
        self.needles.reserve(USUAL.len());
        for kind in USUAL {
            self.longest = self.longest.max(kind.length(secret.len()));
            self.needles.extend(kind.head(secret).map(|head| Needle { secret: number, kind, head }));
        }
        self.alphabet = self.alphabet.join(Bytes::DIGITS);
        secret.iter().filter(|byte| !Bytes::DIGITS.has(**byte)).for_each(|byte| self.alphabet.add(*byte));
        if secret.iter().any(|byte| matches!(byte, b'%' | b'\\')) {
            for (kind, form) in UNUSUAL.into_iter().filter_map(|kind| Some((kind, kind.of(secret)?))) {
                self.longest = self.longest.max(form.len());
                form.iter().for_each(|byte| self.alphabet.add(*byte));
                let head = form.first_chunk().copied().map(Zeroizing::new);
                self.needles.extend(head.map(|head| Needle { secret: number, kind, head }));
            }
        }
        self.needles.iter().for_each(|needle| self.first.add(needle.head[0]));
    }

    fn all_secrets(&self) -> impl Iterator<Item = &Secret> {
        self.keys.iter().flat_map(|keys| &keys.secrets).chain(&self.secrets)
    }

    /// All forms by their heads. Their place in this order is their number.
    pub(super) fn heads(&self) -> impl Iterator<Item = &[u8; HEAD]> {
        self.keys.iter().flat_map(|keys| &keys.needles).chain(&self.needles).map(|needle| &*needle.head)
    }

    /// The whole form of this number. Nothing if it is the same as another.
    pub(super) fn form(&self, number: usize) -> Option<Zeroizing<Vec<u8>>> {
        let of_keys = self.keys.as_ref().map_or(0, |keys| keys.needles.len());
        match (number.checked_sub(of_keys), &self.keys) {
            (Some(own), _) => {
                let needle = self.needles.get(own)?;
                needle.kind.of(self.secrets.get(needle.secret)?.expose().as_bytes())
            }
            (None, keys) => keys.as_ref()?.form(number),
        }
    }

    /// Whether some head may have a block of this [`super::filter::hash`].
    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.filter.may_have(hash)
    }

    /// Whether some form begins with `byte`.
    #[inline]
    pub(super) fn begins_with(&self, byte: u8) -> bool {
        self.first.has(byte)
    }

    /// Whether `byte` may be in some form. What it says no to is in none.
    #[inline]
    pub(super) fn has(&self, byte: u8) -> bool {
        self.alphabet.has(byte)
    }

    /// The length of the longest form.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }
}

impl fmt::Debug for Needles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Needles({} secrets)", self.all_secrets().count())
    }
}

impl Needle {
    fn filter_into(&self, filter: &mut Filter) {
        (0..STRIDE).filter_map(|at| block(&*self.head, at)).for_each(|block| filter.add(block));
    }
}

//! Keeps secrets out of what vendors answer.
//!
//! Every whole occurrence of a form of a secret is overwritten with as many `*`, wherever the borders of the chunks
//! fall. What it does not do: find a secret that the vendor has transformed in a way that is not among the forms, or
//! one that is cut into separate messages.
//!
//! The state is the *live match*, the longest end of what came so far that is a proper beginning of some form, and how
//! much of it has gone out. The invariants, with `n` the length of the longest form:
//!
//! 1. As many bytes go out as came in, at the same places: a `Content-Length` stays true.
//! 2. Only bytes of the live match are held back, so at most `n - 1`, and none if no form has begun.
//! 3. No occurrence that completes later begins before the live match. Hence what lies before it can go out, and
//!    whatever is still to be masked lies in live match and next chunk together.
//! 4. Leading bytes of the live match that belong to a complete occurrence go out, masked, at once. So no mask need be
//!    remembered: an occurrence wholly inside the live match is found again with the next chunk.
//! 5. A pause sends held bytes only while the live match is shorter than [`TELLING`], and forgets none of them. As live
//!    matches only ever begin later, nothing but the first `TELLING - 1` bytes of an occurrence can leave
//!    unmasked, in however many pauses the vendor drips it.
//! 6. The time is linear in what comes, also for a vendor that picks token and answer to make it slow.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use memchr::memmem::Finder;

use crate::secret::Secret;

/// A live match of so many bytes is held through a pause. Shorter ones are common text (`sk-`, `Bearer`), for which a
/// stream must not stall; and the 7 bytes that may leave are less than half of the shortest secret.
const TELLING: usize = 8;

const MASK: u8 = b'*';

/// What to look for: built once for a vendor's keys, and per verified token for the vendor's token.
pub(super) struct Needles {
    forms: Box<[Form]>,
}

impl Needles {
    /// The forms of `secrets`. Those that are too short (see [`crate::secret::SHORTEST`]) are left out, as masking
    /// them would spoil answers: whoever takes a secret in has to refuse them.
    pub(super) fn of<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Self {
        let mut seen = HashSet::new();
        let forms = secrets
            .into_iter()
            .filter(|secret| !secret.is_too_short())
            .map(|secret| secret.expose().as_bytes())
            .filter(|form| seen.insert(*form))
            .map(Form::new)
            .collect();
        Self { forms }
    }
}

impl fmt::Debug for Needles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Needles({} forms)", self.forms.len())
    }
}

/// Scans one body as it streams.
pub(super) struct Scrubber {
    needles: [Option<Arc<Needles>>; 2],
    /// The live match, as the vendor wrote it.
    live: Vec<u8>,
    /// How many bytes of `live` have gone out.
    sent: usize,
    hits: u32,
}

impl Scrubber {
    /// Looks for the vendor's keys and the session's vendor token.
    pub(super) fn new(needles: [Option<Arc<Needles>>; 2]) -> Self {
        Self { needles, live: Vec::new(), sent: 0, hits: 0 }
    }

    /// Takes the next chunk and returns what may go out now: the chunk itself or a slice of it when nothing was held
    /// and nothing is found.
    pub(super) fn push(&mut self, chunk: Bytes) -> Bytes {
        if chunk.is_empty() {
            return chunk;
        }
        let known = self.live.len();
        let text = if known == 0 { chunk } else { [&self.live, &*chunk].concat().into() };

        let found = search(self.forms(), &text, known);
        let live_at = text.len() - self.forms().map(|form| form.live_suffix(&text)).max().unwrap_or(0);
        let masked_to = found.spans.iter().filter(|span| span.start <= live_at).map(|span| span.end).max();
        let end = masked_to.map_or(live_at, |end| end.max(live_at)).max(self.sent);
        let start = self.sent;

        self.live.clear();
        self.live.extend_from_slice(&text[live_at..]);
        self.sent = end - live_at;
        self.hits = self.hits.saturating_add(found.hits);
        cut(found.mask(text), start..end)
    }

    /// Whether bytes are held back.
    pub(super) fn is_holding(&self) -> bool {
        self.sent < self.live.len()
    }

    /// Whether [`Self::release`] would send any of them. Only then is a timer of use: a longer match stays held until
    /// the next chunk or the end, however often it is asked for.
    pub(super) fn is_releasable(&self) -> bool {
        self.is_holding() && self.live.len() < TELLING
    }

    /// To be called when bytes have been held for 50 ms: sends them unless they could tell a secret, and goes on
    /// looking for what they may have begun.
    pub(super) fn release(&mut self) -> Bytes {
        if !self.is_releasable() {
            return Bytes::new();
        }
        // Too short to hold a whole form: nothing in it can be masked.
        let out = Bytes::copy_from_slice(&self.live[self.sent..]);
        self.sent = self.live.len();
        out
    }

    /// The end of the body: what is still held. A partial match is no secret, but it may hold a whole one.
    pub(super) fn finish(&mut self) -> Bytes {
        let (start, end) = (self.sent, self.live.len());
        self.sent = 0;
        let text = Bytes::from(std::mem::take(&mut self.live));
        let found = search(self.forms(), &text, end);
        cut(found.mask(text), start..end)
    }

    /// How many occurrences were found so far. Overlapping ones count each, and one of a secret in both sets twice.
    pub(super) fn hits(&self) -> u32 {
        self.hits
    }

    fn forms(&self) -> impl Iterator<Item = &Form> {
        self.needles.iter().flatten().flat_map(|needles| &needles.forms)
    }
}

/// A header's value with its secrets masked, or none if it is clean.
pub(super) fn mask_header(needles: [Option<&Needles>; 2], value: &[u8]) -> Option<Vec<u8>> {
    let found = search(needles.into_iter().flatten().flat_map(|needles| &needles.forms), value, 0);
    (!found.spans.is_empty()).then(|| {
        let mut masked = value.to_vec();
        found.overwrite(&mut masked);
        masked
    })
}

/// The slice of `text`, without a new reference to it.
fn cut(mut text: Bytes, range: Range<usize>) -> Bytes {
    text.truncate(range.end);
    text.advance(range.start);
    text
}

/// All occurrences in `text`. Counted are those that end behind the first `known` bytes: the others were before.
fn search<'f>(forms: impl Iterator<Item = &'f Form>, text: &[u8], known: usize) -> Found {
    let mut found = Found { spans: Vec::new(), hits: 0 };
    for form in forms {
        form.each_match(text, |span| {
            found.hits = found.hits.saturating_add(u32::from(span.end > known));
            found.add(span);
        });
    }
    found
}

/// Occurrences in one text. The usual one has none and allocates nothing.
struct Found {
    spans: Vec<Range<usize>>,
    hits: u32,
}

impl Found {
    /// Spans of one form come in order: those that touch become one, lest a periodic text make a span per byte.
    fn add(&mut self, span: Range<usize>) {
        match self.spans.last_mut() {
            Some(last) if last.start <= span.start && span.start <= last.end => last.end = last.end.max(span.end),
            _ => self.spans.push(span),
        }
    }

    fn mask(&self, text: Bytes) -> Bytes {
        if self.spans.is_empty() {
            return text;
        }
        // Copies only if somebody else holds the same memory.
        let mut text = BytesMut::from(text);
        self.overwrite(&mut text);
        text.freeze()
    }

    fn overwrite(&self, text: &mut [u8]) {
        for span in &self.spans {
            text[span.clone()].fill(MASK);
        }
    }
}

/// One way in which a secret may be written.
struct Form {
    // Owns the bytes, which are not wiped when it is dropped: `Finder` gives no access to do so.
    finder: Finder<'static>,
    /// For each length of a partial match, the next shorter one that ends at the same byte (Knuth, Morris, Pratt).
    /// With it, overlapping and partial matches take linear time, where comparing suffixes would take quadratic.
    fallback: Box<[u32]>,
}

impl Form {
    fn new(bytes: &[u8]) -> Self {
        let mut fallback = vec![0, 0];
        let mut matched: u32 = 0;
        for byte in bytes.iter().skip(1) {
            while matched > 0 && bytes[matched as usize] != *byte {
                matched = fallback[matched as usize];
            }
            matched += u32::from(bytes[matched as usize] == *byte);
            fallback.push(matched);
        }
        Self { finder: Finder::new(bytes).into_owned(), fallback: fallback.into() }
    }

    fn bytes(&self) -> &[u8] {
        self.finder.needle()
    }

    /// The length of the partial match after `byte` has followed one of `matched` bytes.
    fn advance(&self, mut matched: usize, byte: u8) -> usize {
        while matched > 0 && self.bytes()[matched] != byte {
            matched = self.fallback[matched] as usize;
        }
        matched + usize::from(self.bytes()[matched] == byte)
    }

    /// Calls `found` for every occurrence in order, also for those that overlap, which `Finder` alone would skip.
    fn each_match(&self, text: &[u8], mut found: impl FnMut(Range<usize>)) {
        let length = self.bytes().len();
        let mut at = 0;
        while let Some(start) = self.finder.find(&text[at..]) {
            at += start;
            let mut matched = length;
            let mut rest = text[at + length..].iter();
            at += length;
            loop {
                if matched == length {
                    found(at - length..at);
                    matched = self.fallback[length] as usize;
                }
                match rest.next() {
                    Some(byte) if matched > 0 => matched = self.advance(matched, *byte),
                    _ => break,
                }
                at += 1;
            }
        }
    }

    /// How many bytes at the end of `text` are a proper beginning of this form: the most there are.
    fn live_suffix(&self, text: &[u8]) -> usize {
        let form = self.bytes();
        let mut rest = &text[text.len().saturating_sub(form.len() - 1)..];
        while let Some(first) = memchr(form[0], rest) {
            let mut matched = 1;
            rest = &rest[first + 1..];
            while matched > 0 {
                let Some((byte, behind)) = rest.split_first() else { return matched };
                matched = self.advance(matched, *byte);
                rest = behind;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests;

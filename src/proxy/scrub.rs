//! Keeps secrets out of what vendors answer.
//!
//! Every whole occurrence of a form of a secret is overwritten with as many `*`, wherever the borders of the chunks
//! fall. The forms are the secret as it stands, in hex and in base64 ([`forms`]), and any characters of a form may be
//! written as escapes ([`escape`]). What it does not do: find a secret that the vendor has transformed in another way,
//! or one that is cut into separate messages.
//!
//! The search looks at every thirteenth place of the text only ([`filter`], [`needles`]), follows what begins like a
//! form ([`form`]), and does so in two views of the text ([`lane`]): as it stands, and around escapes unescaped
//! ([`escapes`]).
//!
//! The state is the *live match*, the longest end of what came so far that is a proper beginning of some form however
//! it is escaped, and how much of it has gone out. The invariants, with `n` the length of the longest form:
//!
//! 1. As many bytes go out as came in, at the same places: a `Content-Length` stays true.
//! 2. Only bytes of the live match are held back, so less than `6 n`, and none if no form has begun.
//! 3. No occurrence that completes later begins before the live match. Hence what lies before it can go out.
//! 4. Leading bytes of the live match that belong to a complete occurrence go out, masked, at once. What else of it is
//!    to be masked is remembered.
//! 5. A pause sends held bytes only while the live match is shorter than [`TELLING`], and forgets none of them. As live
//!    matches only ever begin later, nothing but the first `TELLING - 1` bytes of an occurrence can leave
//!    unmasked, in however many pauses the vendor drips it.
//! 6. The time is linear in what comes, also for a vendor that picks token and answer to make it slow, and in whatever
//!    parts it sends them: what has been searched is not searched again, but for the last 15 characters.

mod escape;
mod escapes;
mod filter;
mod form;
mod forms;
mod lane;
mod needles;
mod view;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use self::escapes::Escapes;
use self::form::Forms;
use self::lane::Lane;
pub(super) use self::needles::Needles;
use self::view::{Text, View};

/// How long the beginning of what may be a secret is held back.
pub(super) const HOLD: Duration = Duration::from_millis(50);
/// A live match of so many bytes is held through a pause. Shorter ones are common text (`sk-`, `Bearer`), for which a
/// stream must not stall; and the 7 bytes that may leave are less than half of the shortest secret.
const TELLING: usize = 8;

const MASK: u8 = b'*';

/// Scans one body as it streams.
pub(super) struct Scrubber {
    needles: Arc<Needles>,
    search: Search,
    /// The live match, as the vendor wrote it.
    live: BytesMut,
    /// Where in the body it begins.
    at: usize,
    /// How many bytes of `live` have gone out.
    sent: usize,
    hits: u32,
}

impl Scrubber {
    /// Looks for these.
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self { needles, search: Search::default(), live: BytesMut::new(), at: 0, sent: 0, hits: 0 }
    }

    /// Takes the next chunk and returns what may go out now: the chunk itself or a slice of it when nothing was held
    /// and nothing is found.
    pub(super) fn push(&mut self, chunk: Bytes) -> Bytes {
        if chunk.is_empty() {
            return chunk;
        }
        let is_first = self.live.is_empty();
        if !is_first {
            self.live.extend_from_slice(&chunk);
        }
        let text = Text { bytes: if is_first { &chunk } else { &self.live }, at: self.at };
        let live_at = self.search.part(text, &self.needles);
        let start = self.at + self.sent;
        let end = self.search.found.masked_to(live_at).max(start);
        let out = self.part_with(is_first.then_some(chunk), live_at, end);
        let Found { spans, hits } = &mut self.search.found;
        let out = masked(out, start, spans);
        spans.retain(|span| span.end > end);
        self.hits = self.hits.saturating_add(std::mem::take(hits));
        out
    }

    /// What has not gone out up to `end`. From `live_at` on it stays here: of what is here already, or else of `chunk`.
    fn part_with(&mut self, chunk: Option<Bytes>, live_at: usize, end: usize) -> Bytes {
        let (out, rest) = (self.sent..end - self.at, live_at - self.at);
        (self.at, self.sent) = (live_at, end - live_at);
        match chunk {
            Some(chunk) => {
                self.live.extend_from_slice(&chunk[rest..]);
                cut(chunk, out)
            }
            // The shorter of the two is copied: then all copies together are no longer than the body.
            None if out.len() < self.live.len() - rest => {
                let copy = Bytes::copy_from_slice(&self.live[out]);
                self.live.advance(rest);
                copy
            }
            None => {
                let rest = BytesMut::from(&self.live[rest..]);
                cut(std::mem::replace(&mut self.live, rest).freeze(), out)
            }
        }
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
        let search = std::mem::take(&mut self.search);
        let rest = cut(std::mem::take(&mut self.live).freeze(), start..end);
        let out = masked(rest, self.at + start, &search.found.spans);
        (self.at, self.sent) = (0, 0);
        out
    }

    /// How many occurrences were found so far. Overlapping ones count each, and one of a secret in both needles twice.
    pub(super) fn hits(&self) -> u32 {
        self.hits
    }
}

/// Masks what is a whole text by itself (a header's value, a control frame, the reason of a close), and answers how
/// many occurrences there were.
pub(super) fn mask_whole(needles: &Needles, text: &mut [u8]) -> u32 {
    let found = found_in(needles, text);
    overwrite(text, 0, &found.spans);
    found.hits
}

/// A header's value with its secrets masked, or none if it is clean.
pub(super) fn mask_header(needles: &Needles, value: &[u8]) -> Option<Vec<u8>> {
    (hits(needles, value) > 0).then(|| {
        let mut masked = value.to_vec();
        mask_whole(needles, &mut masked);
        masked
    })
}

/// How many forms of these secrets are in `text`.
pub(super) fn hits(needles: &Needles, text: &[u8]) -> u32 {
    found_in(needles, text).hits
}

fn found_in(needles: &Needles, text: &[u8]) -> Found {
    let mut search = Search::default();
    search.look(Text { bytes: text, at: 0 }, needles);
    search.found
}

/// The slice of `text`, without a new reference to it.
fn cut(mut text: Bytes, range: Range<usize>) -> Bytes {
    text.truncate(range.end);
    text.advance(range.start);
    text
}

/// The search in one text, part by part.
#[derive(Default)]
struct Search {
    plain: Lane,
    escapes: Escapes,
    forms: Forms,
    found: Found,
}

impl Search {
    /// Searches what `text` has more than the last time, and answers where in the body the live match begins. The next
    /// text has to begin there.
    fn part(&mut self, text: Text<'_>, needles: &Needles) -> usize {
        self.look(text, needles);
        let Self { plain, escapes, forms, .. } = self;
        let plain = plain.live(View::plain(text), &[], needles, forms);
        let live = plain.into_iter().chain(escapes.live(text, needles, forms)).min();
        live.unwrap_or(text.end())
    }

    /// The same where nothing follows: nothing is live then.
    fn look(&mut self, text: Text<'_>, needles: &Needles) {
        let Self { plain, escapes, forms, found } = self;
        plain.search_plain(View::plain(text), needles, forms, found);
        escapes.search(text, needles, forms, found);
    }
}

/// Occurrences, by their places in the body. The usual body has none and allocates nothing.
#[derive(Default)]
struct Found {
    spans: Vec<Range<usize>>,
    hits: u32,
}

impl Found {
    /// Spans of one form come in order: those that touch become one, lest a periodic text make a span per byte.
    fn add(&mut self, span: Range<usize>) {
        self.hits = self.hits.saturating_add(1);
        match self.spans.last_mut() {
            Some(last) if last.start <= span.start && span.start <= last.end => last.end = last.end.max(span.end),
            _ => self.spans.push(span),
        }
    }

    /// Up to where everything from `live_at` on is masked.
    fn masked_to(&self, live_at: usize) -> usize {
        self.spans.iter().filter(|span| span.start <= live_at).fold(live_at, |end, span| end.max(span.end))
    }
}

/// `text`, which stands at `at` in the body, with these places masked.
fn masked(text: Bytes, at: usize, spans: &[Range<usize>]) -> Bytes {
    if spans.is_empty() {
        return text;
    }
    // Copies only if somebody else holds the same memory.
    let mut text = BytesMut::from(text);
    overwrite(&mut text, at, spans);
    text.freeze()
}

fn overwrite(text: &mut [u8], at: usize, spans: &[Range<usize>]) {
    for span in spans {
        let (start, end) = (span.start.saturating_sub(at), span.end.saturating_sub(at).min(text.len()));
        if start < end {
            text[start..end].fill(MASK);
        }
    }
}

#[cfg(test)]
mod tests;

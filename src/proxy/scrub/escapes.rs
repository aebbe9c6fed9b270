//! The search behind escapes.
//!
//! Most escapes stand for what is in no form (`\n`, `\"`, `\u00e4`, `%20`): they are passed over. Around others the text
//! is unescaped, from the characters before, as far as they may be in a form, to the first that may not: a *run*.

use memchr::memchr2;

use super::Found;
use super::escape::{Parsed, parse};
use super::form::{Forms, LEAST};
use super::lane::Lane;
use super::needles::Needles;
use super::view::{Text, View};

/// So many characters of a run are unescaped before they are searched and mostly forgotten.
pub(super) const BATCH: usize = 1 << 10;

/// Searches what is written with escapes, part by part.
#[derive(Default)]
pub(super) struct Escapes {
    /// Up to which place in the body the text was read.
    read: usize,
    /// Whether that is in a run.
    is_in_run: bool,
    run: Row,
    lane: Lane,
}

/// Characters of a text, unescaped: of a run, what was not forgotten.
#[derive(Default)]
struct Row {
    characters: Vec<u8>,
    /// Where in the body each stands.
    positions: Vec<usize>,
    /// The index of the first.
    first: usize,
}

impl Escapes {
    /// Searches what has come with this part of `text`.
    pub(super) fn search(&mut self, text: Text<'_>, needles: &Needles, forms: &mut Forms, found: &mut Found) {
        loop {
            if !self.is_in_run {
                let Some(escape) = next(text, self.read, needles) else {
                    self.read = text.end();
                    return;
                };
                self.read = escape;
                self.is_in_run = true;
                self.run.begin(text, escape, needles);
                self.lane = Lane::default();
            }
            let state = self.run.read(text, &mut self.read, needles);
            let view = self.run.view(text, self.read);
            let is_short = matches!(state, State::Over) && view.end() < LEAST;
            if !is_short {
                self.lane.search_unescaped(view, needles, forms, found);
            }
            match state {
                State::Over => self.is_in_run = false,
                State::More => self.run.forget(self.lane.earliest()),
                State::Waits => return,
            }
        }
    }

    /// Where in the body the longest match begins that ends with `text`.
    pub(super) fn live(&mut self, text: Text<'_>, needles: &Needles, forms: &mut Forms) -> Option<usize> {
        if !self.is_in_run {
            return None;
        }
        let partial = text.between(self.read, text.end());
        let live = self.lane.live(self.run.view(text, self.read), partial, needles, forms);
        if live.is_some() {
            self.run.forget(self.lane.earliest());
        } else {
            // What is to come is read as plain bytes again, up to the next escape.
            self.is_in_run = false;
            self.read = text.end();
        }
        live
    }
}

/// The next escape from `at` on that stands for a character of some form, or may yet.
fn next(text: Text<'_>, mut at: usize, needles: &Needles) -> Option<usize> {
    loop {
        let rest = text.between(at, text.end());
        let found = memchr2(b'%', b'\\', rest)?;
        match parse(&rest[found..]) {
            Parsed::Escape { byte, .. } if needles.has(byte) => return Some(at + found),
            Parsed::Partial => return Some(at + found),
            Parsed::Escape { .. } | Parsed::Plain => at += found + 1,
        }
    }
}

/// How the reading of a run came to its end.
enum State {
    /// There is a character that is in no form.
    Over,
    /// There are many characters.
    More,
    /// The text ends.
    Waits,
}

impl Row {
    /// Begins a run around the escape at `escape` with the plain characters before it. More than the longest form has
    /// cannot matter.
    fn begin(&mut self, text: Text<'_>, escape: usize, needles: &Needles) {
        let before = text.between(escape.saturating_sub(needles.longest()), escape);
        // An escape that is read as its bytes: only where a secret holds `%` or `\`.
        let is_escape = |at: usize| match parse(text.between(escape - before.len() + at, text.end())) {
            Parsed::Escape { byte, .. } => needles.has(byte),
            Parsed::Partial | Parsed::Plain => false,
        };
        let border = (0..before.len()).rev().find(|at| !needles.has(before[*at]) || is_escape(*at));
        let plain = &before[border.map_or(0, |at| at + 1)..];
        #[cfg(test)]
        super::tests::steps::add(plain.len());
        self.characters.clear();
        self.characters.extend_from_slice(plain);
        self.positions.clear();
        self.positions.extend(escape - plain.len()..escape);
        self.first = 0;
    }

    /// Unescapes on from `at`.
    fn read(&mut self, text: Text<'_>, at: &mut usize, needles: &Needles) -> State {
        let mut rest = text.between(*at, text.end());
        for _ in 0..BATCH {
            let Some(first) = rest.first() else { return State::Waits };
            let (byte, length) = match first {
                b'%' | b'\\' => match parse(rest) {
                    Parsed::Escape { byte, length } if needles.has(byte) => (byte, length),
                    Parsed::Partial => return State::Waits,
                    Parsed::Escape { .. } | Parsed::Plain => (*first, 1),
                },
                _ => (*first, 1),
            };
            if !needles.has(byte) {
                return State::Over;
            }
            #[cfg(test)]
            super::tests::steps::add(1);
            self.characters.push(byte);
            self.positions.push(*at);
            *at += length;
            rest = &rest[length..];
        }
        State::More
    }

    /// The characters, of which the last ends at `behind`.
    fn view<'v>(&'v self, text: Text<'v>, behind: usize) -> View<'v> {
        View::unescaped(text, &self.characters, self.first, &self.positions, behind)
    }

    /// Forgets what is before `earliest`; at least half of all at once, so that none is moved often.
    fn forget(&mut self, earliest: usize) {
        let gone = earliest.saturating_sub(self.first);
        if gone > self.characters.len() / 2 {
            self.characters.drain(..gone);
            self.positions.drain(..gone);
            self.first += gone;
        }
    }
}

#[cfg(test)]
impl Escapes {
    /// How many characters are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.run.characters.len()
    }
}

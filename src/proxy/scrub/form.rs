//! A whole form, and how it is followed through a text in linear time.
//!
//! It is the algorithm of Knuth, Morris and Pratt over all of the form but its first [`PREFIX`] characters. These are
//! compared where they must stand when the rest has matched: in a text with escapes there is more than one way to read
//! up to a place, but behind an escape all readings go on as one. So one state is enough, also for a vendor whose
//! token and answer are made to match in many places at once.

use zeroize::Zeroizing;

use super::escape;
use super::needles::{HEAD, Needles};
use super::view::View;

/// A form that begins inside an escape has at most so many characters there.
pub(super) const PREFIX: usize = escape::LONGEST - 1;

/// A form is followed while at least so many characters behind the prefix match: those of its head. Whatever matches
/// less is found again by its head.
pub(super) const LEAST: usize = HEAD - PREFIX;

/// A whole form.
pub(super) struct Form {
    prefix: [u8; PREFIX],
    rest: Zeroizing<Vec<u8>>,
    /// For each length of a partial match of `rest`, the next shorter one that ends at the same character.
    fallback: Box<[u32]>,
}

/// How far a form has been followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trail {
    /// Up to which index.
    pub(super) at: usize,
    /// How many characters of the form's rest end there: the most for which also the prefix is there.
    pub(super) matched: usize,
}

impl Trail {
    /// Where the rest begins that is followed.
    pub(super) const fn from(self) -> usize {
        self.at - self.matched
    }

    /// Whether it goes on.
    pub(super) const fn is_warm(self) -> bool {
        self.matched >= LEAST
    }
}

impl Form {
    fn new(form: &[u8]) -> Option<Self> {
        let (prefix, rest) = form.split_first_chunk()?;
        let mut fallback: Vec<u32> = vec![0, 0];
        let mut matched: u32 = 0;
        for byte in rest.iter().skip(1) {
            while matched > 0 && rest[matched as usize] != *byte {
                matched = fallback[matched as usize];
            }
            matched += u32::from(rest[matched as usize] == *byte);
            fallback.push(matched);
        }
        Some(Self { prefix: *prefix, rest: Zeroizing::new(rest.to_vec()), fallback: fallback.into() })
    }

    /// How many characters it has.
    pub(super) fn length(&self) -> usize {
        PREFIX + self.rest.len()
    }

    /// Follows it to the end of `view` or until it matches too little, and calls `found` for each place in the text
    /// where a whole one begins, and where it ends.
    pub(super) fn follow(&self, mut trail: Trail, view: View<'_>, mut found: impl FnMut(usize, usize)) -> Trail {
        loop {
            if trail.matched == self.rest.len() {
                let end = view.position(trail.at);
                view.beginnings(trail.from(), &self.prefix).for_each(|start| found(start, end));
                self.fall_back(&mut trail, view);
            }
            let Some(byte) = view.byte(trail.at).filter(|_| trail.is_warm()) else { return trail };
            while self.rest[trail.matched] != byte {
                self.fall_back(&mut trail, view);
                if !trail.is_warm() {
                    return trail;
                }
            }
            trail.matched += 1;
            trail.at += 1;
            #[cfg(test)]
            super::tests::steps::add(1);
        }
    }

    /// To the next shorter match that begins with the prefix. One that does not never will: to drop it loses nothing,
    /// and no step is made twice. Where the match is too short to be followed, the prefix does not matter.
    fn fall_back(&self, trail: &mut Trail, view: View<'_>) {
        loop {
            trail.matched = self.fallback[trail.matched] as usize;
            #[cfg(test)]
            super::tests::steps::add(1);
            if !trail.is_warm() || view.beginnings(trail.from(), &self.prefix).next().is_some() {
                return;
            }
        }
    }

    /// Where in the text the longest match begins that ends with `view`, if it goes on with `partial`, the beginning
    /// of an escape. A `trail` that is warm need not end with one that is.
    pub(super) fn live(&self, mut trail: Trail, view: View<'_>, partial: &[u8]) -> Option<usize> {
        while trail.is_warm() {
            if partial.is_empty() || escape::may_become(partial, self.rest[trail.matched]) {
                return view.beginnings(trail.from(), &self.prefix).next();
            }
            self.fall_back(&mut trail, view);
        }
        None
    }
}

/// The forms whose heads were found in one text.
#[derive(Default)]
pub(super) struct Forms(Vec<(usize, Option<Form>)>);

impl Forms {
    /// The form of this number. Nothing if it is the same as another.
    pub(super) fn get(&mut self, needles: &Needles, number: usize) -> Option<&Form> {
        let at = self.0.iter().position(|(known, _)| *known == number).unwrap_or_else(|| {
            self.0.push((number, needles.form(number).and_then(|form| Form::new(&form))));
            self.0.len() - 1
        });
        self.0[at].1.as_ref()
    }
}

//! The search in one view of a text, part by part.
//!
//! A form is found by its head, and from there on followed. What is carried from part to part is how far each form has
//! been followed; a head that a border cuts is looked at again when the next part has come, and nothing else is.

use super::filter::{BLOCK, block, hash};
use super::form::{Form, Forms, LEAST, PREFIX, Trail};
use super::needles::{HEAD, Needles, STRIDE};
use super::view::View;
use super::{Found, escape};

/// How many characters at the end of a view may be less than a head.
const CUT: usize = HEAD - 1;

/// So many bytes of a text have a whole block at each place that is looked at: nothing is asked there but the filter.
const GROUP: usize = 8 * STRIDE;

/// How far one view has been searched.
#[derive(Default)]
pub(super) struct Lane {
    /// Up to which index.
    seen: usize,
    /// At most one for each form. Between two parts all of them are warm.
    trails: Vec<(usize, Trail)>,
}

impl Lane {
    /// Searches the bytes of a text, of which only every [`STRIDE`]th place is looked at, and its end.
    pub(super) fn search_plain(&mut self, view: View<'_>, needles: &Needles, forms: &mut Forms, found: &mut Found) {
        self.follow_on(view, needles, forms, found);
        let from = self.seen.saturating_sub(CUT).max(view.first());
        // What begins at `from` or in the next `STRIDE` places has a whole block where it is looked at first.
        let (groups, rest) = view.from(from).get(STRIDE - 1..).unwrap_or_default().as_chunks::<GROUP>();
        let mut at = from + STRIDE - 1;
        for group in groups {
            for place in group.chunks_exact(STRIDE) {
                if may_have(place, needles) {
                    self.heads_around(at, view, needles, forms, found);
                }
                at += STRIDE;
            }
        }
        for place in rest.chunks(STRIDE) {
            if may_have(place, needles) {
                self.heads_around(at, view, needles, forms, found);
            }
            at += STRIDE;
        }
        self.part_ends(view);
    }

    /// Searches characters that were escapes, some of them. Every place is looked at, as heads may begin inside of
    /// escapes: what is behind [`PREFIX`] characters of a head cannot.
    pub(super) fn search_unescaped(&mut self, view: View<'_>, needles: &Needles, forms: &mut Forms, found: &mut Found) {
        self.follow_on(view, needles, forms, found);
        let from = self.seen.saturating_sub(LEAST - 1).max(view.first());
        for at in from..(view.end() + 1).saturating_sub(LEAST) {
            let rest = view.from(at);
            if may_have(rest, needles) {
                for (number, head) in needles.heads().enumerate() {
                    let (prefix, behind) = head.split_at(PREFIX);
                    if rest.starts_with(behind) && view.beginnings(at, prefix).next().is_some() {
                        self.begin(number, at, view, needles, forms, found);
                    }
                }
            }
        }
        self.part_ends(view);
    }

    /// Every head that has the block at `at` in it, and is there as a whole. Earlier ones first, see [`Self::begin`].
    #[cold]
    fn heads_around(&mut self, at: usize, view: View<'_>, needles: &Needles, forms: &mut Forms, found: &mut Found) {
        #[cfg(test)]
        super::tests::steps::add(STRIDE);
        for start in at + 1 - STRIDE..=at {
            let text = view.from(start);
            if may_begin(text, needles) {
                for (number, head) in needles.heads().enumerate() {
                    if text.starts_with(head) {
                        self.begin(number, start + PREFIX, view, needles, forms, found);
                    }
                }
            }
        }
    }

    /// Follows a form whose head is there, and whose characters behind the prefix begin at `from`. For each form this
    /// is called with ascending places: those that its trail has passed are known not to be, or followed already.
    fn begin(
        &mut self,
        number: usize,
        from: usize,
        view: View<'_>,
        needles: &Needles,
        forms: &mut Forms,
        found: &mut Found,
    ) {
        let known = self.trails.iter().position(|(known, _)| *known == number);
        if known.is_some_and(|at| self.trails[at].1.is_warm() || from < self.trails[at].1.from()) {
            return;
        }
        let Some(form) = forms.get(needles, number) else { return };
        let trail = follow(form, Trail { at: from + LEAST, matched: LEAST }, view, found);
        match known {
            Some(at) => self.trails[at].1 = trail,
            None => self.trails.push((number, trail)),
        }
    }

    /// Follows further what the last part ended with.
    fn follow_on(&mut self, view: View<'_>, needles: &Needles, forms: &mut Forms, found: &mut Found) {
        for (number, trail) in &mut self.trails {
            if let Some(form) = forms.get(needles, *number) {
                *trail = follow(form, *trail, view, found);
            }
        }
    }

    fn part_ends(&mut self, view: View<'_>) {
        self.trails.retain(|(_, trail)| trail.is_warm());
        self.seen = view.end();
    }

    /// Where in the body the longest match begins that ends with `view`, and goes on with `partial`, the beginning of
    /// an escape, if there is any.
    pub(super) fn live(&self, view: View<'_>, partial: &[u8], needles: &Needles, forms: &mut Forms) -> Option<usize> {
        let warm = self
            .trails
            .iter()
            .filter_map(|(number, trail)| forms.get(needles, *number)?.live(*trail, view, partial))
            .min();
        // A cut head begins later than what is followed, but perhaps not than what of it goes on with `partial`.
        let cut = if view.is_plain() { cut_head(view, needles) } else { cut_escaped_head(view, partial, needles) };
        warm.into_iter().chain(cut).min()
    }

    /// The first character that is still of use.
    pub(super) fn earliest(&self) -> usize {
        let cut = self.seen.saturating_sub(CUT);
        let warm = self.trails.iter().map(|(_, trail)| trail.from().saturating_sub(PREFIX));
        warm.fold(cut, usize::min)
    }
}

/// Whether the block with which `text` begins, if it has a whole one, may be in some head.
#[inline]
fn may_have(text: &[u8], needles: &Needles) -> bool {
    block(text, 0).is_some_and(|block| needles.may_have(hash(block)))
}

/// Follows `form`, and notes what is found. Without an escape it is the other view's to find.
fn follow(form: &Form, trail: Trail, view: View<'_>, found: &mut Found) -> Trail {
    form.follow(trail, view, |start, end| {
        if view.is_plain() || end - start > form.length() {
            found.add(start..end);
        }
    })
}

/// Whether some head may begin with `text`, or `text` with some head.
#[inline]
fn may_begin(text: &[u8], needles: &Needles) -> bool {
    text.first().is_some_and(|first| needles.begins_with(*first)) && (text.len() < BLOCK || may_have(text, needles))
}

/// Where the first head begins that the end of plain bytes cuts.
fn cut_head(view: View<'_>, needles: &Needles) -> Option<usize> {
    let from = view.end().saturating_sub(CUT).max(view.first());
    let end = view.from(from);
    (0..end.len()).find_map(|at| {
        let rest = &end[at..];
        // Mostly one to three bytes are compared: no call for it.
        let is_head = |head: &[u8; HEAD]| rest.iter().zip(head).all(|(left, right)| left == right);
        (may_begin(rest, needles) && needles.heads().any(is_head)).then_some(from + at)
    })
}

/// Where in the body the first head begins that the end of `view` cuts, or `partial` behind it, or that begins inside
/// an escape before it.
fn cut_escaped_head(view: View<'_>, partial: &[u8], needles: &Needles) -> Option<usize> {
    let from = view.end().saturating_sub(CUT).max(view.first());
    (from..=view.end()).find_map(|at| {
        let (inside, rest) = (view.inside(at), view.from(at));
        (0..=inside.len()).find_map(|skipped| {
            let hidden = &inside[skipped..];
            let may_be = match hidden.first().or(rest.first()) {
                Some(first) => needles.begins_with(*first),
                None => !partial.is_empty(),
            };
            let goes_on = |next: u8| partial.is_empty() || escape::may_become(partial, next);
            let is_head = |head: &[u8; HEAD]| {
                head.get(hidden.len() + rest.len()).is_some_and(|next| goes_on(*next))
                    && head.starts_with(hidden)
                    && head[hidden.len()..].starts_with(rest)
            };
            (may_be && needles.heads().any(is_head)).then(|| view.position(at) - hidden.len())
        })
    })
}

const _: () = assert!(BLOCK <= LEAST && HEAD - PREFIX == LEAST);

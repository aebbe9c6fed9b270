//! A text as a row of characters: its bytes, or what they are once escapes are undone.

/// Bytes of a body, and where in it the first of them stands.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub(super) bytes: &'t [u8],
    pub(super) at: usize,
}

impl<'t> Text<'t> {
    /// Where it ends.
    pub(super) const fn end(self) -> usize {
        self.at + self.bytes.len()
    }

    /// What of it stands between these places.
    pub(super) fn between(self, start: usize, end: usize) -> &'t [u8] {
        let (start, end) = (start.saturating_sub(self.at), end.saturating_sub(self.at));
        self.bytes.get(start..end).unwrap_or_default()
    }
}

/// Characters of a text. They are counted from the beginning of the body, or of the run of escapes.
#[derive(Clone, Copy)]
pub(super) struct View<'v> {
    text: Text<'v>,
    characters: &'v [u8],
    /// The index of the first of them.
    first: usize,
    /// Where each stands in the body; nothing where they are the bytes of the text themselves.
    positions: Option<&'v [usize]>,
    /// Where the last of them ends in the body.
    behind: usize,
}

impl<'v> View<'v> {
    /// The bytes themselves.
    pub(super) const fn plain(text: Text<'v>) -> Self {
        Self { text, characters: text.bytes, first: text.at, positions: None, behind: text.end() }
    }

    /// These characters, counted from `first`, of which each stands at its position, the last up to `behind`.
    pub(super) const fn unescaped(
        text: Text<'v>,
        characters: &'v [u8],
        first: usize,
        positions: &'v [usize],
        behind: usize,
    ) -> Self {
        Self { text, characters, first, positions: Some(positions), behind }
    }

    pub(super) const fn is_plain(self) -> bool {
        self.positions.is_none()
    }

    pub(super) const fn first(self) -> usize {
        self.first
    }

    pub(super) const fn end(self) -> usize {
        self.first + self.characters.len()
    }

    /// The characters from `index` on.
    pub(super) fn from(self, index: usize) -> &'v [u8] {
        index.checked_sub(self.first).and_then(|at| self.characters.get(at..)).unwrap_or_default()
    }

    /// The character at `index`, if it is before the end.
    pub(super) fn byte(self, index: usize) -> Option<u8> {
        self.from(index).first().copied()
    }

    /// Where in the body the character at `index` stands.
    pub(super) fn position(self, index: usize) -> usize {
        match self.positions {
            None => index,
            Some(positions) => positions.get(index - self.first).copied().unwrap_or(self.behind),
        }
    }

    /// What the escape that ends before `index` has behind its first byte. A form may begin there.
    pub(super) fn inside(self, index: usize) -> &'v [u8] {
        if self.is_plain() || index <= self.first {
            return &[];
        }
        let (start, end) = (self.position(index - 1) + 1, self.position(index));
        self.text.between(start.max(self.text.at), end)
    }

    /// Where in the body a form begins whose first characters are `prefix` and whose others begin at `index`: in
    /// order, once for each way to read it. The prefix, or the first of it, may stand inside an escape.
    pub(super) fn beginnings(self, index: usize, prefix: &[u8]) -> impl Iterator<Item = usize> {
        let most = if self.is_plain() { 0 } else { prefix.len() };
        (0..=most).filter_map(move |inside| {
            let (hidden, shown) = prefix.split_at(inside);
            let start = index.checked_sub(shown.len()).filter(|start| *start >= self.first)?;
            let is_there = self.from(start).starts_with(shown) && self.inside(start).ends_with(hidden);
            is_there.then(|| self.position(start) - inside)
        })
    }
}

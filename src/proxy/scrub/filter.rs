//! Says of four bytes whether they may be in the head of some form: seldom wrongly yes, never wrongly no.

/// How many bytes are looked at.
pub(super) const BLOCK: usize = 4;

/// Where in a hash the numbers of its two bits are.
const FIRST: u32 = 40;
const SECOND: u32 = 34;

/// How many words every filter has: 2 KiB. Their number is fixed, so that nothing is asked of it for each block.
const WORDS: usize = 1 << 8;

/// So many blocks a word at most: two or three of a hundred other blocks are let through then, to be compared.
const MOST: usize = 4;

/// A Bloom filter whose two bits for a block are in one word: one load for a block that it says no to.
#[derive(Clone)]
pub(super) struct Filter {
    words: Box<[u64; WORDS]>,
    /// A larger filter, where `words` would be too full: with more than eight keys.
    wide: Box<[u64]>,
    /// Makes the number of a wide word of a hash.
    shift: u32,
}

impl Filter {
    /// An empty filter for so many blocks.
    pub(super) fn new(blocks: usize) -> Self {
        let size = if blocks > WORDS * MOST { blocks.div_ceil(MOST).next_power_of_two() } else { 0 };
        Self { words: Box::new([0; WORDS]), wide: vec![0; size].into(), shift: 64 - size.max(WORDS).trailing_zeros() }
    }

    /// Whether so many blocks are not too many for it.
    pub(super) fn is_for(&self, blocks: usize) -> bool {
        blocks <= self.wide.len().max(WORDS) * MOST
    }

    pub(super) fn add(&mut self, block: u32) {
        let hash = hash(block);
        let bits = 1 << (hash >> FIRST & 63) | 1 << (hash >> SECOND & 63);
        self.words[word(hash)] |= bits;
        if let Some(wide) = self.wide.get_mut(wide_word(hash, self.shift)) {
            *wide |= bits;
        }
    }

    /// Whether a block of this [`hash`] may be one of them.
    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        has(self.words[word(hash)], hash) && (self.wide.is_empty() || self.may_have_wide(hash))
    }

    /// Out of line, so that the usual way stays short.
    #[inline(never)]
    fn may_have_wide(&self, hash: u64) -> bool {
        self.wide.get(wide_word(hash, self.shift)).is_some_and(|word| has(*word, hash))
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::new(0)
    }
}

/// Whether `word` has both bits of this hash. In two steps, as the first mostly says no.
#[inline]
fn has(word: u64, hash: u64) -> bool {
    word >> (hash >> FIRST & 63) & 1 == 1 && word >> (hash >> SECOND & 63) & 1 == 1
}

#[inline]
fn word(hash: u64) -> usize {
    usize::from(hash.to_be_bytes()[0])
}

fn wide_word(hash: u64, shift: u32) -> usize {
    // Never cut off: it is less than the number of wide words.
    usize::try_from(hash >> shift).unwrap_or_default()
}

/// Spreads a block over 64 bits, the upper ones best (Knuth's multiplication). A vendor that picks blocks which collide
/// makes itself slow by a constant, no more.
#[inline]
pub(super) fn hash(block: u32) -> u64 {
    u64::from(block).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The block that begins at `at`. Nothing if the text ends before its end.
#[inline]
pub(super) fn block(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..)?.first_chunk().map(|block: &[u8; BLOCK]| u32::from_le_bytes(*block))
}

/// A set of bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Bytes([u64; 4]);

impl Bytes {
    /// The digits of both base64 alphabets, and so of hex.
    pub(super) const DIGITS: Self = {
        let mut digits = Self([0; 4]);
        let mut byte = 0_u8;
        while byte < 128 {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_') {
                digits.0[(byte >> 6) as usize] |= 1 << (byte & 63);
            }
            byte += 1;
        }
        digits
    };

    #[inline]
    pub(super) fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    #[inline]
    pub(super) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    pub(super) fn join(self, other: Self) -> Self {
        Self([0, 1, 2, 3].map(|word| self.0[word] | other.0[word]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_filter_is_never_missed_and_little_else_is_taken_for_it() {
        // The blocks of one key, of as many as fit into the usual words, and of more.
        for many in [120_u32, 1_024, 1_025, 10_000] {
            let mut filter = Filter::new(many as usize);
            assert!(filter.is_for(many as usize));
            // Each other number, by a multiplier that has nothing to do with that of the hash.
            let block = |number: u32| number.wrapping_mul(0x85eb_ca6b);
            (0..many).for_each(|number| filter.add(block(2 * number)));
            assert!((0..many).all(|number| filter.may_have(hash(block(2 * number)))), "{many}");
            let wrong = (0..10_000).filter(|number| filter.may_have(hash(block(2 * number + 1)))).count();
            assert!(wrong < 400, "{wrong} of 10,000 with {many}");
        }
    }
}

//! Says of four bytes whether they may be in the head of some form: seldom wrongly yes, never wrongly no.

/// How many bytes are looked at.
pub(super) const BLOCK: usize = 4;

/// Where in a hash the numbers of its two bits are.
const FIRST: u32 = 40;
const SECOND: u32 = 34;

/// A Bloom filter whose two bits for a block are in one word: one load for each block that is asked for.
#[derive(Clone)]
pub(super) struct Filter {
    words: Box<[u64]>,
    /// Makes the number of a word of a hash.
    shift: u32,
}

impl Filter {
    /// An empty filter for so many blocks.
    pub(super) fn new(blocks: usize) -> Self {
        // One to four blocks a word: of a thousand others it says yes to one to eight. Three keys and a token fit into
        // the smallest, 2 KiB.
        let size = (blocks / 4).next_power_of_two().max(256);
        Self { words: vec![0; size].into(), shift: 64 - size.trailing_zeros() }
    }

    /// Whether so many blocks are not too many for it.
    pub(super) fn is_for(&self, blocks: usize) -> bool {
        blocks <= self.words.len() * 4
    }

    pub(super) fn add(&mut self, block: u32) {
        let hash = hash(block);
        let word = self.word(hash);
        self.words[word] |= 1 << (hash >> FIRST & 63) | 1 << (hash >> SECOND & 63);
    }

    /// Whether a block of this [`hash`] may be one of them.
    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        let word = self.words[self.word(hash)];
        // In two steps, as the first mostly says no.
        word >> (hash >> FIRST & 63) & 1 == 1 && word >> (hash >> SECOND & 63) & 1 == 1
    }

    #[inline]
    fn word(&self, hash: u64) -> usize {
        // Never cut off: it is less than the number of words.
        usize::try_from(hash >> self.shift).unwrap_or_default()
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::new(0)
    }
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

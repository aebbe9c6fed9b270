//! Identifiers, and the randomness they are made of.
//!
//! Randomness is an input: whoever makes an id is given an [`Entropy`].

use std::cell::Cell;
use std::fmt;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;

/// A cryptographically secure source of random bytes.
#[derive(Clone, Debug)]
pub struct Entropy(SystemRandom);

impl Entropy {
    /// The operating system's, by aws-lc.
    pub fn system() -> Self {
        Self(SystemRandom::new())
    }

    /// `N` random bytes.
    ///
    /// aws-lc's generator is seeded at start and fails only where the operating system gave it no randomness at all;
    /// ids without randomness would be worse than no process.
    #[expect(clippy::expect_used, reason = "there is no way on without randomness")]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill(&mut out).expect("the operating system gives randomness");
        out
    }

    /// A new session id: a UUID that begins with the time and goes on with 74 random bits (RFC 9562, version 7), in its
    /// canonical text. Sessions of one moment are neighbours in the store then, and written together.
    pub fn session_id(&self, now: Timestamp) -> String {
        uuid::Builder::from_unix_timestamp_millis(now.millis(), &self.bytes()).into_uuid().to_string()
    }

    /// 128 random bits as base64url: the `jti` of a token, the `sub` of somebody unknown.
    pub fn token_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<16>())
    }
}

/// The number of a session: its id is a UUID of our own, 128 bits.
pub fn session_number(id: &str) -> u128 {
    uuid::Uuid::try_parse(id).map_or_else(|_| digest_number(id.as_bytes()), |id| id.as_u128())
}

/// A number for what has a name and none: 128 bits of its digest.
pub fn digest_number(name: &[u8]) -> u128 {
    let digest = crate::secret::sha256(name);
    u128::from_be_bytes(std::array::from_fn(|at| digest[at]))
}

/// A number that is unique, and no secret: a Weyl sequence through splitmix64's finalizer, from a random start for each
/// thread. It takes no system call.
pub fn unique() -> u64 {
    thread_local!(static STATE: Cell<u64> = Cell::new(u64::from_le_bytes(Entropy::system().bytes())));
    let count = STATE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(count);
    let mut mixed = (count ^ (count >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The longest id of a request.
const LONGEST_REQUEST_ID: usize = 64;

/// The id of one request: it stands in the answer, in the record and in the log, and in no decision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    text: [u8; LONGEST_REQUEST_ID],
    length: u8,
}

impl RequestId {
    /// A new id: 96 bits, unique but not secret, so that a call costs no system randomness.
    pub fn next() -> Self {
        thread_local!(static THREAD: u32 = u32::from_le_bytes(Entropy::system().bytes()));
        let (thread, mixed) = (THREAD.with(|thread| *thread), unique());
        let mut out = [0; LONGEST_REQUEST_ID];
        let bytes = thread.to_be_bytes().into_iter().chain(mixed.to_be_bytes());
        for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&hex_pair(byte));
        }
        Self { text: out, length: 24 }
    }

    /// The id that somebody else gave a request, if it is one that needs no escaping wherever it is written: 1 to 64
    /// letters, digits and `-_.:=+/`.
    pub fn given(text: &[u8]) -> Option<Self> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(byte);
        let length = u8::try_from(text.len()).ok()?;
        if text.is_empty() || text.len() > LONGEST_REQUEST_ID || !text.iter().all(is_plain) {
            return None;
        }
        let mut own = [0; LONGEST_REQUEST_ID];
        own[..text.len()].copy_from_slice(text);
        Some(Self { text: own, length })
    }

    /// As text: 24 lower-case hexadecimal digits, or what was given.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.length)]).unwrap_or("")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

const fn hex_pair(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]
}

/// `bytes` as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| hex_pair(*byte)).map(char::from).collect()
}

/// The bytes that `digits` write in hexadecimal, or nothing if they do not.
pub fn unhex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; N];
    for (byte, at) in out.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_id_that_a_balancer_gave_is_kept_where_it_needs_no_escaping() {
        let root = "Root=1-67891233-abcdef012345678912345678";
        assert_eq!(RequestId::given(root.as_bytes()).unwrap().as_str(), root);
        let long = "a".repeat(65);
        for text in ["", "a b", "a\"", "a\u{e9}", "a\n", "<a>", &long] {
            assert!(RequestId::given(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn request_ids_differ() {
        let ids: HashSet<String> = (0..10_000).map(|_| RequestId::next().to_string()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 24));
    }

    #[test]
    fn session_ids_are_uuids_in_the_order_of_time_and_none_is_like_another() {
        let (entropy, now) = (Entropy::system(), Timestamp::from_seconds(1_800_000_000));
        let ids: HashSet<String> = (0..1000).map(|_| entropy.session_id(now)).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| uuid::Uuid::try_parse(id).is_ok_and(|id| id.get_version_num() == 7)), "{ids:?}");
        let later = entropy.session_id(now.plus(std::time::Duration::from_millis(1)));
        assert!(ids.iter().all(|id| *id < later), "{later}");
    }

    #[test]
    fn hex_goes_there_and_back() {
        assert_eq!(unhex::<4>(&hex(&[0, 15, 16, 255])), Some([0, 15, 16, 255]));
        assert_eq!(unhex::<4>("zz000000"), None);
        assert_eq!(unhex::<4>("00"), None);
    }
}

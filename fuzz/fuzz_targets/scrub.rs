//! The scrubber: however a body is cut into chunks, what goes out is the same, as long as it was, and has no whole
//! secret in it.
//!
//! An input is a row of chunk lengths up to the first byte 255, and the body behind it, in which the bytes from 240 on
//! stand for secrets and parts of them, and those from 210 on for other writings of them.

#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use keystile::internal::{Needles, Scrubber};
use keystile::secret::Secret;
use libfuzzer_sys::fuzz_target;

/// One that is like others on the way, one that repeats itself, one that begins and one that holds another, and one
/// whose writing in JSON, in a URL and in base64 differs from itself.
const SECRETS: [&str; 5] = [
    "sk-live-0123456789abcdef",
    "abababababababababab",
    "abababababababababab-longer",
    "outer=sk-live-0123456789abcdef=outer",
    "p/ss+\"word\"%41\\ \u{e9}=& end",
];

/// Each secret in hex, in base64 and base64url behind 0 to 2 other bytes, and escaped as in a URL and as in JSON. Of base64
/// only the digits that hold nothing of its neighbours.
static WRITINGS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| SECRETS.iter().flat_map(|secret| writings(secret)).collect());

static NEEDLES: LazyLock<Needles> = LazyLock::new(|| Needles::of(&SECRETS.map(Secret::new)));

/// Longer inputs show nothing that shorter ones do not, and are slow byte by byte.
const LONGEST: usize = 512;

fuzz_target!(|input: &[u8]| {
    if input.len() > LONGEST {
        return;
    }
    let (lengths, body) = input.split_at(input.iter().position(|byte| *byte == 255).unwrap_or(0));
    let body = expanded(body.strip_prefix(&[255]).unwrap_or(body));
    let whole = scrubbed(&body, &[]);
    judge(&body, &whole);
    let unpaused: Vec<u8> = lengths.iter().map(|length| length & 0x7f).collect();
    assert_eq!(scrubbed(&body, &unpaused), whole, "another outcome in chunks of {unpaused:?}");
    assert_eq!(scrubbed(&body, &[1]), whole, "another outcome byte by byte");
    // A pause may let a beginning of a secret go, and nothing else.
    judge(&body, &scrubbed(&body, lengths));
});

/// What goes out is of the same length, changed only to `*`, and holds no secret.
fn judge(body: &[u8], out: &[u8]) {
    assert_eq!(out.len(), body.len());
    assert!(out.iter().zip(body).all(|(out, body)| out == body || *out == b'*'));
    for secret in SECRETS {
        assert!(!out.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} went out");
    }
    for writing in &*WRITINGS {
        let is_out = out.windows(writing.len()).any(|part| part == writing);
        assert!(!is_out, "{} went out", String::from_utf8_lossy(writing));
    }
}

/// The body in chunks of these lengths, over and over; with the high bit set there is a pause after the chunk.
fn scrubbed(body: &[u8], lengths: &[u8]) -> Vec<u8> {
    let mut scrubber = Scrubber::new(&NEEDLES);
    let (mut out, mut rest) = (Vec::new(), body);
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let length = lengths.next();
        let (chunk, behind) =
            rest.split_at(length.map_or(rest.len(), |length| usize::from(length & 0x7f)).max(1).min(rest.len()));
        out.extend_from_slice(&scrubber.push(Bytes::copy_from_slice(chunk)));
        if length.is_some_and(|length| length & 0x80 != 0) {
            out.extend_from_slice(&scrubber.release());
        }
        rest = behind;
    }
    out.extend_from_slice(&scrubber.finish());
    out
}

/// Short inputs for long bodies: five bytes are the secrets, five their first halves, five their second halves.
fn expanded(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in body {
        match usize::from(*byte).checked_sub(240) {
            Some(number) => {
                let secret = SECRETS[number % 5].as_bytes();
                out.extend_from_slice(match number / 5 {
                    0 => secret,
                    1 => &secret[..secret.len() / 2],
                    _ => &secret[secret.len() / 2..],
                });
            }
            None => match usize::from(*byte).checked_sub(210) {
                Some(number) => out.extend_from_slice(&WRITINGS[number % WRITINGS.len()]),
                None => out.push(*byte),
            },
        }
    }
    out
}

fn writings(secret: &str) -> Vec<Vec<u8>> {
    let escaped = |write: &dyn Fn(u8) -> String| secret.bytes().map(write).collect::<String>().into_bytes();
    let mut writings = vec![
        escaped(&|byte| format!("{byte:02x}")),
        escaped(&|byte| format!("{byte:02X}")),
        escaped(&|byte| format!("%{byte:02x}")),
        escaped(&|byte| format!("%{byte:02X}")),
    ];
    if secret.is_ascii() {
        writings.push(escaped(&|byte| format!("\\u{byte:04x}")));
    }
    for before in 0..3 {
        let bytes = [&b"\0\0"[..before], secret.as_bytes()].concat();
        let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        for text in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            writings.push(text.as_bytes()[own.clone()].to_vec());
        }
    }
    writings
}

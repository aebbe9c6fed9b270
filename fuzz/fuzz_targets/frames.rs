//! WebSocket frames: however they are cut, what passes is the same; what passes is frames that another parser reads, each
//! as it came but for masked secrets; and no message towards the client has a whole secret in it.
//!
//! An input is a row of chunk lengths up to the first byte 255, one byte for the direction, and the frames behind it, in
//! which the byte 250 in a payload stands for a secret, and 251 and 252 for its halves.

#![no_main]

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use keystile::internal::{Needles, Socket};
use keystile::secret::Secret;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "sk-live-0123456789abcdef";
const LIMIT: u64 = 4096;

static NEEDLES: LazyLock<Needles> = LazyLock::new(|| Needles::of(&[Secret::new(SECRET)]));

fuzz_target!(|input: &[u8]| {
    let (lengths, rest) = input.split_at(input.iter().position(|byte| *byte == 255).unwrap_or(0));
    let Some((direction, written)) = rest.strip_prefix(&[255]).unwrap_or(rest).split_first() else { return };
    let is_down = direction & 1 == 0;
    let written = expanded(written, is_down);
    let whole = passed(&written, &[], is_down);
    let (out, was_refused) = &whole;
    judge(&written, out, is_down, *was_refused);
    let unpaused: Vec<u8> = lengths.iter().map(|length| length & 0x7f).collect();
    assert_eq!(passed(&written, &unpaused, is_down), whole, "another outcome in chunks of {unpaused:?}");
    assert_eq!(passed(&written, &[1], is_down), whole, "another outcome byte by byte");
    let (out, was_refused) = passed(&written, lengths, is_down);
    judge(&written, &out, is_down, was_refused);
});

/// What passes of `written` in chunks of these lengths, over and over, and whether it was refused in the end. With the
/// high bit set there is a pause after the chunk.
fn passed(written: &[u8], lengths: &[u8], is_down: bool) -> (Vec<u8>, bool) {
    let mut socket = Socket::new(&NEEDLES, LIMIT);
    let (mut out, mut rest) = (BytesMut::new(), written);
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let length = lengths.next();
        let (chunk, behind) =
            rest.split_at(length.map_or(rest.len(), |length| usize::from(length & 0x7f)).max(1).min(rest.len()));
        let chunk = Bytes::copy_from_slice(chunk);
        if if is_down { socket.down(chunk, &mut out) } else { socket.up(chunk, &mut out) } {
            return (out.to_vec(), true);
        }
        if length.is_some_and(|length| length & 0x80 != 0) {
            socket.release(&mut out);
        }
        rest = behind;
    }
    (out.to_vec(), false)
}

/// One frame as this parser reads it: its first byte, the place and the length of its payload.
struct Frame {
    first: u8,
    payload: std::ops::Range<usize>,
}

/// The frames in `bytes`, by RFC 6455 §5.2, the last of which may be cut.
fn frames(bytes: &[u8]) -> Vec<Frame> {
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some([first, second]) = bytes.get(at..at + 2) {
        let (size, mask) = (second & 0x7f, if second & 0x80 == 0 { 0 } else { 4 });
        let wide = match size {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = bytes.get(at + 2..at + 2 + wide) else { break };
        let length = match wide {
            0 => u64::from(size),
            _ => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let start = at + 2 + wide + mask;
        if bytes.len() < start {
            break;
        }
        let end = usize::try_from(length).map_or(bytes.len(), |length| start.saturating_add(length).min(bytes.len()));
        frames.push(Frame { first: *first, payload: start..end });
        at = end;
        if first & 0x0f == 8 {
            break;
        }
    }
    frames
}

fn judge(written: &[u8], out: &[u8], is_down: bool, was_refused: bool) {
    // A beginning of what was written, but for masks.
    assert!(out.len() <= written.len());
    assert!(out.iter().zip(written).all(|(out, written)| out == written || (is_down && *out == b'*')));
    if !is_down && !was_refused {
        // Nothing is held in this direction but the head of a frame.
        assert!(written.len() - out.len() < 14 || has_closed(out), "{} of {}", out.len(), written.len());
    }
    let mut message: Option<Vec<u8>> = None;
    for Frame { first, payload } in frames(out) {
        let payload = &out[payload];
        assert_eq!(first & 0x70, 0, "a reserved bit passes");
        match first & 0x0f {
            0 => assert!(message.is_some(), "a fragment of nothing passes"),
            1 | 2 => assert!(message.replace(Vec::new()).is_none(), "a message within a message passes"),
            8..=10 => {
                assert!(first & 0x80 != 0 && payload.len() <= 125);
                assert!(!is_down || !has_secret(payload), "a control frame with a secret passes");
                continue;
            }
            opcode => panic!("opcode {opcode} passes"),
        }
        let text = message.get_or_insert_default();
        text.extend_from_slice(payload);
        assert!(text.len() as u64 <= LIMIT);
        assert!(!is_down || !has_secret(text), "a message with a secret passes");
        if first & 0x80 != 0 {
            message = None;
        }
    }
}

fn has_secret(text: &[u8]) -> bool {
    text.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
}

fn has_closed(out: &[u8]) -> bool {
    frames(out).last().is_some_and(|frame| frame.first & 0x0f == 8)
}

/// Frames that are short to write: opcode, a payload up to the byte 249, and its length put before it. What has the
/// opcode's bit 6 set comes as it stands.
fn expanded(written: &[u8], is_down: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in written.split(|byte| *byte == 249) {
        let Some((first, rest)) = frame.split_first() else { continue };
        if first & 0x40 != 0 {
            out.extend_from_slice(frame);
            continue;
        }
        let mut payload = Vec::new();
        for byte in rest {
            match byte {
                250 => payload.extend_from_slice(SECRET.as_bytes()),
                251 => payload.extend_from_slice(&SECRET.as_bytes()[..11]),
                252 => payload.extend_from_slice(&SECRET.as_bytes()[11..]),
                byte => payload.push(*byte),
            }
        }
        let mask = if is_down { 0 } else { 0x80 };
        out.push(*first);
        match u8::try_from(payload.len()) {
            Ok(length @ ..=125) => out.push(length | mask),
            _ => {
                out.push(126 | mask);
                out.extend_from_slice(&u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        if !is_down {
            out.extend_from_slice(&[1, 2, 3, 4]);
        }
        out.extend_from_slice(&payload);
    }
    out
}

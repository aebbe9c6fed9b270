//! What passes through a WebSocket, each way.
//!
//! Towards the client every message is scanned as one text across its frames, and so is the payload of every control
//! frame, reasons of closing included. Masking keeps lengths, so frames keep their heads and go out as they came; where
//! the scrubber holds bytes back, what stands behind them waits with them. Towards the vendor bytes are copied; only
//! the heads of frames are looked at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{Follower, Head, Kind, Piece, Violation, Writer};
use crate::proxy::scrub::{Needles, Scrubber, mask_whole};

/// What may wait behind bytes that are held back: a vendor must not make us keep frames without end.
const LONGEST_WAIT: usize = 64 << 10;
/// What a frame costs that waits, besides its bytes.
const RECORD: usize = 64;

/// The direction towards the client.
pub(in crate::proxy) struct Down {
    follower: Follower,
    needles: Arc<Needles>,
    /// Scans the message at hand.
    scrubber: Scrubber,
    /// A control frame that has not come whole.
    control: Option<(Head, Vec<u8>)>,
    /// Heads and control frames that stand behind held bytes: each with the number of payload bytes before it.
    waiting: VecDeque<(u64, Vec<u8>)>,
    waiting_bytes: usize,
    /// Payload bytes of data frames that came in.
    fed: u64,
    /// Those that went out.
    emitted: u64,
    hits: u32,
    has_closed: bool,
}

/// What a client wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Wanted {
    /// A message.
    Message,
    /// A frame that is no message: a ping, or a small part of one.
    Trifle,
}

/// What a direction has seen in the bytes it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Seen {
    /// Whether a message began or went on.
    pub(super) data: bool,
    /// How long to wait before the next message may pass.
    pub(super) wait: Option<Duration>,
}

impl Down {
    /// Messages of at most `limit` bytes, with these secrets masked.
    pub(in crate::proxy) fn new(needles: Arc<Needles>, limit: u64) -> Self {
        Self {
            follower: Follower::new(Writer::Server, limit),
            scrubber: Scrubber::new(Arc::clone(&needles)),
            needles,
            control: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            fed: 0,
            emitted: 0,
            hits: 0,
            has_closed: false,
        }
    }

    /// Takes what the vendor wrote, and adds to `out` what may go to the client. With `is_last`, no more than to the
    /// end of the frame at hand.
    pub(in crate::proxy) fn push(
        &mut self,
        mut input: Bytes,
        is_last: bool,
        out: &mut BytesMut,
    ) -> Result<Seen, Violation> {
        let mut seen = Seen::default();
        while !(self.has_closed || is_last && self.is_at_border())
            && let Some(piece) = self.follower.next(&mut input)?
        {
            match piece {
                Piece::Head(head) if matches!(head.kind, Kind::Data { .. }) => {
                    seen.data = true;
                    self.insert(head.bytes(), out)?;
                }
                Piece::Head(head) => self.control = Some((head, Vec::new())),
                Piece::Payload(part) => match &mut self.control {
                    Some((_, payload)) => payload.extend_from_slice(&part),
                    None => {
                        self.fed += length(&part);
                        let scanned = self.scrubber.push(part);
                        self.emit(scanned, out);
                    }
                },
                Piece::End(Kind::Data { is_last: true, .. }) => {
                    let rest = self.scrubber.finish();
                    self.emit(rest, out);
                }
                Piece::End(Kind::Data { .. }) => {}
                Piece::End(kind) => {
                    if let Some((head, mut payload)) = self.control.take() {
                        // Each for itself. The status of a close is two bytes that no secret begins with.
                        self.hits = self.hits.saturating_add(mask_whole(&self.needles, &mut payload));
                        self.insert(&[head.bytes(), &payload].concat(), out)?;
                    }
                    self.has_closed = kind == Kind::Close;
                }
            }
        }
        Ok(seen)
    }

    /// Bytes that are no payload of a message: after what came before them, at once if nothing is held.
    fn insert(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<(), Violation> {
        if self.fed == self.emitted {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        self.waiting_bytes += RECORD + bytes.len();
        if self.waiting_bytes > LONGEST_WAIT {
            return Err(Violation::Protocol);
        }
        self.waiting.push_back((self.fed, bytes.to_vec()));
        Ok(())
    }

    /// Payload that may go out, and what waits between.
    fn emit(&mut self, mut payload: Bytes, out: &mut BytesMut) {
        loop {
            let before_next = self.waiting.front().map_or(u64::MAX, |(at, _)| at - self.emitted);
            let part = usize::try_from(before_next).map_or(payload.len(), |most| most.min(payload.len()));
            out.extend_from_slice(&payload[..part]);
            payload.advance(part);
            self.emitted += u64::try_from(part).unwrap_or_default();
            match self.waiting.front() {
                Some((at, bytes)) if *at == self.emitted => {
                    out.extend_from_slice(bytes);
                    self.waiting_bytes -= RECORD + bytes.len();
                    self.waiting.pop_front();
                }
                _ => return,
            }
        }
    }

    /// Whether a timer is of use, see [`Scrubber::is_releasable`].
    pub(super) fn is_releasable(&self) -> bool {
        self.scrubber.is_releasable()
    }

    /// To be called when bytes have been held for some time.
    pub(in crate::proxy) fn release(&mut self, out: &mut BytesMut) {
        let released = self.scrubber.release();
        self.emit(released, out);
    }

    /// Whether a frame of our own may stand here.
    pub(super) fn is_at_border(&self) -> bool {
        // A control frame goes out whole, so nothing of one that is still coming has.
        (self.follower.is_at_border() || self.control.is_some()) && self.fed == self.emitted
    }

    /// Whether the vendor has said that it closes.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// How many secrets were masked.
    pub(super) fn hits(&self) -> u32 {
        self.hits.saturating_add(self.scrubber.hits())
    }
}

/// The direction towards the vendor.
#[derive(Debug)]
pub(in crate::proxy) struct Up {
    follower: Follower,
    /// The head of a message that has to wait.
    stopped: Option<Head>,
    has_closed: bool,
}

impl Up {
    /// Messages of at most `limit` bytes.
    pub(in crate::proxy) fn new(limit: u64) -> Self {
        Self { follower: Follower::new(Writer::Client, limit), stopped: None, has_closed: false }
    }

    /// Takes out of `input` what the client wrote, and adds it to `out`. `admit` is asked for each message and trifle;
    /// one that has to wait stays in `input`, with all that comes behind it.
    pub(in crate::proxy) fn push(
        &mut self,
        input: &mut Bytes,
        out: &mut BytesMut,
        mut admit: impl FnMut(Wanted) -> Result<(), Duration>,
    ) -> Result<Seen, Violation> {
        let mut seen = Seen::default();
        while !self.has_closed {
            let piece = match self.stopped.take() {
                Some(head) => Piece::Head(head),
                None => match self.follower.next(input)? {
                    Some(piece) => piece,
                    None => break,
                },
            };
            match piece {
                Piece::Head(head) => {
                    let wanted = match head.kind {
                        Kind::Data { is_first: true, .. } => Some(Wanted::Message),
                        _ => head.is_small().then_some(Wanted::Trifle),
                    };
                    if let Some(wanted) = wanted
                        && let Err(wait) = admit(wanted)
                    {
                        self.stopped = Some(head);
                        seen.wait = Some(wait);
                        break;
                    }
                    // Small fragments are no activity: empty ones would hold the idle time-out off for ever.
                    seen.data |= wanted != Some(Wanted::Trifle);
                    out.extend_from_slice(head.bytes());
                }
                Piece::Payload(part) => out.extend_from_slice(&part),
                Piece::End(kind) => self.has_closed = kind == Kind::Close,
            }
        }
        Ok(seen)
    }

    /// Whether a frame of our own may stand here.
    pub(super) fn is_at_border(&self) -> bool {
        self.follower.is_at_border() || self.stopped.is_some()
    }

    /// Whether the client has said that it closes.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }
}

fn length(part: &Bytes) -> u64 {
    u64::try_from(part.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const KEY: &str = "sk-real-0123456789abcdef";

    fn down() -> Down {
        Down::new(Arc::new(Needles::of([&Secret::new(KEY)])), 1 << 20)
    }

    fn frame(first: u8, payload: &str) -> Vec<u8> {
        [&[first, u8::try_from(payload.len()).unwrap()], payload.as_bytes()].concat()
    }

    /// What the client gets of `bytes` that come in parts of `size`.
    fn passed(down: &mut Down, bytes: &[u8], size: usize) -> Vec<u8> {
        let mut out = BytesMut::new();
        for part in bytes.chunks(size) {
            down.push(Bytes::copy_from_slice(part), false, &mut out).unwrap();
        }
        out.to_vec()
    }

    #[test]
    fn a_key_is_masked_across_the_fragments_of_a_message_with_a_ping_between() {
        for cut in 0..=KEY.len() {
            let (one, two) = KEY.split_at(cut);
            let stars = "*".repeat(KEY.len());
            let (masked_one, masked_two) = stars.split_at(cut);
            let message = |one: &str, two: &str| {
                [frame(0x01, &format!("<{one}")), frame(0x89, "now"), frame(0x80, &format!("{two}>"))].concat()
            };
            for size in [1, 5, 1000] {
                let mut down = down();
                assert_eq!(
                    passed(&mut down, &message(one, two), size),
                    message(masked_one, masked_two),
                    "{cut} {size}"
                );
                assert_eq!(down.hits(), 1);
                assert!(down.is_at_border());
            }
        }
    }

    #[test]
    fn a_key_is_masked_in_pings_pongs_and_reasons_of_closing() {
        for first in [0x89, 0x8a] {
            let mut down = down();
            assert_eq!(passed(&mut down, &frame(first, KEY), 7), frame(first, &"*".repeat(KEY.len())));
            assert_eq!(down.hits(), 1);
        }
        let reason = |text: &str| frame(0x88, &format!("\u{3}!{text}"));
        let mut down = down();
        assert_eq!(passed(&mut down, &reason(KEY), 7), reason(&"*".repeat(KEY.len())));
        assert!(down.has_closed() && down.hits() == 1);
    }

    #[test]
    fn messages_are_scanned_each_for_itself_and_leave_at_their_end() {
        let (one, two) = KEY.split_at(10);
        let bytes = [frame(0x81, one), frame(0x81, two)].concat();
        assert_eq!(passed(&mut down(), &bytes, 1000), bytes);
    }

    #[test]
    fn a_pause_lets_go_of_what_tells_nothing() {
        let mut down = down();
        let mut out = BytesMut::new();
        down.push(frame(0x01, "sk-").into(), false, &mut out).unwrap();
        assert_eq!(&out[..], [0x01, 3]);
        assert!(down.is_releasable() && !down.is_at_border());
        down.release(&mut out);
        assert_eq!(&out[..], frame(0x01, "sk-"));
        assert!(down.is_at_border());
    }

    #[test]
    fn frames_behind_held_bytes_have_a_bound() {
        let mut down = down();
        let mut out = BytesMut::new();
        down.push(frame(0x01, &KEY[..12]).into(), false, &mut out).unwrap();
        let ping = Bytes::from(frame(0x89, &"p".repeat(125)));
        let refused = (0..1000).find_map(|_| down.push(ping.clone(), false, &mut out).err());
        assert_eq!(refused, Some(Violation::Protocol));
    }

    #[test]
    fn after_a_close_nothing_passes() {
        let mut down = down();
        let bytes = [frame(0x88, ""), frame(0x81, "more")].concat();
        assert_eq!(passed(&mut down, &bytes, 1000), frame(0x88, ""));
    }

    #[test]
    fn a_direction_that_ends_stops_at_the_end_of_its_frame() {
        let mut down = down();
        let mut out = BytesMut::new();
        down.push(Bytes::from_static(&[0x01, 3, b'!']), false, &mut out).unwrap();
        down.push(Bytes::from_static(&[b'!', b'!', 0x80, 1, b'd']), true, &mut out).unwrap();
        assert_eq!(&out[..], [0x01, 3, b'!', b'!', b'!']);
    }

    #[test]
    fn a_message_that_must_wait_waits_with_all_behind_it() {
        let masked = |first: u8, text: &str| {
            let mut frame = vec![first, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
            frame.extend_from_slice(text.as_bytes());
            frame
        };
        let (one, two) = (masked(0x81, "one"), [masked(0x81, "two"), masked(0x8a, "")].concat());
        let mut input = Bytes::from([&one[..], &two].concat());
        let (mut up, mut out, mut free) = (Up::new(100), BytesMut::new(), 1);
        let mut push = |up: &mut Up, out: &mut BytesMut, more: i32| {
            free += more;
            let admit = |wanted| {
                if wanted == Wanted::Trifle {
                    return Ok(());
                }
                free -= 1;
                if free >= 0 { Ok(()) } else { Err(Duration::from_secs(1)) }
            };
            up.push(&mut input, out, admit).unwrap()
        };
        assert_eq!(push(&mut up, &mut out, 0).wait, Some(Duration::from_secs(1)));
        assert_eq!(&out[..], one);
        assert!(up.is_at_border());
        assert_eq!(push(&mut up, &mut out, 2).wait, None);
        assert_eq!(&out[..], [one, two].concat());
    }
}

//! Follows WebSocket frames (RFC 6455 §5) in the bytes of one direction, without keeping them.
//!
//! What two readers could read in two ways is refused: reserved bits (no extension is negotiated), unknown opcodes,
//! lengths that are not written as short as they can be, fragments of control frames, masks on the wrong side.

use bytes::{Buf, Bytes};

/// The longest payload of a control frame (RFC 6455 §5.5).
pub(super) const LONGEST_CONTROL: usize = 125;
/// Opcode, lengths and mask at most.
const LONGEST_HEAD: usize = 14;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first frame of a message, or one that goes on with it.
    Data {
        /// Whether a message begins here.
        is_first: bool,
        /// Whether it ends here.
        is_last: bool,
    },
    /// The end of the connection.
    Close,
    /// A ping, or the answer to one.
    Control,
}

/// The head of a frame, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    bytes: [u8; LONGEST_HEAD],
    length: usize,
    /// What the frame is.
    pub(super) kind: Kind,
}

impl Head {
    /// Whether the frame costs more than it carries.
    pub(super) fn is_small(&self) -> bool {
        usize::from(self.bytes[1] & 0x7f) <= LONGEST_CONTROL
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A piece of the stream of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A frame begins.
    Head(Head),
    /// A part of its payload, which may come in several.
    Payload(Bytes),
    /// It has ended.
    End(Kind),
}

/// Why a stream of frames cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum Violation {
    /// It is not RFC 6455.
    #[error("a WebSocket frame is malformed")]
    Protocol,
    /// A message is longer than the limit.
    #[error("a WebSocket message is too long")]
    TooLong,
}

impl Violation {
    /// What a close frame says of it (RFC 6455 §7.4.1).
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::TooLong => 1009,
        }
    }
}

/// Who writes the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// A client: its frames are masked.
    Client,
    /// A server: its frames are not.
    Server,
}

/// Where a stream of frames stands.
#[derive(Debug)]
pub(super) struct Follower {
    writer: Writer,
    /// Bytes of a message.
    limit: u64,
    /// A head of which a part has come.
    head: [u8; LONGEST_HEAD],
    known: usize,
    frame: Option<Frame>,
    /// The length so far of the message that is not at its end yet.
    message: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: Kind,
    left: u64,
}

impl Follower {
    /// Follows what `writer` writes, messages of at most `limit` bytes.
    pub(super) fn new(writer: Writer, limit: u64) -> Self {
        Self { writer, limit, head: [0; LONGEST_HEAD], known: 0, frame: None, message: None }
    }

    /// Whether no frame is open. One whose head has not come whole is not: nobody has been given any of it.
    pub(super) fn is_at_border(&self) -> bool {
        self.frame.is_none()
    }

    /// The next piece of `input`, which is taken out of it; nothing if there is none before more comes.
    ///
    /// # Errors
    ///
    /// See [`Violation`]. The follower is of no use afterwards.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Piece>, Violation> {
        let Some(frame) = &mut self.frame else { return self.head(input) };
        if frame.left == 0 {
            let kind = frame.kind;
            self.frame = None;
            return Ok(Some(Piece::End(kind)));
        }
        if input.is_empty() {
            return Ok(None);
        }
        let length = usize::try_from(frame.left).map_or(input.len(), |left| left.min(input.len()));
        frame.left -= u64::try_from(length).unwrap_or(frame.left);
        Ok(Some(Piece::Payload(input.split_to(length))))
    }

    fn head(&mut self, input: &mut Bytes) -> Result<Option<Piece>, Violation> {
        loop {
            if self.known >= 2 && self.known == self.head_length() {
                let (frame, head) = self.begin()?;
                self.frame = Some(frame);
                self.known = 0;
                return Ok(Some(Piece::Head(head)));
            }
            if input.is_empty() {
                return Ok(None);
            }
            // Refused by its first bytes, not after the rest of it was waited for.
            let byte = input.get_u8();
            if let Some(place) = self.head.get_mut(self.known) {
                *place = byte;
            }
            self.known += 1;
            if self.known == 2 {
                self.check_start()?;
            }
        }
    }

    fn head_length(&self) -> usize {
        let length = match self.head[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        if self.head[1] & 0x80 == 0 { length } else { length + 4 }
    }

    /// What the first two bytes tell.
    fn check_start(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.head;
        let is_masked = second & 0x80 != 0;
        let is_last = first & 0x80 != 0;
        let is_right = match first & 0x0f {
            0 => self.message.is_some(),
            1 | 2 => self.message.is_none(),
            8 => is_last && second & 0x7f <= 125 && second & 0x7f != 1,
            9 | 10 => is_last && second & 0x7f <= 125,
            _ => false,
        };
        if is_right && first & 0x70 == 0 && is_masked == (self.writer == Writer::Client) {
            Ok(())
        } else {
            Err(Violation::Protocol)
        }
    }

    fn begin(&mut self) -> Result<(Frame, Head), Violation> {
        let [first, second, ..] = self.head;
        let big = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let left = match second & 0x7f {
            126 => big(&self.head[2..4]),
            127 => big(&self.head[2..10]),
            length => u64::from(length),
        };
        let is_short = match second & 0x7f {
            126 => left > 125,
            127 => left > 0xffff && left >> 63 == 0,
            _ => true,
        };
        if !is_short {
            return Err(Violation::Protocol);
        }
        let kind = match first & 0x0f {
            8 => Kind::Close,
            9 | 10 => Kind::Control,
            opcode => Kind::Data { is_first: opcode != 0, is_last: first & 0x80 != 0 },
        };
        if let Kind::Data { is_last, .. } = kind {
            let message = self.message.unwrap_or(0).saturating_add(left);
            if message > self.limit {
                return Err(Violation::TooLong);
            }
            self.message = (!is_last).then_some(message);
        }
        Ok((Frame { kind, left }, Head { bytes: self.head, length: self.known, kind }))
    }
}

/// A frame of our own: `code` and `reason` of a close, unmasked for a client, masked for a vendor.
pub(super) fn close(to: Writer, code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    payload.truncate(LONGEST_CONTROL);
    control(to, 0x88, &payload)
}

/// A ping.
pub(super) fn ping(to: Writer) -> Vec<u8> {
    control(to, 0x89, &[])
}

/// `to` is whose frames these look like: ours to a vendor are a client's.
fn control(to: Writer, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or_default();
    let mut frame = match to {
        Writer::Server => vec![opcode, length],
        // A mask of zeros is a mask. It guards caches between against what a page may make a browser write (RFC 6455
        // §10.3); these bytes are ours.
        Writer::Client => vec![opcode, length | 0x80, 0, 0, 0, 0],
    };
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pieces of `bytes` when it comes in parts of `size`, payloads of one frame joined.
    fn follow(follower: &mut Follower, bytes: &[u8], size: usize) -> Result<Vec<Piece>, Violation> {
        let mut pieces: Vec<Piece> = Vec::new();
        for part in bytes.chunks(size) {
            let mut input = Bytes::copy_from_slice(part);
            while let Some(piece) = follower.next(&mut input)? {
                match (pieces.last_mut(), piece) {
                    (Some(Piece::Payload(before)), Piece::Payload(more)) => {
                        *before = [&before[..], &more].concat().into()
                    }
                    (_, piece) => pieces.push(piece),
                }
            }
            assert!(input.is_empty());
        }
        Ok(pieces)
    }

    fn violation(writer: Writer, bytes: &[u8]) -> Violation {
        follow(&mut Follower::new(writer, 1000), bytes, 64).unwrap_err()
    }

    #[test]
    fn frames_are_followed_however_they_come() {
        let long = vec![b'x'; 300];
        let frames = [
            &[0x01, 0x03][..],
            b"abc",
            &[0x89, 0x01],
            b"!",
            &[0x80, 0x02],
            b"de",
            &[0x82, 126, 1, 44],
            &long,
            &[0x81, 0],
            &[0x88, 0x02, 3, 232],
        ];
        let bytes = frames.concat();
        for size in [1, 2, 3, 7, 1000] {
            let pieces = follow(&mut Follower::new(Writer::Server, 1000), &bytes, size).unwrap();
            let kinds: Vec<Kind> = pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Head(head) => Some(head.kind),
                    Piece::Payload(_) | Piece::End(_) => None,
                })
                .collect();
            let data = |is_first, is_last| Kind::Data { is_first, is_last };
            assert_eq!(
                kinds,
                [data(true, false), Kind::Control, data(false, true), data(true, true), data(true, true), Kind::Close]
            );
            let mut copy = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Head(head) => copy.extend_from_slice(head.bytes()),
                    Piece::Payload(part) => copy.extend_from_slice(&part),
                    Piece::End(_) => {}
                }
            }
            assert_eq!(copy, bytes);
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for bytes in [
            &[0xc1, 0x00][..],         // a reserved bit
            &[0x83, 0x00],             // an unknown opcode
            &[0x80, 0x00],             // goes on with nothing
            &[0x01, 0x00, 0x81, 0x00], // a message within a message
            &[0x09, 0x00],             // a ping in fragments
            &[0x89, 126, 0, 126],      // a long ping
            &[0x88, 0x01, 0x03],       // half a status
            &[0x81, 126, 0, 125],      // a length that is longer than need be
            &[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            &[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            &[0x81, 0x80, 0, 0, 0, 0], // a server that masks
        ] {
            assert_eq!(violation(Writer::Server, bytes), Violation::Protocol, "{bytes:x?}");
        }
        assert_eq!(violation(Writer::Client, &[0x81, 0x00]), Violation::Protocol);
    }

    #[test]
    fn a_message_is_as_long_as_its_fragments() {
        let fragment = |first: u8| [&[first, 126, 1, 244][..], &[0; 500]].concat();
        let fits = [fragment(0x01), fragment(0x80)].concat();
        assert!(follow(&mut Follower::new(Writer::Server, 1000), &fits, 64).is_ok());
        let more = [fragment(0x01), fragment(0x00), vec![0x80, 0x01]].concat();
        assert_eq!(violation(Writer::Server, &more), Violation::TooLong);
        assert_eq!(violation(Writer::Server, &[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]), Violation::TooLong);
    }

    #[test]
    fn our_own_frames_can_be_followed() {
        for (writer, length) in [(Writer::Server, 9), (Writer::Client, 13)] {
            let frames = [close(writer, 4401, "ended"), ping(writer)].concat();
            assert_eq!(close(writer, 4401, "ended").len(), length);
            assert!(follow(&mut Follower::new(writer, 0), &frames, 3).is_ok());
        }
    }
}

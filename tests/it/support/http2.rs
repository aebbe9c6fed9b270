//! HTTP/2 as frames (RFC 9113 §4, §6): for what a client library would refuse to send.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

/// HEADER_TABLE_SIZE among the settings.
pub(crate) const TABLE: u16 = 1;
/// INITIAL_WINDOW_SIZE among the settings.
pub(crate) const WINDOW: u16 = 4;
/// MAX_FRAME_SIZE among the settings.
pub(crate) const FRAME_SIZE: u16 = 5;
/// The largest window there is.
pub(crate) const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// The reasons of RFC 9113 §7 that are told here.
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame, whatever sense it makes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A SETTINGS frame.
pub(crate) fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let pair = |(key, value): &(u16, u32)| [key.to_be_bytes().as_slice(), &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &pairs.iter().flat_map(pair).collect::<Vec<u8>>())
}

/// A WINDOW_UPDATE or RST_STREAM frame, or whatever else is four bytes long.
pub(crate) fn number(kind: u8, stream: u32, value: u32) -> Vec<u8> {
    frame(kind, 0, stream, &value.to_be_bytes())
}

/// A header field, neither compressed nor remembered (RFC 7541 §6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0], text(name).as_slice(), &text(value)].concat()
}

/// A string without Huffman's code (RFC 7541 §5.2).
pub(crate) fn text(text: &str) -> Vec<u8> {
    [length(0, 7, text.len()).as_slice(), text.as_bytes()].concat()
}

/// A number behind the `first` bits of its byte, of which it has the last `bits` (RFC 7541 §5.1).
pub(crate) fn length(first: u8, bits: u8, mut value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![first | u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![first | u8::try_from(most).unwrap()];
    value -= most;
    while value >= 128 {
        bytes.push(u8::try_from(value % 128 + 128).unwrap());
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// The header block of a call with this token.
pub(crate) fn head(token: &str, call: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let (method, path) = call.split_once(' ').unwrap();
    let bearer = format!("Bearer {token}");
    let own = [(":method", method), (":scheme", "http"), (":authority", "gateway"), (":path", path)];
    let bearer = ("authorization", bearer.as_str());
    own.iter().chain([&bearer]).chain(fields).flat_map(|(name, value)| field(name, value)).collect()
}

/// What came back, as far as an attacker looks at it.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Streams on which an answer began.
    pub(crate) answered: Vec<u32>,
    /// Streams on which an answer ended.
    pub(crate) ended: Vec<u32>,
    /// Streams that were reset, and why.
    pub(crate) resets: Vec<(u32, u32)>,
    /// Why the connection is over, if that was said.
    pub(crate) goaway: Option<u32>,
    /// The settings of the gateway.
    pub(crate) settings: Vec<(u16, u32)>,
    /// Bytes of answers.
    pub(crate) data: usize,
    /// Whether the connection has ended.
    pub(crate) has_ended: bool,
}

/// A connection on which anything may be written; what comes back is read, but answered by nothing.
pub(crate) struct Attacker {
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    reader: JoinHandle<()>,
    received: Arc<Mutex<Received>>,
}

impl Attacker {
    /// Begins HTTP/2 with these settings.
    pub(crate) async fn begin(io: impl AsyncRead + AsyncWrite + Send + 'static, pairs: &[(u16, u32)]) -> Self {
        let (reader, writer) = tokio::io::split(io);
        let received = Arc::new(Mutex::new(Received::default()));
        let reader = tokio::spawn(read(reader, Arc::clone(&received)));
        let mut attacker = Self { writer: Box::new(writer), reader, received };
        let start = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings(pairs), &frame(SETTINGS, ACK, 0, &[])];
        assert!(attacker.write(&start.concat()).await);
        attacker
    }

    /// Writes; answers whether the gateway takes it.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        // Who does not read any more takes nothing either.
        matches!(timeout(Duration::from_secs(5), self.writer.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Writes these bytes again and again, `most` in all, for as long as the gateway takes them; answers how many.
    pub(crate) async fn flood(&mut self, bytes: &[u8], most: usize) -> usize {
        let batch = bytes.repeat((64 << 10) / bytes.len() + 1);
        let mut written = 0;
        while written < most && self.write(&batch).await {
            written += batch.len();
        }
        written
    }

    /// Opens a stream; its client has nothing more to say.
    pub(crate) async fn call(&mut self, stream: u32, head: &[u8]) -> bool {
        self.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, head)).await
    }

    /// Closes this side of the connection.
    pub(crate) async fn close(&mut self) {
        self.writer.shutdown().await.unwrap();
    }

    /// What came so far.
    pub(crate) fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock()
    }

    /// Waits for the connection's end; why it ended, if that was said.
    pub(crate) async fn end(&self) -> Option<u32> {
        super::eventually("the end of the connection", || self.received().has_ended).await;
        self.received().goaway
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // It holds the other half of the connection.
        self.reader.abort();
    }
}

async fn read(mut reader: impl AsyncRead + Unpin, received: Arc<Mutex<Received>>) {
    let mut head = [0; 9];
    let mut payload = Vec::new();
    // A reset is an end as well.
    while reader.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, flags, stream @ ..] = head;
        payload.resize(usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap(), 0);
        if reader.read_exact(&mut payload).await.is_err() {
            break;
        }
        let stream = u32::from_be_bytes(stream);
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        let mut received = received.lock();
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            received.ended.push(stream);
        }
        match kind {
            DATA => received.data += payload.len(),
            HEADERS => received.answered.push(stream),
            RESET => received.resets.push((stream, number(0))),
            GOAWAY => received.goaway = Some(number(4)),
            SETTINGS if flags & ACK == 0 => received.settings.extend(payload.chunks(6).map(|pair| {
                (u16::from_be_bytes([pair[0], pair[1]]), u32::from_be_bytes(pair[2..6].try_into().unwrap()))
            })),
            _ => {}
        }
    }
    received.lock().has_ended = true;
}

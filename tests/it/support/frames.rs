//! HTTP/2 as frames (RFC 9113 §4.1): for a vendor that does what no server library would.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// `:status: 200` in HPACK (RFC 7541, static table).
pub(crate) const OK: &[u8] = &[0x88];
/// The same, and `content-length: 10`.
pub(crate) const OK_AND_TEN: &[u8] = &[0x88, 0x0f, 0x0d, 0x02, b'1', b'0'];

/// SETTINGS_MAX_CONCURRENT_STREAMS = 1.
pub(crate) const ONE_STREAM: &[u8] = &[0, 3, 0, 0, 0, 1];

/// Frames on a connection whose greetings have been exchanged.
pub(crate) struct Frames(TlsStream<TcpStream>);

impl Frames {
    /// Reads the client's preface and sends SETTINGS that change nothing.
    pub(crate) async fn greet(stream: TlsStream<TcpStream>) -> Self {
        Self::greet_with(stream, &[]).await
    }

    /// Reads the client's preface and sends these SETTINGS.
    pub(crate) async fn greet_with(mut stream: TlsStream<TcpStream>, settings: &[u8]) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut frames = Self(stream);
        frames.send(SETTINGS, 0, 0, settings).await;
        frames
    }

    /// Sends a frame, if there is still somebody to read it.
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send_together(&[(kind, flags, stream, payload)]).await;
    }

    /// Sends frames in one piece: the kind, flags, stream and payload of each.
    pub(crate) async fn send_together(&mut self, frames: &[(u8, u8, u32, &[u8])]) {
        let mut bytes = Vec::new();
        for (kind, flags, stream, payload) in frames {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            bytes.extend([length[1], length[2], length[3], *kind, *flags]);
            bytes.extend(stream.to_be_bytes());
            bytes.extend(*payload);
        }
        // The test tells by what the gateway answers.
        let _gone = self.0.write_all(&bytes).await;
        let _gone = self.0.flush().await;
    }

    /// The next frame's kind, stream and payload; nothing at the end. SETTINGS are acknowledged on the way.
    pub(crate) async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
            self.0.read_exact(&mut payload).await.ok()?;
            if head[3] == SETTINGS {
                if head[4] & ACK == 0 {
                    self.send(SETTINGS, ACK, 0, &[]).await;
                }
                continue;
            }
            return Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload));
        }
    }

    /// The stream of the next call.
    pub(crate) async fn call(&mut self) -> Option<u32> {
        loop {
            if let (HEADERS, stream, _) = self.next().await? {
                return Some(stream);
            }
        }
    }

    /// Says that nothing more comes. The connection stays: one closed with something unread is reset, and a reset can
    /// overtake what was sent before it.
    pub(crate) async fn end(&mut self) {
        let _gone = self.0.shutdown().await;
    }

    /// Reads until the other side is gone.
    pub(crate) async fn linger(&mut self) {
        while self.next().await.is_some() {}
    }
}

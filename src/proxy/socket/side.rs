//! One side of a WebSocket: what was read from it, what waits to be written to it, and whether it lives.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::Instant;

use super::frame::{Writer, ping};

/// Bytes that are read at once. A message may be longer.
const PART: usize = 16 << 10;

/// One side: what was read from it, what waits to be written to it.
pub(super) struct Side<S> {
    pub(super) read: ReadHalf<S>,
    pub(super) write: WriteHalf<S>,
    pub(super) inbox: BytesMut,
    pub(super) out: BytesMut,
    pub(super) is_flushed: bool,
    pub(super) written: u64,
    heard: Instant,
    asked: Option<Instant>,
    pub(super) has_ended: bool,
}

impl<S: AsyncRead + AsyncWrite> Side<S> {
    pub(super) fn new(stream: S) -> Self {
        let (read, write) = split(stream);
        let (inbox, out, heard) = (BytesMut::new(), BytesMut::new(), Instant::now());
        Self { read, write, inbox, out, is_flushed: true, written: 0, heard, asked: None, has_ended: false }
    }

    pub(super) fn is_written(&self) -> bool {
        self.out.is_empty() && self.is_flushed
    }

    /// The side is gone: drops what was queued for it, so that neither the other side nor the end waits.
    pub(super) fn forget(&mut self) {
        self.has_ended = true;
        self.is_flushed = true;
        self.out.clear();
    }

    pub(super) fn hears(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// When it has to be pinged, or given up.
    pub(super) fn due(&self, ping: Duration) -> Instant {
        self.asked.unwrap_or(self.heard) + ping
    }

    /// Pings it if it is time; says whether the last ping had no answer.
    pub(super) fn ask(
        &mut self,
        writer: Writer,
        ping_after: Duration,
        is_heard: bool,
        may_write: bool,
        now: Instant,
    ) -> bool {
        if now < self.due(ping_after) {
            return false;
        }
        if !is_heard {
            // The answer of a side that we do not read cannot come, but one that has left refuses what it is sent.
            if may_write && self.is_written() {
                self.out.extend_from_slice(&ping(writer));
            }
            self.hears(now);
            return false;
        }
        if self.asked.is_some() {
            return true;
        }
        if may_write {
            self.out.extend_from_slice(&ping(writer));
            self.asked = Some(now);
        } else {
            // In the middle of a frame: asked next time.
            self.heard = now;
        }
        false
    }

    /// Reads a part into the inbox, or to the end.
    pub(super) async fn read(read: &mut ReadHalf<S>, inbox: &mut BytesMut) -> bool {
        inbox.reserve(PART);
        matches!(read.read_buf(inbox).await, Ok(1..))
    }

    /// Writes some of what waits, and flushes when it was the last. Cancel-safe.
    pub(super) async fn write(
        write: &mut WriteHalf<S>,
        out: &mut BytesMut,
        is_flushed: &mut bool,
        written: &mut u64,
    ) -> io::Result<()> {
        if !out.is_empty() {
            let length = write.write_buf(out).await?;
            *written += u64::try_from(length).unwrap_or_default();
            *is_flushed = false;
        }
        if out.is_empty() {
            write.flush().await?;
            *is_flushed = true;
        }
        Ok(())
    }
}

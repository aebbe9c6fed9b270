//! How far the answers of a connection are ahead of its socket: by what their bodies gave and what it took. It takes heads and
//! the lengths of parts, too, so that there may be a little more, until all of it was taken once.
//!
//! hyper asks for more of an answer while it holds less than it may read at once of a request. That is more than is of use, and
//! all of it would be kept for a client that reads nothing: so a body that is too far ahead gives nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// While so many bytes of an answer wait for the client, its body is asked for no more.
pub(super) const MOST: usize = 32 << 10;

/// What one connection has ahead. One task writes and asks the bodies, so nothing changes between a look and what follows.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    bytes: AtomicUsize,
    /// A body was not asked, and may have more.
    is_held: AtomicBool,
}

impl Ahead {
    /// Nothing that was given waits any more: another answer begins, or hyper has nothing left to write.
    pub(super) fn clear(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Whether the body has to wait. Nobody wakes it: see [`Self::may_go_on`].
    pub(super) fn holds(&self) -> bool {
        let holds = self.is_too_far();
        if holds {
            self.is_held.store(true, Ordering::Relaxed);
        }
        holds
    }

    /// The body gave so many bytes.
    pub(super) fn gave(&self, bytes: usize) {
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// Whether a body that had to wait is to be asked again: told once. Asked after all that could be written was written;
    /// while more is left, the socket wakes who writes.
    pub(super) fn may_go_on(&self) -> bool {
        // Each answer asks, and hardly any had to wait: a look costs less than an exchange.
        let may = self.is_held.load(Ordering::Relaxed) && !self.is_too_far();
        if may {
            self.is_held.store(false, Ordering::Relaxed);
        }
        may
    }

    fn took(&self, bytes: usize) {
        let before = self.bytes.load(Ordering::Relaxed);
        self.bytes.store(before.saturating_sub(bytes), Ordering::Relaxed);
    }

    fn is_too_far(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= MOST
    }
}

/// A socket that tells how much of the answers it took.
#[derive(Debug)]
pub(super) struct Written<T> {
    io: T,
    ahead: Arc<Ahead>,
}

impl<T> Written<T> {
    pub(super) fn new(io: T, ahead: &Arc<Ahead>) -> Self {
        Self { io, ahead: Arc::clone(ahead) }
    }

    fn count(&self, taken: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &taken {
            self.ahead.took(*bytes);
        }
        taken
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Written<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Written<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.io).poll_write(context, bytes);
        self.count(taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        self.count(taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper asks for it when it has written all. Whatever was given and is not to be written, more than the answer's length,
        // say, never comes.
        self.ahead.clear();
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

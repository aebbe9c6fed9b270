//! The socket of one client: it gives up a client that reads nothing, and tells that one has left while nobody reads.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Sleep, sleep};

use super::bounds::Slot;

/// A client's socket, in halves, so that a [`Watch`] can look at it from beside HTTP.
#[derive(Debug)]
pub(super) struct Stream {
    read: OwnedReadHalf,
    write: Arc<OwnedWriteHalf>,
    /// How long the client may take nothing of what waits for it.
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Counts the connection while it is open, after an upgrade too.
    _slot: Slot,
}

/// Sees whether the client of a [`Stream`] has left.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<OwnedWriteHalf>);

impl Watch {
    /// Waits until the client has closed its side, or both. The kernel tells it at once, whatever is still to be read;
    /// hyper sees it only when it reads to the end, and it does not read while it has bytes of a next request.
    pub(super) async fn left(&self) {
        // To wait for priority data is to wait for "closed for reading", too, but not for "something to read". There is
        // never priority data: nobody asked the system for it.
        if self.0.ready(Interest::PRIORITY).await.is_err() {
            // The runtime is ending, and with it the connection.
            std::future::pending::<()>().await;
        }
    }
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, patience: Duration, slot: Slot) -> Self {
        let (read, write) = tcp.into_split();
        Self { read, write: Arc::new(write), patience, stalled: None, _slot: slot }
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        (*self.write).as_ref()
    }

    pub(super) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.write))
    }

    fn poll_writing(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&OwnedWriteHalf) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.tcp().poll_write_ready(context)?.is_pending() {
                let patience = self.patience;
                let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
                ready!(timer.as_mut().poll(context));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")));
            }
            match write(&self.write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.stalled = None;
                    return Poll::Ready(written);
                }
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // tokio's own: it knows from a read that fills less than the buffer that there is no more, without asking again.
        Pin::new(&mut self.get_mut().read).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_writing(context, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_writing(context, |socket| socket.try_write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self.tcp()).shutdown(Shutdown::Write))
    }
}

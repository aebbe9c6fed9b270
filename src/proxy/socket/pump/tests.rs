//! How often a pump looks: a time that is due and stays due would make it spin.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::*;
use crate::proxy::scrub::Needles;

const SECOND: Duration = Duration::from_secs(1);

/// A socket that was reset: nothing can be read from it or written to it.
struct Reset(DuplexStream);

impl AsyncRead for Reset {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Reset {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How a WebSocket between these ends, and how often its future was polled.
async fn pumped<V: AsyncRead + AsyncWrite>(client: DuplexStream, vendor: V, ping: Duration) -> (End, u32) {
    admitted(client, vendor, ping, || Ok(())).await
}

/// The same where messages may have to wait.
async fn admitted<V: AsyncRead + AsyncWrite>(
    client: DuplexStream,
    vendor: V,
    ping: Duration,
    admit: impl FnMut() -> Result<(), Duration>,
) -> (End, u32) {
    let now = Instant::now();
    let terms = Terms { ends: now + 600 * SECOND, latest: now + 605 * SECOND, ping, idle: 600 * SECOND };
    let directions = (Down::new(Arc::new(Needles::default()), 1000), Up::new(1000));
    let mut pump = pin!(Pump::new((client, vendor), directions, terms, Arc::default(), admit, None).run());
    let mut polls = 0;
    let report = std::future::poll_fn(|context| {
        polls += 1;
        pump.as_mut().poll(context)
    });
    (report.await.end, polls)
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_was_reset_is_not_written_to_again_and_its_client_is_heard() {
    let (client, mut visitor) = duplex(1000);
    let (vendor, other) = duplex(1000);
    drop(other);
    let began = Instant::now();
    let visiting = async {
        let mut frame = [0; 100];
        let length = visitor.read(&mut frame).await.unwrap();
        assert_eq!(frame[..4], [0x88, u8::try_from(length).unwrap() - 2, 0x03, 0xf3]);
        visitor.write_all(&close(Writer::Client, BROKEN, "")).await.unwrap();
    };
    let ((end, polls), ()) = tokio::join!(pumped(client, Reset(vendor), 30 * SECOND), visiting);
    assert_eq!(end, End::VendorLost);
    assert!(polls < 20 && began.elapsed() < SECOND, "{polls} polls, {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_a_close_costs_no_looks() {
    let (client, _visitor) = duplex(1000);
    let (vendor, mut other) = duplex(1000);
    other.write_all(&close(Writer::Server, 1000, "")).await.unwrap();
    let began = Instant::now();
    // Signs of life would be due before the goodbye is over.
    let (end, polls) = tokio::time::timeout(60 * SECOND, pumped(client, vendor, SECOND)).await.unwrap();
    assert_eq!(end, End::Closed);
    assert!(polls < 20 && began.elapsed() <= 11 * SECOND, "{polls} polls, {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_message_waits_is_missed_at_the_next_sign_of_life() {
    let (client, mut visitor) = duplex(1000);
    let (vendor, _other) = duplex(1000);
    visitor.write_all(&[0x81, 0x80, 0, 0, 0, 0]).await.unwrap();
    drop(visitor);
    let began = Instant::now();
    let (end, _) = admitted(client, vendor, 30 * SECOND, || Err(3600 * SECOND)).await;
    assert_eq!(end, End::ClientLost);
    assert!(began.elapsed() <= 60 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn more_than_a_hundred_trifles_a_second_wait() {
    let mut trifles = Trifles { since: Instant::now(), count: 0 };
    let admitted = (0..1000).filter(|_| trifles.admit(Instant::now()).is_ok()).count();
    assert_eq!(admitted, 100);
    let wait = trifles.admit(Instant::now()).unwrap_err();
    tokio::time::advance(wait).await;
    assert_eq!(trifles.admit(Instant::now()), Ok(()));
}

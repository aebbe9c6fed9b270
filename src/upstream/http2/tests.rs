//! How a shared connection ends, with the time in the test's hands.

use tokio::io::{AsyncReadExt, duplex};
use tokio::time::Instant;

use super::*;

const HOME: Home = Home::Worker(0);

/// A request without a body.
fn call() -> http::Request<()> {
    http::Request::get("https://vendor.test/").body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_is_closed() {
    let (ours, theirs) = duplex(1 << 16);
    let vendor = tokio::spawn(async move {
        let mut connection = h2::server::handshake(theirs).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(http::Response::new(()), true).unwrap();
        }
    });
    let seat = share(ours, &HOME, None, None).await.unwrap();
    let (answer, _) = seat.sender().send_request(call(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    let began = Instant::now();

    // As long as a call has a seat, pings are answered and the connection stays.
    sleep(ROUND * 5).await;
    assert!(!vendor.is_finished());
    drop(seat);
    vendor.await.unwrap();

    assert!((ROUND * 5..=ROUND * 8).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(HOME.with(|kept| kept.seat(None)).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_no_ping_ends_with_its_calls() {
    let (ours, mut theirs) = duplex(1 << 16);
    let vendor = tokio::spawn(async move { while theirs.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {} });
    let seat = share(ours, &HOME, None, None).await.unwrap();
    let (answer, _) = seat.sender().send_request(call(), true).unwrap();
    let began = Instant::now();

    assert!(answer.await.unwrap_err().is_io());
    vendor.await.unwrap();

    assert!(began.elapsed() <= ROUND + LONGEST_SILENCE, "{:?}", began.elapsed());
    assert!(HOME.with(|kept| kept.seat(None)).is_none(), "no other call goes there");
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_a_bounded_number_of_seats_and_one_until_the_vendor_has_told() {
    let (ours, theirs) = duplex(1 << 16);
    let first = share(ours, &HOME, None, None).await.unwrap();
    assert!(HOME.with(|kept| kept.seat(None)).is_none());

    let vendor = tokio::spawn(async move {
        let mut connection = h2::server::handshake(theirs).await.unwrap();
        assert!(connection.accept().await.is_none());
    });
    while first.connection().limit().is_none() {
        tokio::task::yield_now().await;
    }
    let more: Vec<Seat> = std::iter::from_fn(|| HOME.with(|kept| kept.seat(None))).collect();

    assert_eq!(more.len(), MOST_STREAMS - 1);
    drop(first);
    assert!(HOME.with(|kept| kept.seat(Some(Instant::now()))).is_none(), "a call is not sent where it was refused");
    assert!(HOME.with(|kept| kept.seat(None)).is_some());
    assert!(!vendor.is_finished());
}

//! Until when a call may go on that has no answer yet, or whose body goes on behind its answer.
//!
//! As for a stream, that is until its token was revoked, or has ended and its session was not renewed: the store is asked at
//! each end, and nothing of a body passes after the leeway while nobody knows.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::access::CallGrant;
use crate::clock::Timestamp;
use crate::limit::OpenCall;
use crate::token::LEEWAY;
use crate::upstream::Hold;

/// How long an event or a frame that has begun may go on when its session was ended: most are whole by then, and what is revoked
/// is to be in force within a second.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// The newest token that a call goes on by, if it is another than it began with, and when it ends.
type Newest = (Option<Timestamp>, Instant);

/// Waits until it is over. The token that the call came with ends at `ends`.
pub(super) async fn over(grant: &CallGrant, ends: Instant) {
    let mut newest = (None, ends);
    while let Some(next) = renewed(grant, newest).await {
        newest = next;
    }
}

/// Waits until the right to the call was revoked.
pub(super) async fn ended(grant: &CallGrant) {
    let _over = grant.watch().ended().await;
}

/// Waits for the end of a token, and for what comes after it: nothing where it is over.
async fn renewed(grant: &CallGrant, (newest, ends): Newest) -> Option<Newest> {
    tokio::select! {
        () = ended(grant) => return None,
        () = sleep_until(ends) => {}
    }
    // It may be late that there is somebody to ask: a vendor that takes nothing for a while is no reason to end the call.
    let latest = ends.max(Instant::now()) + LEEWAY;
    let next = async {
        let next = match grant.renewed(newest) {
            Some(renewed) => renewed.await,
            None => None,
        };
        if next.is_none() {
            sleep_until(ends + LEEWAY).await;
        }
        next
    };
    tokio::select! {
        () = ended(grant) => None,
        next = next => next.map(|(token, ends)| (Some(token), ends)),
        () = sleep_until(latest) => None,
    }
}

/// What an upload keeps.
pub(super) struct Uploading {
    grant: CallGrant,
    newest: Newest,
    next: Option<Pin<Box<dyn Future<Output = Option<Newest>> + Send>>>,
    /// It counts as an open call.
    _open: Option<OpenCall>,
}

impl Uploading {
    pub(super) fn new(grant: &CallGrant, ends: Instant, open: Option<OpenCall>) -> Self {
        Self { grant: grant.clone(), newest: (None, ends), next: None, _open: open }
    }
}

impl Hold for Uploading {
    fn is_revoked(&self) -> bool {
        self.grant.over().is_some()
    }

    fn poll_right(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            let next = self.next.get_or_insert_with(|| {
                let (grant, newest) = (self.grant.clone(), self.newest);
                Box::pin(async move { renewed(&grant, newest).await })
            });
            match next.as_mut().poll(context) {
                Poll::Ready(Some(newest)) => (self.newest, self.next) = (newest, None),
                Poll::Ready(None) => {
                    self.next = None;
                    return Poll::Ready(false);
                }
                Poll::Pending if Instant::now() > self.newest.1 + LEEWAY => return Poll::Pending,
                Poll::Pending => return Poll::Ready(true),
            }
        }
    }

    fn rest(&mut self) {
        self.next = None;
    }
}

//! What is open when its token ends goes on where its session was renewed. The store is asked once at each end.

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::access::{CallGrant, Renewed};
use crate::clock::Timestamp;

/// What is known of that.
#[derive(Default)]
pub(super) struct Renewal {
    /// When the token ends that it goes on by, if that is another than it began with.
    newest: Option<Timestamp>,
    state: State,
}

#[derive(Default)]
enum State {
    /// Nobody has asked.
    #[default]
    Unasked,
    /// The store has not answered yet.
    Asked(Renewed),
    /// It was not renewed.
    Over,
}

impl Renewal {
    /// Asks, if nobody has; whether the answer is still to come.
    pub(super) fn ask(&mut self, grant: Option<&CallGrant>) -> bool {
        if self.is_due() {
            let renewed = grant.and_then(|grant| grant.renewed(self.newest));
            self.state = renewed.map_or(State::Over, State::Asked);
        }
        self.is_asked()
    }

    /// Whether nobody has asked.
    pub(super) fn is_due(&self) -> bool {
        matches!(self.state, State::Unasked)
    }

    /// Whether the answer is still to come.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked(_))
    }

    /// Waits for the answer, if there is one to come: until when it goes on. At that end it is asked again.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Instant>> {
        let State::Asked(answer) = &mut self.state else { return Poll::Pending };
        answer.as_mut().poll(context).map(|renewed| {
            self.state = if renewed.is_some() { State::Unasked } else { State::Over };
            let (newest, until) = renewed?;
            self.newest = Some(newest);
            Some(until)
        })
    }
}

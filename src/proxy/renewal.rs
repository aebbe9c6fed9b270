//! What is open when its token ends goes on where its session was renewed. The store is asked once at each end.

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::access::{CallGrant, Renewed};
use crate::clock::Timestamp;
use crate::token::LEEWAY;

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
    /// The store has not answered yet. It may until then.
    Asked(Renewed, Instant),
    /// It was not renewed.
    Over,
}

impl Renewal {
    /// Asks the store, once; whether the answer is still to come. The first poll may come long after the token's end: a
    /// client that reads slowly must not lose its stream for that.
    pub(super) fn ask(&mut self, grant: Option<&CallGrant>, now: Instant) -> bool {
        if self.is_due() {
            let renewed = grant.and_then(|grant| grant.renewed(self.newest));
            self.state = renewed.map_or(State::Over, |renewed| State::Asked(renewed, now + LEEWAY));
        }
        self.is_asked()
    }

    /// Whether nobody has asked.
    pub(super) fn is_due(&self) -> bool {
        matches!(self.state, State::Unasked)
    }

    /// Whether the answer is still to come.
    pub(super) fn is_asked(&self) -> bool {
        self.until().is_some()
    }

    /// Whether it was not renewed.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Until when the answer may come, if there is one to come.
    pub(super) fn until(&self) -> Option<Instant> {
        match &self.state {
            State::Asked(_, until) => Some(*until),
            State::Unasked | State::Over => None,
        }
    }

    /// Waits no longer.
    pub(super) fn give_up(&mut self) {
        self.state = State::Over;
    }

    /// Waits for the answer, if there is one to come: until when it goes on. At that end it is asked again.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Instant>> {
        let State::Asked(answer, _) = &mut self.state else { return Poll::Pending };
        answer.as_mut().poll(context).map(|renewed| {
            self.state = if renewed.is_some() { State::Unasked } else { State::Over };
            let (newest, until) = renewed?;
            self.newest = Some(newest);
            Some(until)
        })
    }
}

//! The end of a process without the end of its calls: who listens hears how far it has come.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::Context;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Running normally.
    Open,
    /// Balancers are told. Connections are accepted, and closed after the call that they carry.
    Noticed,
    /// No connection is accepted, and those without a call are closed.
    Closing,
}

/// The same for all of a process.
#[derive(Clone, Debug)]
pub(crate) struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    /// How many still accept.
    accepting: AtomicUsize,
    told: Arc<Notify>,
}

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(Shared {
            phase: AtomicU8::new(Phase::Open as u8),
            accepting: AtomicUsize::new(0),
            told: Arc::default(),
        }))
    }
}

impl Drain {
    /// How far it is.
    pub(crate) fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Noticed,
            _ => Phase::Closing,
        }
    }

    /// Goes on to `phase`; never back.
    pub(crate) fn enter(&self, phase: Phase) {
        self.0.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.0.told.notify_waiters();
    }

    /// Whether anybody accepts connections: then there may be one more than is counted.
    pub(crate) fn is_accepting(&self) -> bool {
        self.0.accepting.load(Ordering::Acquire) > 0
    }

    /// Says that somebody accepts, until what comes back is dropped.
    pub(super) fn accepting(&self) -> Accepting {
        self.0.accepting.fetch_add(1, Ordering::AcqRel);
        Accepting(self.clone())
    }

    /// Waits until `phase` has come.
    pub(crate) async fn reached(&self, phase: Phase) {
        loop {
            let told = Arc::clone(&self.0.told).notified_owned();
            if self.phase() >= phase {
                return;
            }
            told.await;
        }
    }

    /// Hears each phase from within a future that waits for more.
    pub(super) fn ear(&self) -> Ear {
        let told = Box::pin(Arc::clone(&self.0.told).notified_owned());
        Ear { drain: self.clone(), told, is_woken: false, heard: Phase::Open }
    }
}

/// Somebody accepts.
pub(super) struct Accepting(Drain);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.0.accepting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Wakes its task with each phase. Asked again and again it costs one read.
#[derive(Debug)]
pub(super) struct Ear {
    drain: Drain,
    told: Pin<Box<OwnedNotified>>,
    /// Whether the next phase will wake the task.
    is_woken: bool,
    heard: Phase,
}

impl Ear {
    /// How far it is now; the task is woken when that changes.
    pub(super) fn hear(&mut self, context: &mut Context<'_>) -> Phase {
        while !self.is_woken || self.heard != self.drain.phase() {
            self.told.set(Arc::clone(&self.drain.0.told).notified_owned());
            self.is_woken = self.told.as_mut().poll(context).is_pending();
            // Read after it was asked to be woken: what changes in between is either read here, or wakes.
            self.heard = self.drain.phase();
        }
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn every_phase_is_heard_also_one_that_came_before_anybody_listened() {
        let drain = Drain::default();
        let mut ear = drain.ear();
        let heard = tokio::spawn(async move {
            let mut phases = Vec::new();
            let mut seen = Phase::Open;
            while seen < Phase::Closing {
                seen = poll_fn(|context| {
                    let phase = ear.hear(context);
                    if phase == seen { Poll::Pending } else { Poll::Ready(phase) }
                })
                .await;
                phases.push(seen);
            }
            phases
        });
        tokio::task::yield_now().await;
        drain.enter(Phase::Noticed);
        tokio::task::yield_now().await;
        drain.enter(Phase::Closing);
        assert_eq!(heard.await.unwrap(), [Phase::Noticed, Phase::Closing]);
        drain.enter(Phase::Noticed);
        assert_eq!(drain.phase(), Phase::Closing, "never back");
        drain.reached(Phase::Closing).await;
    }
}

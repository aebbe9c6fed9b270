//! The time that a client has for the head of a call, as hyper takes it: a timer for each head of a connection, which it throws
//! away when that is there. All of a connection's are one alarm here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::clock::instant;

/// What hyper has its timers of.
#[derive(Debug, Default)]
pub(super) struct Heads(Arc<Mutex<Alarm>>);

impl Timer for Heads {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Head { alarm: Arc::clone(&self.0), deadline: deadline.into() })
    }

    fn now(&self) -> std::time::Instant {
        instant().into()
    }
}

/// Until when one head may take. hyper waits for one at a time.
struct Head {
    alarm: Arc<Mutex<Alarm>>,
    deadline: Instant,
}

impl Future for Head {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.alarm.lock().poll(context, self.deadline)
    }
}

impl Sleep for Head {}

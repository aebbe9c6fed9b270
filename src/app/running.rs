//! A gateway at work: read its configuration again, let its calls end, stop it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::process::{Current, Process};
use crate::access::Revoked;
use crate::admin::Reloads;
use crate::config::Settings;
use crate::id::RequestId;
use crate::listen::{self, Drain, Phase};
use crate::telemetry::audit::{Action, Event, Trace, Who};
use crate::token::LEEWAY;
use crate::upstream::collector::Carrying;

/// How long clients have to hear why their streams end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often is looked whether all have ended.
const LOOK: Duration = Duration::from_millis(20);

/// How it ends without ending its calls.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) drain: Drain,
    pub(super) revoked: Arc<Revoked>,
    pub(super) notice: Duration,
    pub(super) limit: Duration,
}

/// A gateway at work. [`Running::stop`] ends it; what is dropped ends, too, but nobody waits for it.
#[derive(Debug)]
pub struct Running {
    pub(super) process: Process,
    pub(super) current: Current,
    pub(super) fixed: Vec<(&'static str, String)>,
    pub(super) reloads: Reloads,
    pub(super) tls: Option<listen::Tls>,
    /// A certificate that was refused.
    pub(super) waiting: Mutex<Option<listen::Tls>>,
    pub(super) balancers: Option<listen::Balancers>,
    pub(super) ending: Ending,
    pub(super) bounds: listen::Bounds,
    pub(super) stop: CancellationToken,
    pub(super) _dropped: DropGuard,
    pub(super) workers: Mutex<Vec<JoinHandle<()>>>,
    pub(super) writer: Mutex<Option<JoinHandle<()>>>,
    pub(super) carrying: Mutex<Option<Carrying>>,
}

impl Running {
    /// Lets calls end, for whoever stops it then: balancers are told first and, where `is_noticed`, given the time to hear
    /// it; then nothing new is accepted, connections without a call are closed, and the rest is waited for. What is open
    /// after the configured time ends as at its token's end. At once, when `hurried`.
    pub async fn drain(&self, is_noticed: bool, hurried: impl Future<Output = ()>) {
        let Ending { drain, revoked, notice, limit } = &self.ending;
        let draining = async {
            drain.enter(Phase::Noticed);
            if is_noticed {
                tracing::info!(notice = ?notice, "going away: not ready any more");
                sleep(*notice).await;
            }
            drain.enter(Phase::Closing);
            tracing::info!(connections = self.bounds.open(), limit = ?limit, "going away: calls end");
            if timeout(*limit, self.all_ended()).await.is_err() {
                tracing::info!(connections = self.bounds.open(), "going away: what is open is ended");
                revoked.stop();
                // An error means that some do not listen. They are cut.
                let _all_heard = timeout(LEEWAY + LAST_WORDS, self.all_ended()).await;
            }
        };
        tokio::select! {
            () = draining => {}
            () = hurried => tracing::info!("asked again: stopping at once"),
        }
    }

    /// From now on requests meet `settings`; what is open goes on with what it began with, unless its bot or its client is
    /// not there any more. `who` asked for it. Answers what of it takes a new process, and stays as it was.
    pub async fn reload(&self, settings: Settings, who: &str) -> Vec<&'static str> {
        let fixed = settings.fixed();
        let kept = self.fixed.iter().zip(&fixed).filter(|(was, is)| was != is).map(|(was, _)| was.0).collect();
        self.reloads.note(true);
        if let (Some(own), Some(new)) = (&self.tls, &settings.listen.tls) {
            // What else has changed may be what somebody waits for: that a client is shut out.
            let taken = own.become_like(new, self.process.clock.now());
            *self.waiting.lock() = taken.is_err().then(|| new.clone());
            if let Err(fault) = taken {
                self.reloads.note(false);
                tracing::error!("the new certificate at server.tls.cert {fault}; the one before stays in force");
            }
        }
        if let Some(balancers) = &self.balancers {
            balancers.store(Arc::new(settings.listen.trusted.clone()));
        }
        let Current { gateway: current, api, directory } = &self.current;
        let (trusted, before) = (settings.listen.trusted, directory.load());
        let gateway = Arc::new(self.process.gateway(settings.bots, &settings.gateway, trusted, Some(&before)));
        directory.store(Arc::clone(&gateway.access.directory));
        api.store(Arc::clone(&gateway.api));
        // First: what is offered no more is not begun any more either.
        self.process.revoked.offer(gateway.access.directory.offered());
        current.store(gateway);
        let trace = Trace { from: None, request: RequestId::next() };
        let event = Event::new(Action::Reload, Who::Operator(who.to_owned()), trace);
        if let Err(error) = self.process.audit.write(event).await {
            tracing::error!(%error, "that the configuration was read again is not on record");
        }
        kept
    }

    /// Takes a certificate that was refused, once clients would not refuse it any more.
    pub fn look_at_certificate(&self) {
        let (mut waiting, now) = (self.waiting.lock(), self.process.clock.now());
        if let (Some(own), Some(new)) = (&self.tls, &*waiting)
            && new.is_good(now)
            && own.become_like(new, now).is_ok()
        {
            *waiting = None;
            self.reloads.note(true);
            tracing::info!("the new certificate at server.tls.cert is in force");
        }
    }

    /// Notes that the configuration could not be read again: operators are told until it can.
    pub fn refuse_reload(&self) {
        *self.waiting.lock() = None;
        self.reloads.note(false);
    }

    /// Waits until no connection is open, and nothing is done whose caller has left.
    async fn all_ended(&self) {
        let Ending { drain, .. } = &self.ending;
        while drain.is_accepting() || self.bounds.open() > 0 || !self.process.tasks.is_empty() {
            sleep(LOOK).await;
        }
    }

    /// Stops the workers and writes out the last records. Open calls are cut.
    pub fn stop(&self) {
        self.stop.cancel();
        for worker in self.workers.lock().drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
        if let Some(writer) = self.writer.lock().take() {
            self.process.records.stop(&writer);
        }
        // After the workers: a call that was cut has a span, too.
        if let Some(carrying) = self.carrying.lock().take() {
            carrying.stop();
        }
    }
}

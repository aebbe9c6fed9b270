//! The thread that carries spans to the collector.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Collector, Settings};
use crate::telemetry::traces::{Outlet, Traces};

/// What the last spans may take when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// What begins spans, and what carries them away if somebody wants them.
pub(crate) fn open(settings: &mut Settings) -> (Traces, Option<Carrier>) {
    let Some(collector) = settings.collector.take() else { return (Traces::off(), None) };
    let (traces, outlet) = Traces::new(&settings.traces);
    (traces, Some(Carrier { collector, outlet }))
}

/// Carries spans to the collector.
#[derive(Debug)]
pub(crate) struct Carrier {
    collector: Collector,
    outlet: Outlet,
}

impl Carrier {
    /// Starts its thread. [`Carrying::stop`] ends it.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn start(self) -> io::Result<Carrying> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            runtime.block_on(async {
                let late = async {
                    stopped.cancelled().await;
                    tokio::time::sleep(FAREWELL).await;
                };
                tokio::select! {
                    () = self.carry(&stopped) => {}
                    () = late => {}
                }
            });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(work)?;
        Ok(Carrying { stop: stop.drop_guard(), thread })
    }

    async fn carry(mut self, stopped: &CancellationToken) {
        let mut kept = None;
        while let Some(batch) = self.outlet.batch(stopped).await {
            match self.collector.send(batch.message, &mut kept).await {
                Ok(()) => self.outlet.arrived(),
                Err(error) => self.outlet.lost(batch.count, &error),
            }
        }
    }
}

/// A carrier at work.
#[derive(Debug)]
pub(crate) struct Carrying {
    /// What is dropped ends, too.
    stop: DropGuard,
    thread: JoinHandle<()>,
}

impl Carrying {
    /// Ends it, after the spans that there are. What takes longer is lost.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that carries traces had panicked");
        }
    }
}

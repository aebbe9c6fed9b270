//! The signals that end the program, or have it read its configuration again.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Outcome, complain_of};

/// What hears them, from its making on: none that comes later kills the process.
pub(super) struct Ears {
    runtime: Runtime,
    signals: Signals,
}

impl Ears {
    /// Complains where the system gives none.
    pub(super) fn open() -> Result<Self, Outcome> {
        let opened = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
            let signals = runtime.block_on(async { Signals::new() })?;
            Ok(Self { runtime, signals })
        });
        opened.map_err(|error| {
            complain_of(&error);
            Outcome::Failed
        })
    }

    /// Does what signals ask for.
    pub(super) fn until(self, asked: impl AsyncFnOnce(Signals)) {
        self.runtime.block_on(asked(self.signals));
    }
}

/// The signals.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM: to go away.
    Terminate,
    /// SIGINT: to go away, of which no balancer knows.
    Interrupt,
    /// SIGHUP: to read the configuration again.
    HangUp,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let [terminate, interrupt, hang_up] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hang_up: hang_up? })
    }

    /// Waits for the next.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _signal = self.terminate.recv() => Asked::Terminate,
            _signal = self.interrupt.recv() => Asked::Interrupt,
            _signal = self.hang_up.recv() => Asked::HangUp,
        }
    }

    /// Waits for the next that ends the program.
    pub(super) async fn end(&mut self) {
        while self.next().await == Asked::HangUp {}
    }
}

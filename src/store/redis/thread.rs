//! The thread on which the connections live.
//!
//! A connection of the crate is driven by a task of the runtime that made it, and a gateway has a runtime for each
//! worker: on one of them it would wait for that worker's calls, and end with it.

use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::store::StoreError;

/// A thread with a runtime. It ends when this is dropped.
pub(super) struct Thread {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl Thread {
    /// Starts it.
    pub(super) fn start() -> Result<Self, StoreError> {
        let not_started = |error| StoreError::unusable(format_args!("its thread does not start: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(not_started)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("store-redis".to_owned());
        // It never answers: that the other half is dropped is the sign.
        thread.spawn(move || runtime.block_on(ended).err()).map_err(not_started)?;
        Ok(Self { runtime: handle, _end: end })
    }

    /// Runs `work` there; a dropped handle does not end it.
    pub(super) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime.spawn(work)
    }
}

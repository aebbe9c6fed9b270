//! `keystile serve`

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::sleep;

use super::signals::{Asked, Ears};
use super::watched::Watched;
use super::{ConfigFile, Outcome, complain_of, complain_of_config, started_log};
use crate::app::{Bound, Running, World};
use crate::clock::Clock;
use crate::config;
use crate::id::Entropy;
use crate::listen;
use crate::telemetry::Output;

/// The files of the configuration are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub(super) fn run(file: &ConfigFile) -> Outcome {
    let _log = match started_log() {
        Ok(log) => log,
        Err(outcome) => return outcome,
    };
    // Before any key is read.
    prepare_process();
    let settings = match config::load(&file.config) {
        Ok(settings) => settings,
        Err(error) => return complain_of_config(&error),
    };
    settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let (public_url, inputs) = (settings.gateway.public_url.clone(), settings.inputs.clone());
    let (workers, has_tls) = (settings.listen.workers, settings.listen.tls.is_some());
    let socket = match listen::handed_over() {
        Ok(socket) => socket.map(Arc::new),
        Err(error) => {
            complain_of(&error);
            return Outcome::Failed;
        }
    };
    let world = World { clock: Clock::system(), entropy: Entropy::system(), records: Output::Stderr, socket };
    let bound = match Bound::new(settings, world, None) {
        Ok(bound) => bound,
        Err(error) => {
            complain_of(&error);
            return Outcome::Failed;
        }
    };
    let (address, admin) = (bound.address(), bound.admin_place());
    // Before anybody is told that there is somebody to send them to.
    let ears = match Ears::open() {
        Ok(ears) => ears,
        Err(outcome) => return outcome,
    };
    match bound.start() {
        Ok(running) => {
            let admin = admin.map_or_else(|| "off".to_owned(), |admin| admin.to_string());
            tracing::info!(%address, admin, public_url, workers, tls = has_tls, "listening");
            until_asked_to_stop(&running, ears, Watched::new(&file.config, inputs));
            Outcome::Done
        }
        Err(error) => {
            complain_of(&error);
            Outcome::Failed
        }
    }
}

/// No core file, which would hold every key; and as many descriptors as the system grants: every stream needs two.
///
/// A limit of 0 stops core files, but not a `core_pattern` that pipes them to a program; a process that is not dumpable
/// gives none to either. Its memory and its environment, where keys may come from, are then closed to other processes of
/// the same user as well: in `/proc` they belong to root, and only root can attach a debugger. What the process itself
/// and a monitor read there (`status`, `stat`, `cgroup`) stays readable.
fn prepare_process() {
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process could not be closed to others of its user");
    }
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core files could not be forbidden; they would hold keys");
    }
    let most = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }) {
        tracing::warn!(%error, "the limit of open connections could not be raised");
    }
}

/// Waits for SIGTERM or SIGINT, and lets calls end; at once, when asked again. Only SIGTERM comes from what also tells
/// balancers. Until then the configuration is read again on SIGHUP, and when a file of it has changed.
fn until_asked_to_stop(running: &Running, ears: Ears, mut watched: Watched) {
    ears.until(async |mut signals| {
        let is_terminated = loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::HangUp => watched.reload(running, "SIGHUP").await,
                    asked => break asked == Asked::Terminate,
                },
                () = sleep(LOOK_EVERY) => {
                    running.look_at_certificate();
                    if watched.sees_change() {
                        watched.reload(running, "a changed file").await;
                    }
                },
            }
        };
        running.drain(is_terminated, signals.end()).await;
    });
    running.stop();
}

//! The files of a configuration, and what is done when they change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::app::Running;
use crate::config::{self, ConfigError};

/// What changes whenever a file does; nothing where it is not there.
type Version = Option<(u64, u64, i64, i64)>;

/// The files of the configuration that is in force.
#[derive(Debug)]
pub(super) struct Watched {
    file: PathBuf,
    inputs: Vec<PathBuf>,
    /// What was last read, good or not.
    read: Vec<Version>,
    /// What was seen when it was looked at last.
    seen: Vec<Version>,
}

impl Watched {
    /// Of `file`, which names `inputs`.
    pub(super) fn new(file: &Path, inputs: Vec<PathBuf>) -> Self {
        let mut watched = Self { file: file.to_owned(), inputs, read: Vec::new(), seen: Vec::new() };
        watched.read = watched.versions();
        watched.seen.clone_from(&watched.read);
        watched
    }

    /// Whether there is something new, and nobody is writing it any more: it was the same at the last look.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = self.versions();
        let is_settled = now == self.seen;
        self.seen = now;
        is_settled && self.seen != self.read
    }

    /// Reads the configuration again. One that is wrong is told in the log, and the one before stays in force.
    pub(super) async fn reload(&mut self, running: &Running, who: &str) {
        self.read = self.versions();
        self.seen.clone_from(&self.read);
        match config::load(&self.file) {
            Ok(settings) => {
                self.inputs.clone_from(&settings.inputs);
                let doubts = settings.doubts.clone();
                let kept = running.reload(settings, who).await;
                tracing::info!(by = who, "the configuration was read again and is in force");
                doubts.iter().for_each(|doubt| tracing::warn!(%doubt, "hardly meant"));
                for section in kept {
                    tracing::warn!(section, "this has changed, and takes a new process: it stays as it was");
                }
                self.read = self.versions();
                self.seen.clone_from(&self.read);
            }
            Err(error) => tell(who, &error),
        }
    }

    fn versions(&self) -> Vec<Version> {
        let version = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
        };
        std::iter::once(&self.file).chain(&self.inputs).map(version).collect()
    }
}

fn tell(who: &str, error: &ConfigError) {
    tracing::error!(by = who, "the configuration cannot be read again; the one before stays in force");
    for line in error.to_string().lines() {
        tracing::error!(problem = line, "in the configuration");
    }
}

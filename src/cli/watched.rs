//! The files of a configuration, and what is done when they change.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::app::Running;
use crate::config::{self, ConfigError};

/// What changes whenever a file does; nothing where it is not there.
type Version = Option<(u64, u64, i64, i64)>;
/// Of each file.
type Versions = BTreeMap<PathBuf, Version>;

/// The files of the configuration that is in force.
#[derive(Debug)]
pub(super) struct Watched {
    file: PathBuf,
    inputs: Vec<PathBuf>,
    /// What was last read, good or not.
    read: Versions,
    /// What was seen when it was looked at last.
    seen: Versions,
}

impl Watched {
    /// Of `file`, which names `inputs`.
    pub(super) fn new(file: &Path, inputs: Vec<PathBuf>) -> Self {
        let mut watched = Self { file: file.to_owned(), inputs, read: Versions::new(), seen: Versions::new() };
        watched.note_read(watched.versions());
        watched
    }

    /// Whether there is something new, and nobody is writing it any more: it was the same at the last look.
    pub(super) fn sees_change(&mut self) -> bool {
        let now = self.versions();
        let is_settled = now == self.seen;
        self.seen = now;
        is_settled && self.seen != self.read
    }

    /// Reads the configuration again. One that is wrong is told in the log, and the one before stays in force.
    pub(super) async fn reload(&mut self, running: &Running, who: &str) {
        let before = self.versions();
        let (loaded, mut inputs) = config::load_and_name(&self.file);
        if loaded.is_err() {
            // What is wrong may be mended in either's.
            inputs.append(&mut self.inputs);
        }
        self.inputs = inputs;
        self.note_read(before);
        match loaded {
            Ok(settings) => {
                let warnings = settings.warnings.clone();
                let kept = running.reload(settings, who).await;
                tracing::info!(by = who, "the configuration was read again and is in force");
                warnings.iter().for_each(|warning| tracing::warn!(%warning, "probably not meant"));
                for section in kept {
                    tracing::warn!(section, "this has changed, and takes a new process: it stays as it was");
                }
            }
            Err(error) => {
                running.refuse_reload();
                tell(who, &error);
            }
        }
    }

    /// The files were read when they were `before`, or later: what changed since will be seen. Of files that are named
    /// only now, it is what there is now.
    fn note_read(&mut self, mut before: Versions) {
        self.read = self.versions();
        for (path, read) in &mut self.read {
            if let Some(version) = before.remove(path) {
                *read = version;
            }
        }
        self.seen.clone_from(&self.read);
    }

    fn versions(&self) -> Versions {
        let version = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
        };
        std::iter::once(&self.file).chain(&self.inputs).map(|path| (path.clone(), version(path))).collect()
    }
}

fn tell(who: &str, error: &ConfigError) {
    tracing::error!(by = who, "the configuration cannot be read again; the one before stays in force");
    for line in error.to_string().lines() {
        tracing::error!(problem = line, "in the configuration");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_while_it_is_read_is_seen_and_read_again() {
        let home = tempfile::tempdir().unwrap();
        let [file, named] = ["keystile.toml", "key"].map(|name| home.path().join(name));
        std::fs::write(&file, "first").unwrap();
        let mut watched = Watched::new(&file, Vec::new());
        assert!(!watched.sees_change());

        let before = watched.versions();
        std::fs::write(&file, "second, written meanwhile").unwrap();
        std::fs::write(&named, "named by it").unwrap();
        watched.inputs.push(named.clone());
        watched.note_read(before);
        assert!(!watched.sees_change(), "it may still be written");
        assert!(watched.sees_change(), "nobody has read the second");

        watched.note_read(watched.versions());
        assert!(!watched.sees_change() && !watched.sees_change());
        std::fs::remove_file(&named).unwrap();
        assert!(!watched.sees_change() && watched.sees_change(), "one that is gone has changed");
    }
}

//! What a document refers to outside itself: variables and files.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::{Clock, Timestamp};

/// The environment in which a document is read. An input, so that tests need no process of their own.
#[derive(Clone)]
pub struct Environment {
    folder: PathBuf,
    variables: Variables,
    clock: Clock,
    /// The files that were named as part of the document, of all clones.
    inputs: Arc<Mutex<Vec<PathBuf>>>,
}

#[derive(Clone)]
enum Variables {
    Process,
    Given(HashMap<String, String>),
}

impl Environment {
    /// The process's variables; relative paths start from `folder`.
    pub fn process(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), variables: Variables::Process, clock: Clock::system(), inputs: Arc::default() }
    }

    /// Only these variables; relative paths start from `folder`.
    pub fn given<'v>(folder: impl Into<PathBuf>, variables: impl IntoIterator<Item = (&'v str, &'v str)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let variables = Variables::Given(variables);
        Self { folder: folder.into(), variables, clock: Clock::system(), inputs: Arc::default() }
    }

    /// The same, in which it is the time of this clock.
    #[must_use]
    pub fn at(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// When the document is read.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The value of a variable, if it is set.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn variable(&self, name: &str) -> Option<String> {
        match &self.variables {
            Variables::Process => std::env::var(name).ok(),
            Variables::Given(variables) => variables.get(name).cloned(),
        }
    }

    /// The folder that relative paths start from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file that `path` means, where what is in it belongs to the document: when it changes, so does that.
    pub fn input(&self, path: &str) -> PathBuf {
        let path = self.path(path);
        self.inputs.lock().push(path.clone());
        path
    }

    /// All that were asked for so.
    pub fn inputs(&self) -> Vec<PathBuf> {
        self.inputs.lock().clone()
    }

    /// The file that `path` means.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.join(Path::new(path))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Variables hold secrets.
        write!(formatter, "Environment({})", self.folder.display())
    }
}

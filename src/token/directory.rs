//! The key directory: one file, `keys.json`, for its owner alone.
//!
//! Several replicas may start on one directory at once, so the file appears whole or not at all: it is written beside
//! its place, synced and then linked or renamed into it, under a lock that every writer of it takes. A file that is
//! there is never replaced by new keys, however broken it is.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::refusal::KeysError;
use crate::id::{Entropy, hex};
use crate::secret::Secret;

/// What a key is for. A key has one use: a signing key never seals, a sealing key never names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Purpose {
    /// Signs tokens.
    Sig,
    /// Seals bindings.
    Seal,
    /// Derives subjects and fingerprints; does not rotate.
    Subject,
}

/// One key as the file has it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) kid: String,
    #[serde(rename = "use")]
    pub(super) purpose: Purpose,
    pub(super) alg: String,
    /// Seconds since the epoch.
    pub(super) created: u64,
    /// From when it signs or seals, if that is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<u64>,
    /// base64url.
    #[serde(serialize_with = "write_secret", deserialize_with = "read_secret")]
    pub(super) private: Secret,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    keys: Vec<Record>,
}

fn write_secret<S: serde::Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn read_secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    Ok(Secret::new(String::deserialize(deserializer)?))
}

/// What changes whenever the key file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    file: u64,
    length: u64,
    modified: (i64, i64),
}

/// A key directory.
pub(super) struct Directory {
    path: PathBuf,
    file: PathBuf,
}

impl Directory {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), file: path.join("keys.json") }
    }

    /// The version of the key file; nothing if there is none, or it cannot be looked at.
    pub(super) fn version(&self) -> Option<Version> {
        let metadata = std::fs::metadata(&self.file).ok()?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Some(Version { file: metadata.ino(), length: metadata.len(), modified })
    }

    /// That others may read or write the key file, as far as can be told without reading it; nothing if there is none.
    pub(super) fn exposed(&self) -> Option<KeysError> {
        let metadata = std::fs::metadata(&self.file).ok().filter(Metadata::is_file)?;
        self.exposed_as(&metadata)
    }

    fn exposed_as(&self, metadata: &Metadata) -> Option<KeysError> {
        let mode = metadata.mode() & 0o777;
        (mode & 0o077 != 0).then(|| KeysError::Exposed { path: self.file.clone(), mode })
    }

    /// The keys in it; nothing if there is no key file.
    pub(super) fn read(&self) -> Result<Option<Vec<Record>>, KeysError> {
        let mut file = match File::open(&self.file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|source| self.failed("open", source))?,
        };
        let metadata = file.metadata().map_err(|source| self.failed("examine", source))?;
        if metadata.is_dir() {
            return Err(self.broken("it is a directory"));
        }
        // Of the open file, not of its name, which could mean another file by now.
        if let Some(exposed) = self.exposed_as(&metadata) {
            return Err(exposed);
        }
        // Room for all of it at once: a string that grows leaves copies of its secrets behind.
        let room = usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1);
        let mut text = Zeroizing::new(String::with_capacity(room));
        file.read_to_string(&mut text).map_err(|source| self.failed("read", source))?;
        // serde's own message could quote what stands in the file; line and column do not.
        let contents: Contents = serde_json::from_str(&text).map_err(|error| {
            self.broken(format!("line {} column {} is not as written", error.line(), error.column()))
        })?;
        Ok(Some(contents.keys))
    }

    /// Lets `change` decide under the lock what the file shall hold.
    /// What comes back is in the file, by whomever it was written.
    pub(super) fn update(
        &self,
        entropy: &Entropy,
        change: impl FnOnce(Option<Vec<Record>>) -> Result<Vec<Record>, KeysError>,
    ) -> Result<Vec<Record>, KeysError> {
        self.create()?;
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(self.path.join("keys.lock"));
        let lock = lock.map_err(|source| self.failed("open the lock beside", source))?;
        lock.lock().map_err(|source| self.failed("lock", source))?;
        let present = self.read()?;
        let replace = present.is_some();
        let contents = Contents { keys: change(present)? };
        if self.publish(&contents, replace, entropy)? {
            return Ok(contents.keys);
        }
        // Somebody was first in spite of the lock, as on a file system where locks end at the machine. Theirs holds.
        self.read()?.ok_or_else(|| self.failed("find", ErrorKind::NotFound.into()))
    }

    fn create(&self) -> Result<(), KeysError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        made.map_err(|source| KeysError::Io { action: "create", path: self.path.clone(), source })
    }

    /// Puts the contents in place; false if there was a file already and it is not to be replaced.
    fn publish(&self, contents: &Contents, replace: bool, entropy: &Entropy) -> Result<bool, KeysError> {
        let beside = self.path.join(format!("keys.{}.new", hex(&entropy.bytes::<8>())));
        let published = self.write(&beside, contents).and_then(|()| self.place(&beside, replace));
        // Gone already where it was renamed; a second link, or what is left of a failure, where not.
        let removed = std::fs::remove_file(&beside);
        let published = published?;
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(self.failed("clean up beside", error)),
            _ => {}
        }
        // The new name is durable only with its directory.
        let synced = File::open(&self.path).and_then(|directory| directory.sync_all());
        synced.map_err(|source| self.failed("sync", source))?;
        Ok(published)
    }

    fn write(&self, path: &Path, contents: &Contents) -> Result<(), KeysError> {
        let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
        serde_json::to_writer_pretty(&mut *text, contents).map_err(|error| self.failed("encode", error.into()))?;
        text.push(b'\n');
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
        written.map_err(|source| self.failed("write", source))
    }

    fn place(&self, beside: &Path, replace: bool) -> Result<bool, KeysError> {
        // A link fails where the name is taken; a rename would replace the winner's keys.
        let placed = if replace { std::fs::rename(beside, &self.file) } else { std::fs::hard_link(beside, &self.file) };
        match placed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(self.failed("put in place", source)),
        }
    }

    /// The file is there and cannot be used.
    pub(super) fn broken(&self, reason: impl Into<String>) -> KeysError {
        KeysError::Broken { path: self.file.clone(), reason: reason.into() }
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> KeysError {
        KeysError::Io { action, path: self.file.clone(), source }
    }
}

//! The key directory is followed: what is rotated there holds in all processes that share it, without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use super::directory::{Directory, Version};
use super::keys::Use;
use super::{Authority, LEEWAY, LONGEST_TTL, Settings};
use crate::clock::Timestamp;

/// The directory is looked at so often. New keys must be published for longer than that before they sign.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The shortest time for which new keys are published before they sign: every process has seen them by then.
pub const SHORTEST_NOTICE: Duration = Duration::from_secs(10);

/// A key directory, and what was seen of it.
pub(super) struct Followed {
    path: PathBuf,
    usage: Use,
    seen: Mutex<Seen>,
}

/// The version that was found; nothing where there is no file.
type Look = Option<Version>;

#[derive(Debug, Default)]
struct Seen {
    /// The version that is in force, once it was looked at.
    present: Option<Look>,
    /// The version that could not be read: it is complained of once.
    broken: Option<Look>,
    /// When a token of an unknown key made us look.
    looked: Timestamp,
}

impl Followed {
    pub(super) fn new(settings: &Settings) -> Self {
        let usage = Use { algorithm: settings.algorithm, outlives: LONGEST_TTL + settings.renew_grace + LEEWAY };
        // Not the version of now: whatever is written before the keys are read is looked at once more.
        Self { path: settings.keys.clone(), usage, seen: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn usage(&self) -> Use {
        self.usage
    }
}

impl Authority {
    /// Follows the directory until `stopped`.
    pub async fn follow(&self, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _asked = stopped.wait_for(|stop| *stop) => return,
                () = sleep(LOOK_EVERY) => self.look_again(),
            }
        }
    }

    /// Looks at the directory for a key that is not known, but not more than once a second: anybody can name one.
    pub(super) fn looks_again_now(&self) -> bool {
        let now = self.clock.now();
        {
            let mut seen = self.directory.seen.lock();
            if now < seen.looked.plus(Duration::from_secs(1)) {
                return false;
            }
            seen.looked = now;
        }
        self.look_again();
        true
    }

    /// Takes in what has changed. What cannot be read is complained of, and what was there before stays in force.
    fn look_again(&self) {
        let version = Directory::at(&self.directory.path).version();
        let mut seen = self.directory.seen.lock();
        if seen.present.as_ref() == Some(&version) {
            return;
        }
        let present = self.keys.load_full();
        match present.read_again(&self.directory.path, self.directory.usage) {
            Ok(keys) => {
                let have_changed = !keys.are_those_of(&present);
                self.keys.store(Arc::new(keys));
                if have_changed {
                    // Tokens of a key that is gone are good no more, however lately they were.
                    self.cache.clear();
                    tracing::info!(signer = self.keys.load().signer(self.clock.now()).kid(), "the keys have changed");
                }
                (seen.present, seen.broken) = (Some(version), None);
            }
            Err(error) if seen.broken.as_ref() != Some(&version) => {
                tracing::error!(%error, "the key directory has changed and cannot be used; the keys of before stay in force");
                seen.broken = Some(version);
            }
            Err(_told) => {}
        }
    }
}

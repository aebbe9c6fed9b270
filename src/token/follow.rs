//! The key directory is followed: what is rotated there holds in all processes that share it, without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::directory::{Directory, Version};
use super::keys::Use;
use super::{Authority, LEEWAY, LONGEST_TTL, Settings};

/// The directory is looked at so often. New keys must be published for longer than that before they sign.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Who names a key that is not known has it looked at before its time, but not more often than this.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// How long such a look is waited for: a worker does nothing else meanwhile.
const MOMENT: Duration = Duration::from_millis(50);

/// The shortest time for which new keys are published before they sign: every process has seen them by then.
pub const SHORTEST_NOTICE: Duration = Duration::from_secs(10);

/// A key directory, and what was seen of it.
pub(super) struct Followed {
    path: PathBuf,
    usage: Use,
    seen: Mutex<Seen>,
    /// Asks whoever follows it for a look before its time.
    early: Notify,
    looks: Mutex<Looks>,
    /// Tells of each look.
    looked: Condvar,
}

#[derive(Debug, Default)]
struct Looks {
    /// How many there were.
    done: u64,
    /// When a token of an unknown key asked for one.
    asked: Option<Instant>,
}

/// The version that was found; nothing where there is no file.
type Look = Option<Version>;

#[derive(Debug, Default)]
struct Seen {
    /// The version that is in force, once it was looked at.
    present: Option<Look>,
    /// The version that could not be read: it is complained of once.
    broken: Option<Look>,
}

impl Followed {
    pub(super) fn new(settings: &Settings) -> Self {
        let usage = Use { algorithm: settings.algorithm, outlives: LONGEST_TTL + settings.renew_grace + LEEWAY };
        // Not the version of now: whatever is written before the keys are read is looked at once more.
        Self {
            path: settings.keys.clone(),
            usage,
            seen: Mutex::default(),
            early: Notify::new(),
            looks: Mutex::default(),
            looked: Condvar::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn usage(&self) -> Use {
        self.usage
    }
}

impl Authority {
    /// Follows the directory until `stopped`. It may be on a disk that hangs, or on another host: only a thread that is there
    /// for it waits for that.
    pub async fn follow(self: Arc<Self>, stopped: &CancellationToken) {
        let follow = async {
            loop {
                let _asked_or_not = timeout(LOOK_EVERY, self.directory.early.notified()).await;
                let authority = Arc::clone(&self);
                // A panic has told of itself.
                let _looked = spawn_blocking(move || authority.look_again()).await;
                self.directory.looks.lock().done += 1;
                self.directory.looked.notify_all();
            }
        };
        tokio::select! {
            () = stopped.cancelled() => {}
            () = follow => {}
        }
    }

    /// Has the directory looked at for a key that is not known, and waits a moment for that; not more than once a second, as
    /// anybody can name one. Answers whether it was looked at.
    pub(super) fn was_looked_for(&self) -> bool {
        let Followed { looks, looked, early, .. } = &self.directory;
        let (mut looks, now) = (looks.lock(), Instant::now());
        if looks.asked.is_some_and(|asked| now < asked + LEAST_PAUSE) {
            return false;
        }
        looks.asked = Some(now);
        let before = looks.done;
        early.notify_one();
        !looked.wait_while_until(&mut looks, |looks| looks.done == before, now + MOMENT).timed_out()
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

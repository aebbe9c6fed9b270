//! Limits of calls that replicas have together.
//!
//! Each call is decided at once by what its own replica knows ([`crate::limit`]): the store is never on its path. A few
//! times a second each replica hands over what it took since, all keys in one round trip, and learns what all took
//! together. Between two hand-overs replicas do not know of each other: what they admit too much then is a debt, which is
//! waited for before the next call, so that in the long run no more passes than the rate.
//!
//! While the store is away each replica has its limits for itself. What it took then is not handed over later: by that
//! time it says nothing any more, and nothing piles up.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use crate::bot::Directory;
use crate::clock::Clock;
use crate::document::Rate;
use crate::id::hex;
use crate::limit::{Bucket, Key, Limiter};
use crate::store::{Part, StoreError};

/// Between two hand-overs. Shorter, replicas would admit less too much; longer, the store would have less to do.
const EVERY: Duration = Duration::from_millis(100);

/// Tells other replicas what was taken here, and learns what they took.
#[derive(Debug)]
pub struct Sharing {
    /// The way to them.
    pub ledger: Arc<Ledger>,
    /// What counts.
    pub limiter: Arc<Limiter>,
    /// The bots and vendors' keys whose calls are counted.
    pub directory: Arc<ArcSwap<Directory>>,
    /// The time.
    pub clock: Clock,
}

/// What is handed over, and where what comes back belongs.
struct Handed<'d> {
    rate: Rate,
    to: To<'d>,
}

enum To<'d> {
    Key(Key),
    Bucket(&'d Bucket),
}

impl Sharing {
    /// Hands over until `stopped`; returns at once where the store has nobody to share with.
    pub async fn run(&self, stopped: &CancellationToken) {
        let mut turns = interval(EVERY);
        // After a store that was slow, not all at once.
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopped.cancelled() => return,
                _turn = turns.tick() => {}
            }
            if self.hand_over().await == Err(StoreError::Unsupported) {
                return;
            }
        }
    }

    async fn hand_over(&self) -> Result<(), StoreError> {
        let directory = self.directory.load_full();
        let (handed, parts) = self.due(&directory);
        let was_alone = self.limiter.is_alone();
        // Where there is nothing to say, it is only asked whether the store has come back.
        if parts.is_empty() && !was_alone {
            return Ok(());
        }
        let taken: u64 = parts.iter().map(|part| u64::from(part.taken)).sum();
        let told = self.ledger.share(parts).await;
        if told == Err(StoreError::Unsupported) {
            return Err(StoreError::Unsupported);
        }
        self.limiter.told(told.is_ok(), if told.is_ok() { 0 } else { taken });
        match &told {
            Err(error) if !was_alone => tracing::warn!(%error, "limits are this replica's own until the store is back"),
            Ok(_) if was_alone => tracing::info!("limits are shared with other replicas again"),
            Ok(_) | Err(_) => {}
        }
        let now = self.clock.now();
        for (handed, full_in) in handed.iter().zip(told?) {
            match handed.to {
                To::Key(key) => self.limiter.learn(key, handed.rate, full_in, now),
                To::Bucket(bucket) => bucket.learn(handed.rate, full_in, now),
            }
        }
        Ok(())
    }

    /// What was taken since the last time. Names are those that all replicas have: of the configuration, of keys'
    /// fingerprints, of sessions.
    fn due<'d>(&'d self, directory: &'d Directory) -> (Vec<Handed<'d>>, Vec<Part>) {
        let keys = self.limiter.due().into_iter().map(|due| {
            let part = Part { key: format!("calls:{}", due.key), rate: due.rate, taken: due.taken };
            (Handed { rate: due.rate, to: To::Key(due.key) }, part)
        });
        let bots = directory.bots().filter_map(|bot| {
            let name = || format!("calls:bot:{}", bot.name);
            handed(self.limiter.bot(bot.number)?, bot.limits.per_bot?, name)
        });
        let of_vendors = directory.vendors().flat_map(|(vendor, _)| {
            vendor.keys.calls().filter_map(|(fingerprint, rate, bucket)| {
                handed(bucket, rate, || format!("calls:key:{}:{}", vendor.name, hex(fingerprint)))
            })
        });
        keys.chain(bots).chain(of_vendors).unzip()
    }
}

/// What was taken of a bucket, if anything was: only then a name is made.
fn handed(bucket: &Bucket, rate: Rate, name: impl FnOnce() -> String) -> Option<(Handed<'_>, Part)> {
    let taken = bucket.untold();
    (taken > 0).then(|| (Handed { rate, to: To::Bucket(bucket) }, Part { key: name(), rate, taken }))
}

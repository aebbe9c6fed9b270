//! The store, in both its forms: a file, and a real Redis.
//!
//! What both must do is asked of both, by the same lines. Time is the machine's, because a Redis has its own: what should
//! be over is given times in the past.

mod calls;
mod changes;
mod concurrency;
mod file;
mod lists;
mod redis;
mod revocations;
mod secure;
mod sessions;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keystile::clock::{Clock, Timestamp};
use keystile::document::{Document, Environment, Problems};
use keystile::store::{self, Backend, Known, Record, Settings, StoreError};
use tempfile::TempDir;

use crate::support::redis::TestRedis;
use crate::support::until;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A store of one test, and what it needs to be there.
struct Kept {
    name: &'static str,
    backend: Arc<dyn Backend>,
    _folder: TempDir,
    _redis: Option<TestRedis>,
}

impl std::ops::Deref for Kept {
    type Target = dyn Backend;

    fn deref(&self) -> &Self::Target {
        &*self.backend
    }
}

/// An empty store of each form.
async fn both() -> [Kept; 2] {
    both_with("").await
}

/// The same, with more lines of configuration.
async fn both_with(lines: &str) -> [Kept; 2] {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let redis = TestRedis::start();
    let file = open(one.path(), lines).unwrap();
    let shared = open(other.path(), &format!("url = \"{}\"\n{lines}", redis.url())).unwrap();
    reached(&*shared).await;
    [
        Kept { name: "SQLite", backend: file, _folder: one, _redis: None },
        Kept { name: "Redis", backend: shared, _folder: other, _redis: Some(redis) },
    ]
}

/// Waits until it answers: the first connection can take longer than an operation may, on a busy machine.
async fn reached(store: &dyn Backend) {
    until("the store answers", async || store.changes(0).await.ok()).await;
}

/// The store that this `[store]` section describes, in a configuration of this folder.
fn open(folder: &Path, section: &str) -> Result<Arc<dyn Backend>, StoreError> {
    store::open(&settings(folder, section), Clock::system())
}

fn settings(folder: &Path, section: &str) -> Settings {
    let environment = Environment::given(folder, [("PASSWORD", PASSWORD)]);
    let problems = Problems::default();
    let document = Document::parse("test.toml", section, &problems).unwrap();
    let settings = Settings::read(&document.root(&problems), &environment);
    assert!(problems.is_empty(), "{:?}", problems.into_sorted());
    settings
}

/// Plainly fake.
const PASSWORD: &str = "a-password-of-a-test";

fn now() -> Timestamp {
    Clock::system().now()
}

/// Now, and `millis` more.
fn soon(millis: i64) -> Timestamp {
    let now = i64::try_from(now().millis()).unwrap();
    Timestamp::from_millis(u64::try_from(now + millis).unwrap())
}

/// A session that was opened a second ago, by nobody known.
fn session(id: &str) -> Record {
    let opened = soon(-1000);
    Record {
        id: id.to_owned(),
        bot: "support".to_owned(),
        client: "website".to_owned(),
        subject: format!("sub-{id}"),
        conversation: format!("conversation-{id}"),
        source: None,
        contact: None,
        origin: Some("https://www.example.com".to_owned()),
        address: Some("192.0.2.1".to_owned()),
        opened,
        expires: opened.plus(HOUR),
        ends: opened.plus(DAY),
        ended: None,
        known: None,
        ends_earlier: false,
    }
}

/// A contact.
fn ada() -> Known {
    known(0x0ada, "ada")
}

fn known(digest: u128, subject: &str) -> Known {
    let contact = Some(format!("{{\"name\":\"{subject} \\u00e9\"}}"));
    Known { digest, subject: subject.to_owned(), source: "asserted".to_owned(), contact }
}

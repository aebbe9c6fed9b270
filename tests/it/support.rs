//! What tests are made of: a gateway, vendors, a client, time.

pub(crate) mod authority;
pub(crate) mod balancer;
pub(crate) mod fleet;
pub(crate) mod frames;
pub(crate) mod front;
pub(crate) mod gateway;
pub(crate) mod home;
pub(crate) mod http2;
pub(crate) mod node;
pub(crate) mod openings;
pub(crate) mod program;
pub(crate) mod redis;
pub(crate) mod secure;
pub(crate) mod vendor;
pub(crate) mod wire;

use std::time::{Duration, Instant};

/// Waits until `condition` holds, for ten seconds at most: for what happens by itself, in other threads.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

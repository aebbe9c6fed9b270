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
pub(crate) mod ports;
pub(crate) mod program;
pub(crate) mod redis;
pub(crate) mod secure;
pub(crate) mod vendor;
pub(crate) mod wire;

use std::time::{Duration, Instant};

/// For how long a test waits for what must come. What does not come fails it in the end; that it is long lets none pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds: for what happens by itself, in other threads.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, async || condition().then_some(())).await;
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: it did not come to that");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What was measured of something that is promised within a second, in words. Nine of ten are held to it: of so many one
/// may stand still with the machine.
pub(crate) fn within_a_second(what: &str, mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 10).min(times.len() - 1)];
    assert!(at(9) <= Duration::from_secs(1), "{what}: {:?}", at(9));
    format!("{what}: {} times, median {:?}, longest {:?}", times.len(), at(5), at(10))
}

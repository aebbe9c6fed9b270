//! What other processes append, as it comes.

use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisResult;
use futures_util::StreamExt;
use tokio::sync::watch;

use super::link::Link;
use super::scripts::PREFIX;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// A connection is made within this.
const CONNECT: Duration = Duration::from_secs(1);
/// After so long without a word a connection is tried.
const QUIET: Duration = Duration::from_secs(5);

/// Listens as long as anybody has the other end of `last`.
pub(super) async fn listen(link: Arc<Link>, last: watch::Sender<u64>) {
    while !last.is_closed() {
        // Whatever ended it, the next attempt finds out whether Redis is there; its absence is told to those who ask.
        let _ended = follow(&link, &last).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(link: &Link, last: &watch::Sender<u64>) -> RedisResult<()> {
    let connect = async {
        let mut listener = link.connector().listen().await?;
        listener.subscribe(format!("{PREFIX}changes")).await?;
        RedisResult::Ok(listener)
    };
    let Ok(listener) = tokio::time::timeout(CONNECT, connect).await else { return Ok(()) };
    let (mut sink, mut messages) = listener?.split();
    // What was appended before or between two connections.
    let asked = link.query::<Option<u64>>(::redis::cmd("GET").arg(format!("{PREFIX}number"))).await;
    let Ok(Some(number)) = asked else { return Ok(()) };
    tell(last, number.unwrap_or(0));
    loop {
        match tokio::time::timeout(QUIET, messages.next()).await {
            Ok(Some(message)) => tell(last, message.get_payload()?),
            Ok(None) => return Ok(()),
            Err(_quiet) => {
                let Ok(alive) = tokio::time::timeout(CONNECT, sink.ping::<::redis::Value>()).await else {
                    return Ok(());
                };
                alive?;
            }
        }
    }
}

/// Two connections may tell in another order than it was appended.
fn tell(last: &watch::Sender<u64>, number: u64) {
    last.send_if_modified(|present| {
        let is_newer = number > *present;
        *present = number.max(*present);
        is_newer
    });
}

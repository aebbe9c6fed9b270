//! What the tests of simulated vendors share: one that runs, and a client for it.

use std::time::Duration;

use reqwest::RequestBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running vendor; it ends with the test.
pub(super) struct Running {
    base: String,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Runs what `serve` makes of a socket on a free port.
    pub(super) async fn start<F>(serve: impl FnOnce(TcpListener) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        Self { base, task: tokio::spawn(serve(listener)) }
    }

    /// A `GET` to be completed and sent.
    pub(super) fn get(&self, target: &str) -> RequestBuilder {
        reqwest::Client::new().get(format!("{}{target}", self.base))
    }

    /// A `POST` to be completed and sent.
    pub(super) fn post(&self, target: &str) -> RequestBuilder {
        reqwest::Client::new().post(format!("{}{target}", self.base))
    }
}

/// The status and the text of the answer to a call.
pub(super) async fn answer(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

/// The JSON with which a call is granted.
pub(super) async fn granted(request: RequestBuilder) -> serde_json::Value {
    let (status, text) = answer(request).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// Lets the other tasks run until `condition` holds.
pub(super) async fn eventually(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the condition holds in the end");
}

//! Sockets of a simulated vendor: HTTP/1.1, each request into the journal before the vendor sees it.

use std::convert::Infallible;
use std::sync::Arc;

use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Answer;
use super::journal::{Entry, Journal, Watch, Watched};

/// One request on its way into a vendor.
pub(super) struct Call {
    /// Its head.
    pub(super) head: Parts,
    /// Its place in the journal.
    pub(super) entry: Entry,
    body: Incoming,
}

impl Call {
    /// The body, read to its end, or nothing if it breaks off. Of a very long one only the beginning is kept.
    pub(super) async fn body(&mut self) -> Option<Bytes> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.ok()?.into_data() {
                self.entry.receive(&data);
            }
        }
        Some(self.entry.body())
    }
}

/// Serves whoever connects, until the future is dropped; its connections end with it.
pub(super) async fn serve<R, F>(listener: TcpListener, journal: Arc<Journal>, respond: R)
where
    R: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, Arc::clone(&journal), respond.clone()));
            },
            // Ended connections are taken out, or the set would grow for as long as the vendor runs.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection<R, F>(stream: TcpStream, journal: Arc<Journal>, respond: R)
where
    R: Fn(Call) -> F + Send + Sync,
    F: Future<Output = Answer> + Send,
{
    // A token a packet: the demo shows streaming, and tests measure it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: http::Request<Incoming>| {
        let (head, body) = request.into_parts();
        let entry = journal.open(&head);
        let watch = Watch::over(entry.clone());
        let answer = respond(Call { head, entry, body });
        async move { Ok::<_, Infallible>(answer.await.map(|body| Watched::new(body, watch))) }
    });
    // A client that breaks off is nothing that the vendor could answer; the journal has it.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

//! What runs beside each other: the keeper, who follows the store and the keys; the admin listener; the workers.

use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use hyper::service::service_fn;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::admin;
use crate::alarm::Spares;
use crate::aside::in_place;
use crate::gateway::Gateway;
use crate::listen;
use crate::net::ClientBody;
use crate::session::{Ledger, Sharing};
use crate::store::{Durability, StoreError};
use crate::token::Authority;

/// Starts the thread that follows the store and the key directory, and waits until what is revoked was read, or could not be.
pub(super) fn keeper(
    ledger: Arc<Ledger>,
    authority: Arc<Authority>,
    sharing: Sharing,
    durability: Durability,
    stopped: CancellationToken,
) -> Result<JoinHandle<()>, StartError> {
    let (read, is_read) = std::sync::mpsc::sync_channel(1);
    let work = async move || {
        let _whatever_happens = Keeping(Arc::clone(&ledger));
        if let Err(error) = ledger.catch_up().await {
            tracing::error!(%error, "the store cannot be read: no token is good until it can");
        }
        // Nobody waits any more if the start failed meanwhile.
        let _heard = read.send(ledger.weaknesses().await);
        tokio::join!(
            ledger.follow(&stopped),
            ledger.keep_clean(&stopped),
            Arc::clone(&authority).follow(&stopped),
            sharing.run(&stopped)
        );
    };
    let thread = thread("keeper".to_owned(), work)?;
    // An error is a panic, which the thread's own end tells.
    let weaknesses = match is_read.recv().unwrap_or_else(|_panicked| Ok(Vec::new())) {
        // Nobody knows how it is configured.
        Err(error) if durability == Durability::Strict => return Err(error.into()),
        examined => examined.unwrap_or_default(),
    };
    for weakness in &weaknesses {
        tracing::warn!(weakness, "the store could lose what it answered");
    }
    if durability == Durability::Strict && !weaknesses.is_empty() {
        return Err(StoreError::Unusable(weaknesses.join("; ")).into());
    }
    Ok(thread)
}

/// Follows the store; if that ends by a panic, nothing is served any more.
struct Keeping(Arc<Ledger>);

impl Drop for Keeping {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.mark_lost();
        }
    }
}

/// Starts the thread of the admin listener.
pub(super) fn operated(admin: admin::Bound, stopped: CancellationToken) -> Result<JoinHandle<()>, StartError> {
    thread("admin".to_owned(), async move || {
        if let Err(error) = admin.serve(&stopped).await {
            tracing::error!(%error, "the admin listener cannot be used");
        }
    })
}

/// Starts the thread of a worker.
pub(super) fn working(
    current: Arc<ArcSwap<Gateway>>,
    socket: std::net::TcpListener,
    terms: listen::Terms,
    stopped: CancellationToken,
) -> Result<JoinHandle<()>, StartError> {
    thread(format!("worker-{}", terms.worker), move || worker(current, socket, terms, stopped))
}

/// Starts a thread with a runtime of its own, which does what `work` makes there.
fn thread<F: Future<Output = ()>>(
    name: String,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Worker)?;
    let work = move || {
        runtime.block_on(work());
        // Not waiting for look-ups of names, which can take longer than anybody's patience.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name(name).spawn(work).map_err(StartError::Worker)
}

async fn worker(
    current: Arc<ArcSwap<Gateway>>,
    socket: std::net::TcpListener,
    terms: listen::Terms,
    stopped: CancellationToken,
) {
    let service = move |peer: listen::Peer| {
        let current = Arc::clone(&current);
        service_fn(move |request| {
            // Each request meets the configuration of its moment, and keeps it to its end.
            let (gateway, peer, request) = (current.load_full(), peer.clone(), Box::new(ClientBody::of(request)));
            // Not as it is: hyper moves it, and keeps room for it in the connection, or in the task of a stream to its end.
            in_place(|| gateway.serve(peer, request))
        })
    };
    let number = terms.worker;
    let _spares = Spares::keep();
    let serving = async {
        if let Err(error) = listen::serve(socket, terms, service).await {
            tracing::error!(%error, worker = number, "a worker cannot accept connections");
        }
        // What is open goes on.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => {}
        () = stopped.cancelled() => {}
    }
}

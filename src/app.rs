//! The only place where everything is put together: bind, run, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use hyper::service::service_fn;
use tokio::sync::watch;

use crate::access::{Access, Recognised};
use crate::api::Api;
use crate::bot::{Directory, Origin};
use crate::clock::Clock;
use crate::config::Settings;
use crate::gateway::{Gateway, Routes};
use crate::id::Entropy;
use crate::limit::Limiter;
use crate::listen;
use crate::proxy::{Intake, Proxy};
use crate::session::Opener;
use crate::telemetry::{Output, Records};
use crate::token::{Authority, KeysError};

/// What the process gets from outside besides its configuration.
#[derive(Clone, Debug)]
pub struct World {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Where access records go.
    pub records: Output,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The signing keys cannot be used.
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeysError),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("a worker could not be started")]
    Worker(#[source] io::Error),
}

/// A gateway whose sockets are bound and that does not yet accept.
#[derive(Debug)]
pub struct Bound {
    gateway: Arc<Gateway>,
    authority: Arc<Authority>,
    listener: listen::Bound,
}

impl Bound {
    /// Puts the gateway together and binds its sockets. `page` is served at `/`.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn new(settings: Settings, world: World, page: Option<Bytes>) -> Result<Self, StartError> {
        let World { clock, entropy, records } = world;
        let issuer = settings.gateway.public_url.as_str();
        let authority = Arc::new(Authority::open(&settings.tokens, issuer, clock.clone(), entropy.clone())?);
        let longest = settings.bots.longest_body();
        let directory = Arc::new(Directory::new(settings.bots, |key| authority.fingerprint(key)));
        let limiter = Arc::new(Limiter::new(directory.bots().count()));
        let access = Arc::new(Access {
            authority: Arc::clone(&authority),
            directory: Arc::clone(&directory),
            limiter: Arc::clone(&limiter),
            clock: clock.clone(),
            own_origin: Origin::of(issuer),
            failures: settings.gateway.failed_credentials,
            recognised: Arc::new(Recognised::default()),
        });
        let opener = Opener { authority: Arc::clone(&authority), clock: clock.clone(), entropy: entropy.clone() };
        let intake = Intake::new(settings.gateway.body_timeout, settings.gateway.bodies, longest);
        let api = Arc::new(Api {
            access: Arc::clone(&access),
            opener,
            intake: intake.clone(),
            limiter: Arc::clone(&limiter),
            clock: clock.clone(),
        });
        let prefix = settings.gateway.api.as_str();
        let gateway = Arc::new(Gateway {
            routes: Routes::new(&directory, prefix, page.is_some()),
            key_headers: directory.key_headers(),
            own: api.router(prefix),
            proxy: Proxy::new(&directory, intake, settings.gateway.sockets, clock.clone(), entropy),
            records: Records::new(settings.listen.workers, records),
            access,
            api,
            limiter,
            clock,
            page,
        });
        let listen::Settings { address, tls, workers, timeouts, bounds } = settings.listen;
        let (sockets, address) =
            listen::bind(address, workers).map_err(|source| StartError::Bind { address, source })?;
        Ok(Self { gateway, authority, listener: listen::Bound { sockets, address, tls, timeouts, bounds } })
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.listener.address
    }

    /// What signs and verifies this gateway's tokens.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Starts the workers: one thread and one runtime each.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(self) -> Result<Running, StartError> {
        let (stop, stopped) = watch::channel(false);
        let writer = self.gateway.records.start().map_err(StartError::Worker)?;
        let mut workers = Vec::new();
        let listen::Bound { sockets, tls, timeouts, bounds, .. } = self.listener;
        for (number, socket) in sockets.into_iter().enumerate() {
            let terms = listen::Terms { tls: tls.clone(), worker: number, timeouts, bounds: bounds.clone() };
            let (gateway, stopped) = (Arc::clone(&self.gateway), stopped.clone());
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Worker)?;
            let work = move || {
                runtime.block_on(worker(gateway, socket, terms, stopped));
                // Not waiting for look-ups of names, which can take longer than anybody's patience.
                runtime.shutdown_background();
            };
            let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(work);
            workers.push(thread.map_err(StartError::Worker)?);
        }
        let gateway = self.gateway;
        Ok(Running { gateway, stop, workers: Mutex::new(workers), writer: Mutex::new(Some(writer)) })
    }
}

async fn worker(
    gateway: Arc<Gateway>,
    socket: std::net::TcpListener,
    terms: listen::Terms,
    mut stopped: watch::Receiver<bool>,
) {
    let service = move |peer: listen::Peer| {
        let gateway = Arc::clone(&gateway);
        service_fn(move |request| Arc::clone(&gateway).serve(peer.clone(), request))
    };
    let number = terms.worker;
    let accepting = listen::serve(socket, terms, service);
    tokio::select! {
        accepted = accepting => if let Err(error) = accepted {
            tracing::error!(%error, worker = number, "a worker cannot accept connections");
        },
        // An error means that nobody can ask to stop any more, which is as good as being asked.
        _asked = stopped.wait_for(|stop| *stop) => {}
    }
}

/// A gateway at work. Dropping it does not stop it; [`Running::stop`] does.
#[derive(Debug)]
pub struct Running {
    gateway: Arc<Gateway>,
    stop: watch::Sender<bool>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Running {
    /// Stops the workers and writes out the last records. Open calls are cut.
    pub fn stop(&self) {
        // Nobody listens when all workers have ended already.
        let _heard = self.stop.send(true);
        for worker in lock(&self.workers).drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
        if let Some(writer) = lock(&self.writer).take() {
            self.gateway.records.stop(writer);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

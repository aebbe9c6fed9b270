//! The only place where everything is put together: bind, run, reload, drain.

mod process;
mod running;
mod threads;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::process::{Current, Process};
use self::running::Ending;
pub use self::running::Running;
use self::threads::{keeper, operated, working};
use crate::admin;
use crate::clock::Clock;
use crate::config::Settings;
use crate::id::Entropy;
use crate::listen::{self, Drain};
use crate::session::Sharing;
use crate::store::{Durability, StoreError};
use crate::telemetry::Output;
use crate::telemetry::audit::AuditError;
use crate::token::{Authority, KeysError};
use crate::upstream::collector::{self, Carrier};

/// What the process gets from outside besides its configuration.
#[derive(Clone, Debug)]
pub struct World {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Where access records go.
    pub records: Output,
    /// The listening socket, where somebody else has opened it.
    pub socket: Option<Arc<std::net::TcpListener>>,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The signing keys cannot be used.
    #[error("tokens.keys: the signing keys cannot be used")]
    Keys(#[from] KeysError),
    /// The store cannot be used.
    #[error("store.url")]
    Store(#[from] StoreError),
    /// The audit record cannot be used.
    #[error("audit.file: the audit record cannot be used")]
    Audit(#[from] AuditError),
    /// The address cannot be listened on.
    #[error("server.listen: {address} cannot be listened on")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The place of the admin listener cannot be listened on.
    #[error("admin.listen: {place} cannot be listened on")]
    Admin {
        /// The place.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The socket that was handed over is where others can reach it, and would speak plain HTTP.
    #[error(
        "the socket that was handed over listens on {0}, where plain HTTP would show tokens to the network; write server.tls, or insecure = true where a load balancer in front speaks TLS"
    )]
    Plain(SocketAddr),
    /// The system gives no thread.
    #[error("a worker could not be started")]
    Worker(#[source] io::Error),
}

/// A gateway whose sockets are bound and that does not yet accept.
#[derive(Debug)]
pub struct Bound {
    process: Process,
    current: Current,
    fixed: Vec<(&'static str, String)>,
    durability: Durability,
    ending: Ending,
    admin: Option<admin::Bound>,
    reloads: admin::Reloads,
    listener: listen::Bound,
    carrier: Option<Carrier>,
}

/// The sockets that clients connect to: `socket`, where somebody else has opened it.
fn listener(
    settings: listen::Settings,
    socket: Option<Arc<std::net::TcpListener>>,
) -> Result<listen::Bound, StartError> {
    let listen::Settings { address, tls, is_insecure, workers, timeouts, bounds, trusted, proxy_protocol, .. } =
        settings;
    let is_shared = socket.is_some();
    let bound = match socket {
        Some(socket) => listen::shared(&socket, workers),
        None => listen::bind(address, workers),
    };
    let (sockets, address) = bound.map_err(|source| StartError::Bind { address, source })?;
    // The configuration was asked of its own address; this may be another.
    if is_shared && tls.is_none() && !is_insecure && !address.ip().is_loopback() {
        return Err(StartError::Plain(address));
    }
    let balancers = proxy_protocol.then(|| listen::Balancers::new(ArcSwap::from_pointee(trusted)));
    Ok(listen::Bound { sockets, address, tls, timeouts, bounds, balancers, is_shared })
}

impl Bound {
    /// Puts the gateway together and binds its sockets. `page` is served at `/`.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn new(mut settings: Settings, world: World, page: Option<Bytes>) -> Result<Self, StartError> {
        let (fixed, socket, drain) = (settings.fixed(), world.socket.clone(), Drain::default());
        let (traces, carrier) = collector::open(&mut settings.traces);
        let process = Process::new(&settings, world, traces, page)?;
        let gateway =
            Arc::new(process.gateway(settings.bots, &settings.gateway, settings.listen.trusted.clone(), None));
        let api = Arc::new(ArcSwap::new(Arc::clone(&gateway.api)));
        let place = settings.admin.place.as_ref().map(ToString::to_string).unwrap_or_default();
        let reloads = admin::Reloads::default();
        let watched = admin::Watched {
            drain: drain.clone(),
            clients: settings.listen.bounds.clone(),
            tls: settings.listen.tls.clone(),
            reloads: reloads.clone(),
        };
        let directory = Arc::new(ArcSwap::new(Arc::clone(&gateway.access.directory)));
        let ending = Ending {
            drain,
            revoked: Arc::clone(&process.revoked),
            notice: settings.listen.notice,
            limit: settings.listen.drain,
        };
        let current = Current { gateway: Arc::new(ArcSwap::new(gateway)), api, directory };
        let listener = listener(settings.listen, socket)?;
        // Behind the clients: where nothing is written of its address, it is the one that gives way.
        let admin = admin::Bound::new(settings.admin, Arc::clone(&current.api), watched);
        let admin = admin.map_err(|source| StartError::Admin { place, source })?;
        let durability = settings.store.durability;
        Ok(Self { process, current, fixed, durability, ending, admin, reloads, carrier, listener })
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.listener.address
    }

    /// The place that operators connect to, where there is one.
    pub fn admin_place(&self) -> Option<admin::Place> {
        self.admin.as_ref().map(admin::Bound::place)
    }

    /// What signs and verifies this gateway's tokens.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.process.authority
    }

    /// Starts the workers: one thread and one runtime each.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(self) -> Result<Running, StartError> {
        let stop = CancellationToken::new();
        // Also what has begun where something else cannot.
        let dropped = stop.clone().drop_guard();
        let writer = self.process.records.start().map_err(StartError::Worker)?;
        let carrying = self.carrier.map(Carrier::start).transpose().map_err(StartError::Worker)?;
        let Process { ledger, authority, limiter, clock, .. } = &self.process;
        let sharing = Sharing {
            ledger: Arc::clone(ledger),
            limiter: Arc::clone(limiter),
            directory: Arc::clone(&self.current.directory),
            clock: clock.clone(),
        };
        let (ledger, authority) = (Arc::clone(ledger), Arc::clone(authority));
        let mut workers = vec![keeper(ledger, authority, sharing, self.durability, stop.clone())?];
        workers.extend(self.admin.map(|admin| operated(admin, stop.clone())).transpose()?);
        let listen::Bound { sockets, tls, timeouts, bounds, balancers, is_shared, .. } = self.listener;
        for (number, socket) in sockets.into_iter().enumerate() {
            let terms = listen::Terms {
                tls: tls.clone(),
                worker: number,
                timeouts,
                bounds: bounds.clone(),
                balancers: balancers.clone(),
                drain: self.ending.drain.clone(),
                is_shared,
            };
            workers.push(working(Arc::clone(&self.current.gateway), socket, terms, stop.clone())?);
        }
        let (workers, writer, carrying) = (Mutex::new(workers), Mutex::new(Some(writer)), Mutex::new(carrying));
        let Self { process, current, fixed, ending, reloads, .. } = self;
        Ok(Running {
            process,
            current,
            fixed,
            reloads,
            tls,
            waiting: Mutex::default(),
            balancers,
            ending,
            bounds,
            stop,
            _dropped: dropped,
            workers,
            writer,
            carrying,
        })
    }
}

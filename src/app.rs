//! The only place where everything is put together: bind, run, reload, drain.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::service::service_fn;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::access::{Access, Revoked};
use crate::admin;
use crate::api::Api;
use crate::bot::{self, Directory, Origin};
use crate::clock::Clock;
use crate::config::Settings;
use crate::gateway::{self, Gateway, Routes};
use crate::id::{Entropy, RequestId};
use crate::limit::Limiter;
use crate::listen::{self, Drain, Phase};
use crate::net::Trusted;
use crate::proxy::{Intake, Proxy};
use crate::session::once::Repeats;
use crate::session::{Ledger, Opener, Sharing};
use crate::store::{self, Durability, StoreError};
use crate::telemetry::audit::{Action, Audit, AuditError, Event, Trace, Who};
use crate::telemetry::traces::Traces;
use crate::telemetry::{Output, Records};
use crate::token::{Authority, KeysError, LEEWAY};
use crate::upstream::collector::{self, Carrier, Carrying};

/// How long clients have to hear why their streams end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Bots that a reload may add.
const SPARE_BOTS: usize = 4096;
/// How often is looked whether all have ended.
const LOOK: Duration = Duration::from_millis(20);

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
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeysError),
    /// The store cannot be used.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The audit record cannot be used.
    #[error("the audit record cannot be used")]
    Audit(#[from] AuditError),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
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
    listener: listen::Bound,
    carrier: Option<Carrier>,
}

impl Bound {
    /// Puts the gateway together and binds its sockets. `page` is served at `/`.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn new(settings: Settings, world: World, page: Option<Bytes>) -> Result<Self, StartError> {
        let World { clock, entropy, records, socket } = world;
        let fixed = settings.fixed();
        let issuer = settings.gateway.public_url.as_str();
        let authority = Arc::new(Authority::open(&settings.tokens, issuer, clock.clone(), entropy.clone())?);
        let records = Records::new(settings.listen.workers, records);
        let (revoked, drain) = (Arc::new(Revoked::new(clock.clone())), Drain::default());
        let store = store::open(&settings.store, clock.clone())?;
        let (contact, staleness) = (settings.tokens.contact, settings.store.max_staleness);
        let ledger = Arc::new(Ledger::new(store, Arc::clone(&revoked), clock.clone(), contact, staleness));
        let (traces, carrier) = collector::open(settings.traces);
        let process = Process {
            limiter: Arc::new(Limiter::new(settings.bots.count() + SPARE_BOTS)),
            repeats: Arc::new(Repeats {
                authority: Arc::clone(&authority),
                ledger: Arc::clone(&ledger),
                open: Arc::default(),
            }),
            audit: Arc::new(Audit::open(settings.audit.file.as_deref(), clock.clone())?),
            numbers: Mutex::default(),
            authority,
            ledger,
            revoked,
            records,
            traces: Arc::new(traces),
            public_url: settings.gateway.public_url.clone(),
            api: settings.gateway.api.clone(),
            clock,
            entropy,
            page,
        };
        let gateway = Arc::new(process.gateway(settings.bots, &settings.gateway, settings.listen.trusted.clone()));
        let api = Arc::new(ArcSwap::new(Arc::clone(&gateway.api)));
        let place = settings.admin.place.as_ref().map(ToString::to_string).unwrap_or_default();
        let clients = settings.listen.bounds.clone();
        let admin = admin::Bound::new(settings.admin, Arc::clone(&api), drain.clone(), clients);
        let admin = admin.map_err(|source| StartError::Admin { place, source })?;
        let directory = Arc::new(ArcSwap::new(Arc::clone(&gateway.access.directory)));
        let ending = Ending {
            drain,
            revoked: Arc::clone(&process.revoked),
            notice: settings.listen.notice,
            limit: settings.listen.drain,
        };
        let current = Current { gateway: Arc::new(ArcSwap::new(gateway)), api, directory };
        let listen::Settings { address, tls, is_insecure, workers, timeouts, bounds, trusted, proxy_protocol, .. } =
            settings.listen;
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
        let durability = settings.store.durability;
        Ok(Self {
            process,
            current,
            fixed,
            durability,
            ending,
            admin,
            carrier,
            listener: listen::Bound {
                sockets,
                address,
                tls,
                timeouts,
                bounds,
                balancers: proxy_protocol.then_some(trusted),
                is_shared,
            },
        })
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
        let (stop, stopped) = watch::channel(false);
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
        let mut workers = vec![keeper(ledger, authority, sharing, self.durability, stopped.clone())?];
        workers.extend(self.admin.map(|admin| operated(admin, stopped.clone())).transpose()?);
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
            let (gateway, stopped) = (Arc::clone(&self.current.gateway), stopped.clone());
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
        let (workers, writer, carrying) = (Mutex::new(workers), Mutex::new(Some(writer)), Mutex::new(carrying));
        let Self { process, current, fixed, ending, .. } = self;
        Ok(Running { process, current, fixed, tls, ending, bounds, stop, workers, writer, carrying })
    }
}

/// Starts the thread that follows the store and the key directory, and waits until what is revoked was read, or could not be.
fn keeper(
    ledger: Arc<Ledger>,
    authority: Arc<Authority>,
    sharing: Sharing,
    durability: Durability,
    stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Worker)?;
    let (read, is_read) = std::sync::mpsc::sync_channel(1);
    let work = move || {
        let _whatever_happens = Keeping(Arc::clone(&ledger));
        runtime.block_on(async {
            if let Err(error) = ledger.catch_up().await {
                tracing::error!(%error, "the store cannot be read: no token is good until it can");
            }
            // Nobody waits any more if the start failed meanwhile.
            let _heard = read.send(ledger.weaknesses().await);
            tokio::join!(
                ledger.follow(stopped.clone()),
                ledger.keep_clean(stopped.clone()),
                authority.follow(stopped.clone()),
                sharing.run(stopped)
            );
        });
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(work).map_err(StartError::Worker)?;
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
            self.0.is_lost();
        }
    }
}

/// Starts the thread of the admin listener.
fn operated(admin: admin::Bound, stopped: watch::Receiver<bool>) -> Result<JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Worker)?;
    let work = move || {
        if let Err(error) = runtime.block_on(admin.serve(stopped)) {
            tracing::error!(%error, "the admin listener cannot be used");
        }
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("admin".to_owned()).spawn(work).map_err(StartError::Worker)
}

async fn worker(
    current: Arc<ArcSwap<Gateway>>,
    socket: std::net::TcpListener,
    terms: listen::Terms,
    mut stopped: watch::Receiver<bool>,
) {
    let service = move |peer: listen::Peer| {
        let current = Arc::clone(&current);
        // Each request meets the configuration of its moment, and keeps it to its end.
        service_fn(move |request| current.load_full().serve(peer.clone(), request))
    };
    let number = terms.worker;
    let serving = async {
        if let Err(error) = listen::serve(socket, terms, service).await {
            tracing::error!(%error, worker = number, "a worker cannot accept connections");
        }
        // What is open goes on.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => {}
        // An error means that nobody can ask to stop any more, which is as good as being asked.
        _asked = stopped.wait_for(|stop| *stop) => {}
    }
}

/// What a process has for its whole life, whatever the configuration becomes.
#[derive(Debug)]
struct Process {
    authority: Arc<Authority>,
    limiter: Arc<Limiter>,
    revoked: Arc<Revoked>,
    ledger: Arc<Ledger>,
    audit: Arc<Audit>,
    repeats: Arc<Repeats>,
    records: Arc<Records>,
    traces: Arc<Traces>,
    /// The address that clients use, and what stands before the gateway's own calls.
    public_url: String,
    api: String,
    clock: Clock,
    entropy: Entropy,
    page: Option<Bytes>,
    /// Of bots, by their names.
    numbers: Mutex<HashMap<String, u32>>,
}

/// What the configuration of the moment is.
#[derive(Debug)]
struct Current {
    gateway: Arc<ArcSwap<Gateway>>,
    api: Arc<ArcSwap<Api>>,
    directory: Arc<ArcSwap<Directory>>,
}

impl Process {
    /// The gateway of these settings.
    fn gateway(&self, mut bots: bot::Settings, settings: &gateway::Settings, trusted: Trusted) -> Gateway {
        bots.number(&mut lock(&self.numbers));
        let longest = bots.longest_body();
        let metrics = Arc::clone(self.records.metrics());
        let directory = Arc::new(Directory::new(bots, |key| self.authority.fingerprint(key)));
        let access = Arc::new(Access {
            authority: Arc::clone(&self.authority),
            directory: Arc::clone(&directory),
            limiter: Arc::clone(&self.limiter),
            clock: self.clock.clone(),
            own_origin: Origin::of(&self.public_url),
            failures: settings.failed_credentials,
            revoked: Arc::clone(&self.revoked),
        });
        let (authority, clock, entropy) = (Arc::clone(&self.authority), self.clock.clone(), self.entropy.clone());
        let intake = Intake::new(settings.body_timeout, settings.bodies, longest);
        let api = Arc::new(Api {
            access: Arc::clone(&access),
            opener: Opener { authority, clock: clock.clone(), entropy: entropy.clone() },
            ledger: Arc::clone(&self.ledger),
            repeats: Arc::clone(&self.repeats),
            audit: Arc::clone(&self.audit),
            intake: intake.clone(),
            limiter: Arc::clone(&self.limiter),
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
        });
        Gateway {
            routes: Routes::new(&directory, &self.api, self.page.is_some(), &metrics),
            key_headers: directory.key_headers(),
            own: api.router(&self.api),
            proxy: Proxy::new(&directory, intake, settings.sockets, clock.clone(), entropy),
            records: Arc::clone(&self.records),
            counted: metrics.bots(directory.bots().map(|bot| (bot.number, bot.name.as_str()))),
            access,
            api,
            limiter: Arc::clone(&self.limiter),
            clock,
            trusted,
            traces: Arc::clone(&self.traces),
            page: self.page.clone(),
        }
    }
}

/// How it ends without ending its calls.
#[derive(Debug)]
struct Ending {
    drain: Drain,
    revoked: Arc<Revoked>,
    notice: Duration,
    limit: Duration,
}

/// A gateway at work. Dropping it does not stop it; [`Running::stop`] does.
#[derive(Debug)]
pub struct Running {
    process: Process,
    current: Current,
    fixed: Vec<(&'static str, String)>,
    tls: Option<listen::Tls>,
    ending: Ending,
    bounds: listen::Bounds,
    stop: watch::Sender<bool>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    carrying: Mutex<Option<Carrying>>,
}

impl Running {
    /// Lets calls end, for whoever stops it then: balancers are told first and, where `is_noticed`, given the time to hear
    /// it; then nothing new is accepted, connections without a call are closed, and the rest is waited for. What is open
    /// after the configured time ends as at its token's end. At once, when `hurried`.
    pub async fn drain(&self, is_noticed: bool, hurried: impl Future<Output = ()>) {
        let Ending { drain, revoked, notice, limit } = &self.ending;
        let draining = async {
            drain.enter(Phase::Noticed);
            if is_noticed {
                tracing::info!(notice = ?notice, "going away: not ready any more");
                sleep(*notice).await;
            }
            drain.enter(Phase::Closing);
            tracing::info!(connections = self.bounds.open(), limit = ?limit, "going away: calls end");
            if timeout(*limit, self.all_ended()).await.is_err() {
                tracing::info!(connections = self.bounds.open(), "going away: what is open is ended");
                revoked.stop();
                // An error means that some do not listen. They are cut.
                let _all_heard = timeout(LEEWAY + LAST_WORDS, self.all_ended()).await;
            }
        };
        tokio::select! {
            () = draining => {}
            () = hurried => tracing::info!("asked again: stopping at once"),
        }
    }

    /// From now on requests meet `settings`; what is open goes on with what it began with, unless its bot or its client is
    /// not there any more. `who` asked for it. Answers what of it takes a new process, and stays as it was.
    pub async fn reload(&self, settings: Settings, who: &str) -> Vec<&'static str> {
        let fixed = settings.fixed();
        let kept = self.fixed.iter().zip(&fixed).filter(|(was, is)| was != is).map(|(was, _)| was.0).collect();
        if let (Some(own), Some(new)) = (&self.tls, &settings.listen.tls) {
            own.become_like(new);
        }
        let gateway = Arc::new(self.process.gateway(settings.bots, &settings.gateway, settings.listen.trusted));
        let Current { gateway: current, api, directory } = &self.current;
        directory.store(Arc::clone(&gateway.access.directory));
        api.store(Arc::clone(&gateway.api));
        let offered = gateway.access.directory.offered();
        current.store(gateway);
        self.process.revoked.offer(offered);
        let trace = Trace { from: None, request: RequestId::next() };
        let event = Event::new(Action::Reload, Who::Operator(who.to_owned()), trace);
        if let Err(error) = self.process.audit.write(event).await {
            tracing::error!(%error, "that the configuration was read again is not on record");
        }
        kept
    }

    /// Waits until no connection is open, and no call is made whose caller has left.
    async fn all_ended(&self) {
        let Ending { drain, .. } = &self.ending;
        while drain.is_accepting() || self.bounds.open() > 0 || self.process.repeats.open() > 0 {
            sleep(LOOK).await;
        }
    }

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
            self.process.records.stop(writer);
        }
        // After the workers: a call that was cut has a span, too.
        if let Some(carrying) = lock(&self.carrying).take() {
            carrying.stop();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What a process keeps for its life, and the gateway that it makes of each configuration.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::{StartError, World};
use crate::access::{Access, Revoked};
use crate::api::Api;
use crate::bot::{self, Directory, Origin};
use crate::clock::Clock;
use crate::config::Settings;
use crate::gateway::{self, Gateway, Routes};
use crate::id::Entropy;
use crate::limit::Limiter;
use crate::net::Trusted;
use crate::proxy::{Intake, Proxy};
use crate::session::once::Repeats;
use crate::session::{Ledger, Opener};
use crate::store;
use crate::telemetry::Records;
use crate::telemetry::audit::Audit;
use crate::telemetry::traces::Traces;
use crate::token::Authority;

/// Bots that a reload may add.
const SPARE_BOTS: usize = 4096;

/// What a process has for its whole life, whatever the configuration becomes.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) authority: Arc<Authority>,
    pub(super) limiter: Arc<Limiter>,
    pub(super) revoked: Arc<Revoked>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) audit: Arc<Audit>,
    pub(super) repeats: Arc<Repeats>,
    /// What goes on when its caller has left.
    pub(super) tasks: TaskTracker,
    pub(super) records: Arc<Records>,
    pub(super) traces: Arc<Traces>,
    /// The address that clients use, and what stands before the gateway's own calls.
    pub(super) public_url: String,
    pub(super) api: String,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
    pub(super) page: Option<Bytes>,
    /// Of bots, by their names.
    pub(super) numbers: Mutex<HashMap<String, u32>>,
}

/// What the configuration of the moment is.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) gateway: Arc<ArcSwap<Gateway>>,
    pub(super) api: Arc<ArcSwap<Api>>,
    pub(super) directory: Arc<ArcSwap<Directory>>,
}

impl Process {
    /// Opens the keys, the store and the audit record.
    pub(super) fn new(
        settings: &Settings,
        world: World,
        traces: Traces,
        page: Option<Bytes>,
    ) -> Result<Self, StartError> {
        let World { clock, entropy, records, .. } = world;
        let issuer = settings.gateway.public_url.as_str();
        let authority = Arc::new(Authority::open(&settings.tokens, issuer, clock.clone(), entropy.clone())?);
        let store = store::open(&settings.store, clock.clone())?;
        let revoked = Arc::new(Revoked::new(Arc::clone(&store), clock.clone()));
        let (contact, staleness) = (settings.tokens.contact, settings.store.max_staleness);
        let ledger = Arc::new(Ledger::new(store, Arc::clone(&revoked), clock.clone(), contact, staleness));
        let tasks = TaskTracker::new();
        let repeats = Repeats { authority: Arc::clone(&authority), ledger: Arc::clone(&ledger), tasks: tasks.clone() };
        Ok(Self {
            limiter: Arc::new(Limiter::new(settings.bots.count() + SPARE_BOTS)),
            repeats: Arc::new(repeats),
            tasks,
            audit: Arc::new(Audit::open(settings.audit.file.as_deref(), clock.clone())?),
            numbers: Mutex::default(),
            authority,
            ledger,
            revoked,
            records: Records::new(settings.listen.workers, records),
            traces: Arc::new(traces),
            public_url: settings.gateway.public_url.clone(),
            api: settings.gateway.api.clone(),
            clock,
            entropy,
            page,
        })
    }

    /// The gateway of these settings.
    pub(super) fn gateway(
        &self,
        mut bots: bot::Settings,
        settings: &gateway::Settings,
        trusted: Trusted,
        before: Option<&Directory>,
    ) -> Gateway {
        bots.number(&mut self.numbers.lock());
        let longest = bots.longest_body();
        let metrics = Arc::clone(self.records.metrics());
        let directory = Arc::new(Directory::new(bots, before, |key| self.authority.fingerprint(key)));
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
            tasks: self.tasks.clone(),
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

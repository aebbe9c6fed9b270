//! Genesys Knowledge Center's sessions, as far as they are documented.
//!
//! Every deployment names the header of its key itself. With that key the vendor believes whatever `gkc_agentId` and
//! `gkc_customerId` say (see [`Seen::honoured`]), and it opens a session for whoever asks for one that is not there:
//! both are documented, and both are what a gateway has to stand before.
//!
//! Not seen in any documentation, and so chosen here: the fields of a session's information, the shape of refusals, and
//! that only the documented read opens sessions silently, not the association.

mod fault;
mod reading;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpListener;

use self::fault::Fault;
use self::reading::{identity, visit};
use self::session::{Identity, Sessions, Visit};
use super::journal::{Journal, Seen};
use super::listen::{self, Call};
use super::{Answer, query};
use crate::clock::Clock;
use crate::id::Entropy;
use crate::secret::{Secret, same};

/// What the simulated vendor is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the header in which this deployment wants its key, in any case.
    pub key_header: String,
    /// The key.
    pub key: Secret,
    /// The tenant that every call has to name as `tenantId` in its query, as newer versions demand.
    pub tenant: Option<String>,
}

/// The simulated vendor.
pub struct Genesys {
    settings: Settings,
    clock: Clock,
    entropy: Entropy,
    journal: Arc<Journal>,
    sessions: Mutex<Sessions>,
}

impl Genesys {
    /// A vendor without any session yet.
    pub fn new(settings: Settings, clock: Clock, entropy: Entropy) -> Arc<Self> {
        Arc::new(Self { settings, clock, entropy, journal: Arc::default(), sessions: Mutex::default() })
    }

    /// Serves until the future is dropped, which also ends its connections.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let journal = Arc::clone(&self.journal);
        listen::serve(listener, journal, move |call| Arc::clone(&self).answer(call)).await;
    }

    /// Every request that came in, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.journal.seen()
    }

    /// How many answers were left by their receiver before their end.
    pub fn aborted(&self) -> usize {
        self.journal.aborted()
    }

    /// The customer that a session is associated with: nobody as long as it is anonymous, or unknown.
    pub fn customer_of(&self, session: &str) -> Option<String> {
        self.sessions().customer_of(session)
    }

    async fn answer(self: Arc<Self>, call: Call) -> Answer {
        self.route(call).await.unwrap_or_else(Fault::into_answer)
    }

    async fn route(&self, call: Call) -> Result<Answer, Fault> {
        call.entry.mask(&self.settings.key_header);
        let path = call.head.uri.path().to_owned();
        let id = path.strip_prefix("/sessions/").filter(|id| !id.is_empty() && !id.contains('/'));
        let id = id.ok_or_else(Fault::not_found)?;
        self.admit(&call)?;
        let identity = identity(&call)?;
        match (&call.head.method, id) {
            (&Method::PUT, "new") => self.create(identity, call).await,
            (_, "new") => Err(Fault::method_not_allowed("PUT")),
            (&Method::GET, id) => self.read(id, identity),
            (&Method::POST, id) => self.associate(id, identity, call).await,
            _ => Err(Fault::method_not_allowed("GET, POST")),
        }
    }

    /// Lets through what comes with the key, and for the tenant of this deployment.
    fn admit(&self, call: &Call) -> Result<(), Fault> {
        if !self.holds_key(&call.head.headers) {
            return Err(Fault::unauthorized());
        }
        let Some(tenant) = &self.settings.tenant else { return Ok(()) };
        match query::parameter(call.head.uri.query(), "tenantId").map_err(Fault::bad_request)? {
            Some(named) if named == *tenant => Ok(()),
            Some(_) => Err(Fault::bad_request("tenantId: there is no such tenant")),
            None => Err(Fault::bad_request("tenantId: required")),
        }
    }

    fn holds_key(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(&self.settings.key_header).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        same(value.as_bytes(), self.settings.key.expose().as_bytes())
    }

    async fn create(&self, identity: Identity, call: Call) -> Result<Answer, Fault> {
        let visit = body(call).await?;
        let mut sessions = self.sessions();
        if sessions.holds(&visit, None) {
            return Err(Fault::bad_request("there is a session for this visit already"));
        }
        Ok(ok(&sessions.open(self.entropy.session_id(self.clock.now()), identity, visit, self.clock.now())))
    }

    /// The session's information; of an unknown one, that of a new session which is opened for the purpose.
    fn read(&self, id: &str, identity: Identity) -> Result<Answer, Fault> {
        let mut sessions = self.sessions();
        let known = sessions.information(id);
        let open =
            || sessions.open(self.entropy.session_id(self.clock.now()), identity, Visit::default(), self.clock.now());
        Ok(ok(&known.unwrap_or_else(open)))
    }

    async fn associate(&self, id: &str, identity: Identity, call: Call) -> Result<Answer, Fault> {
        let visit = body(call).await?;
        if identity.customer.is_none() {
            return Err(Fault::bad_request("gkc_customerId: required, a recognised user is associated"));
        }
        let mut sessions = self.sessions();
        if sessions.holds(&visit, Some(id)) {
            return Err(Fault::bad_request("there is another session for this visit already"));
        }
        sessions.associate(id, identity, visit).map(|information| ok(&information)).ok_or_else(Fault::not_found)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock()
    }
}

async fn body(mut call: Call) -> Result<Visit, Fault> {
    let body = call.body().await.ok_or_else(|| Fault::bad_request("the body is incomplete"))?;
    visit(&call.head.headers, &body)
}

fn ok(value: &serde_json::Value) -> Answer {
    super::json(StatusCode::OK, value)
}

//! The sessions that the vendor keeps. They do not end.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::clock::Timestamp;

/// Whom a session is for.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) agent: Option<String>,
    pub(super) customer: Option<String>,
}

/// A visit to the site, as its tracking names it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) id: Option<String>,
    pub(super) global: Option<String>,
}

struct Session {
    identity: Identity,
    visit: Visit,
    created: Timestamp,
}

impl Session {
    /// The answer to every call about it. Its real fields were not seen.
    fn information(&self, id: &str) -> Value {
        json!({
            "sessionId": id,
            "customerId": self.identity.customer,
            "agentId": self.identity.agent,
            "visitId": self.visit.id,
            "globalVisitId": self.visit.global,
            "created": self.created.millis(),
        })
    }
}

/// All sessions.
#[derive(Default)]
pub(super) struct Sessions(HashMap<String, Session>);

impl Sessions {
    /// Opens a session; the answer is its information.
    pub(super) fn open(&mut self, id: String, identity: Identity, visit: Visit, created: Timestamp) -> Value {
        let session = Session { identity, visit, created };
        let information = session.information(&id);
        self.0.insert(id, session);
        information
    }

    /// The information of the session `id`.
    pub(super) fn information(&self, id: &str) -> Option<Value> {
        self.0.get(id).map(|session| session.information(id))
    }

    /// Whether a session other than `except` is of this visit. A visit is known by both of its ids.
    pub(super) fn holds(&self, visit: &Visit, except: Option<&str>) -> bool {
        let is_whole = visit.id.is_some() && visit.global.is_some();
        is_whole && self.0.iter().any(|(id, session)| session.visit == *visit && Some(id.as_str()) != except)
    }

    /// Makes the session `id` that of somebody recognised. What the call does not name stays as it was.
    pub(super) fn associate(&mut self, id: &str, identity: Identity, visit: Visit) -> Option<Value> {
        let session = self.0.get_mut(id)?;
        let (known, seen) = (&mut session.identity, &mut session.visit);
        known.customer = identity.customer.or(known.customer.take());
        known.agent = identity.agent.or(known.agent.take());
        seen.id = visit.id.or(seen.id.take());
        seen.global = visit.global.or(seen.global.take());
        Some(session.information(id))
    }

    /// The customer that the session `id` is for.
    pub(super) fn customer_of(&self, id: &str) -> Option<String> {
        self.0.get(id)?.identity.customer.clone()
    }
}

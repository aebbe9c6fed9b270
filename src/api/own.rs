//! The gateway's own calls: where each is, and what answers it.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, delete, get, post};

use super::{Api, contact, jwks, native, session};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// A session is opened.
    Open,
    /// A session's visitor becomes known.
    Recognise,
    /// The bearer of a session gets another token.
    Renew,
    /// A session is shown.
    Show,
    /// A session is ended.
    End,
    /// Sessions are listed.
    List,
    /// All sessions of a contact, or of a bot, are ended.
    EndAll,
    /// The keys by which tokens are checked.
    Keys,
}

impl Own {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Open, Self::Recognise, Self::Renew, Self::Show, Self::End, Self::List, Self::EndAll, Self::Keys];

    /// It by method and path, below `prefix` where no standard says where it is. No vendor may have these.
    pub fn calls(self, prefix: &str) -> impl Iterator<Item = String> {
        let path = self.path(prefix);
        let methods: &[&str] = match self {
            Self::Open | Self::Recognise | Self::Renew => &["POST"],
            Self::Show | Self::List => &["GET"],
            Self::End | Self::EndAll => &["DELETE"],
            Self::Keys => &["GET", "HEAD"],
        };
        methods.iter().map(move |method| format!("{method} {path}"))
    }

    fn path(self, prefix: &str) -> String {
        let below = match self {
            Self::Open => "/bots/{bot}/sessions",
            Self::Recognise => "/sessions/{session}/contact",
            Self::Renew => "/sessions/{session}/renew",
            Self::Show | Self::End => "/sessions/{session}",
            Self::List | Self::EndAll => "/sessions",
            Self::Keys => return "/.well-known/jwks.json".to_owned(),
        };
        format!("{prefix}{below}")
    }

    fn handler(self) -> MethodRouter<Arc<Api>> {
        match self {
            Self::Open => post(native::open),
            Self::Recognise => post(contact::recognise),
            Self::Renew => post(session::renew),
            Self::Show => get(session::show),
            Self::End => delete(session::end),
            Self::List => get(session::list),
            Self::EndAll => delete(session::end_all),
            Self::Keys => get(jwks),
        }
    }
}

impl Api {
    /// What answers the gateway's own calls.
    pub fn router(self: &Arc<Self>, prefix: &str) -> Router {
        let served = |router: Router<Arc<Self>>, own: Own| router.route(&own.path(prefix), own.handler());
        Own::ALL.into_iter().fold(Router::new(), served).with_state(Arc::clone(self))
    }
}

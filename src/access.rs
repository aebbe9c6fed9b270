//! Who is calling, and may they.
//!
//! `Credential → Principal → Grant`: a [`Principal`] can only be made by [`Access::identify`] and
//! [`Access::identify_for_renewal`] out of a credential that was checked, a [`CallGrant`] or [`MintGrant`] only here out of a
//! principal. What lies behind (the proxy, the session call) takes a grant, so that forgetting a check does not compile. An
//! [`Operator`] is proven by the admin listener alone and has grants of its own. All that is decided here is decided anew at
//! each call against the present configuration; only the token's signature and binding are remembered.

mod call;
mod contact;
mod credential;
mod hold;
mod mint;
mod operator;
mod revoked;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, header};

pub use self::call::{CallGrant, CallTarget};
pub use self::contact::{Aim, ContactGrant};
pub use self::credential::{BEARER_PROTOCOL, Credential, offered};
pub use self::hold::{HoldGrant, RenewGrant};
pub use self::mint::{MintGrant, Minter};
pub use self::operator::Operator;
use self::revoked::Holder;
pub use self::revoked::{Over, Renewed, Revoked, Watch};
use crate::bot::{Bot, Client, Directory, Origin};
use crate::clock::Clock;
use crate::document::Rate;
use crate::fault::{Code, Fault};
use crate::limit::{Key, Kind, Limiter};
use crate::net::Neighbourhood;
use crate::telemetry::traces::Span;
use crate::token::{Authority, Refusal, Verified};

/// Who is calling. Only this module makes one.
#[derive(Debug)]
pub struct Principal(Proven);

impl Principal {
    /// What is proven of it.
    pub fn proven(&self) -> &Proven {
        &self.0
    }
}

/// What a credential proves; but for a page's origin, which is a browser's word.
#[derive(Debug)]
pub enum Proven {
    /// A session token's bearer.
    Session(Arc<Verified>),
    /// A client of ours.
    Client(Arc<Client>),
    /// A page of this origin, without any credential.
    Page(Origin),
    /// Nobody we know.
    Anonymous,
}

/// What of a request says where it comes from.
#[derive(Debug)]
pub struct Caller {
    /// The address it came from.
    pub address: IpAddr,
    /// The page it came from, if a browser says so.
    pub origin: Option<Origin>,
    /// Whether the browser says that the page is the gateway's own.
    pub is_same_origin: bool,
    /// The span of the request.
    pub span: Span,
}

impl Caller {
    /// Reads the headers. An `Origin` that is none (`null`) counts as a foreign one, not as absent.
    ///
    /// # Errors
    ///
    /// Several `Origin` headers, or one that is no origin.
    pub fn new(address: IpAddr, headers: &HeaderMap) -> Result<Self, Fault> {
        let mut values = headers.get_all(header::ORIGIN).iter();
        let origin = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => match Origin::parse(value) {
                Some(origin) => Some(origin),
                None => {
                    return Err(Fault::new(
                        Code::OriginNotAllowed,
                        "the Origin header names no page that could be allowed",
                    ));
                }
            },
            (Some(_), Some(_)) => return Err(Fault::new(Code::BadRequest, "the request has two Origin headers")),
        };
        let is_same_origin = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
        Ok(Self { address, origin, is_same_origin, span: Span::default() })
    }
}

/// Checks credentials.
#[derive(Debug)]
pub struct Access {
    /// Our own tokens.
    pub authority: Arc<Authority>,
    /// Bots and clients.
    pub directory: Arc<Directory>,
    /// What counts failed credentials.
    pub limiter: Arc<Limiter>,
    /// The time.
    pub clock: Clock,
    /// The gateway's own origin: that of pages which it serves itself.
    pub own_origin: Option<Origin>,
    /// How many failed credentials an address has.
    pub failures: Option<Rate>,
    /// What has ended before its time.
    pub revoked: Arc<Revoked>,
}

impl Access {
    /// Proves a credential.
    ///
    /// # Errors
    ///
    /// A credential that is wrong, or used where it must not be; once an address has sent too many wrong ones, that.
    pub fn identify(&self, credential: Credential<'_>, caller: &Caller) -> Result<Principal, Fault> {
        self.identify_by(credential, caller, Authority::verify)
    }

    /// The same for a renewal: a token may have ended a while ago, where the configuration says so.
    ///
    /// # Errors
    ///
    /// See [`Access::identify`].
    pub fn identify_for_renewal(&self, credential: Credential<'_>, caller: &Caller) -> Result<Principal, Fault> {
        self.identify_by(credential, caller, Authority::verify_for_renewal)
    }

    fn identify_by(
        &self,
        credential: Credential<'_>,
        caller: &Caller,
        verify: fn(&Authority, &str) -> Result<Arc<Verified>, Refusal>,
    ) -> Result<Principal, Fault> {
        let mut part = caller.span.part("verify");
        let proven = self.proven(credential, caller, verify);
        proven.inspect_err(|fault| part.failed(fault.code()))
    }

    fn proven(
        &self,
        credential: Credential<'_>,
        caller: &Caller,
        verify: fn(&Authority, &str) -> Result<Arc<Verified>, Refusal>,
    ) -> Result<Principal, Fault> {
        let failure = match credential {
            Credential::Token(token) => match verify(&self.authority, token) {
                Ok(verified) => return Ok(Principal(Proven::Session(verified))),
                Err(refusal) => Fault::from(refusal),
            },
            Credential::Client(secret) => match self.directory.client(secret) {
                Some(client) => return in_its_place(client, caller),
                None => Fault::new(Code::InvalidClient, "no client has this secret"),
            },
            Credential::None => return Ok(Principal(self.page(caller).map_or(Proven::Anonymous, Proven::Page))),
        };
        // An expired token is no attempt at anything: an open tab would lock its whole network out.
        if failure.code() != Code::TokenExpired {
            self.count_failure(caller.address)?;
        }
        Err(failure)
    }

    /// The page that calls. A browser leaves `Origin` out where a page reads from its own origin: then the page is the
    /// gateway's own.
    pub(super) fn page(&self, caller: &Caller) -> Option<Origin> {
        let own = || self.own_origin.as_ref().filter(|_| caller.is_same_origin);
        caller.origin.as_ref().or_else(own).cloned()
    }

    /// The bot that a session token is for, if there still is one.
    pub fn bot_of(&self, principal: &Principal) -> Option<&Arc<Bot>> {
        match &principal.0 {
            Proven::Session(verified) => self.directory.bot(&verified.session.bot),
            Proven::Client(_) | Proven::Page(_) | Proven::Anonymous => None,
        }
    }

    /// Counted after the check, not before it: a wrong credential from an address must not shut out the right ones
    /// from the same network.
    ///
    /// # Errors
    ///
    /// Too many wrong ones came from there.
    pub fn count_failure(&self, address: IpAddr) -> Result<(), Fault> {
        let Some(rate) = self.failures else { return Ok(()) };
        let key = Key::new(Kind::Failure, 0, Neighbourhood::of(address).bits());
        self.limiter.take(key, rate, self.clock.now()).map_err(|wait| {
            let fault = Fault::new(Code::TooManyFailures, "too many wrong credentials came from this address");
            fault.spent("failures", rate, wait)
        })?;
        Ok(())
    }
}

/// A client's secret has no place in a page: if it comes with an `Origin`, somebody has put it into one.
fn in_its_place(client: &Arc<Client>, caller: &Caller) -> Result<Principal, Fault> {
    if caller.origin.is_some() && !client.is_browser {
        return Err(Fault::new(
            Code::ClientInBrowser,
            "this client credential came from a web page, where every visitor can read it; ask for sessions from your \
             server, or make the bot public",
        ));
    }
    Ok(Principal(Proven::Client(Arc::clone(client))))
}

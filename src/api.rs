//! The gateway's own endpoints, and the session calls of vendors' own clients.
//!
//! Nothing here is on the path of a proxied call, so axum does the work. Both ways of opening a session come together
//! in [`Api::open`]: one set of rules, two shapes.

mod accept;
mod asked;
mod audited;
mod call;
mod contact;
mod members;
mod native;
mod once;
mod own;
mod session;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

pub use self::audited::Told;
pub use self::call::answered;
pub use self::own::Own;
pub use self::session::{LONGEST_PAGE, Listing, moment};
use crate::access::{Access, Caller, HoldGrant, MintGrant, Minter, Principal};
use crate::bot::{Bot, Client};
use crate::clock::Clock;
use crate::document::Rate;
use crate::fault::{Code, Fault, Quota};
use crate::id::digest_number;
use crate::limit::{Key, Kind, Limiter};
use crate::net::Neighbourhood;
use crate::proxy::{Intake, shown_name};
use crate::session::once::Repeats;
use crate::session::{Ledger, Opened, Opener, RawWish, Wish};
use crate::store::Taken;
use crate::telemetry::audit::{Audit, Event, Trace};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Span;

/// The token, on the answers of vendors' session calls.
pub const TOKEN: HeaderName = HeaderName::from_static("keystile-token");
/// The session's id, there.
pub const SESSION: HeaderName = HeaderName::from_static("keystile-session");
/// The token's end in milliseconds since the epoch, there.
pub const EXPIRES_AT: HeaderName = HeaderName::from_static("keystile-expires-at");

/// What callers know the rates of mints as.
const MINT: &str = "mint";
/// What they know the rate of a client as.
const CLIENT: &str = "client";
const TOO_MANY_OF_CLIENT: &str = "this client opened too many sessions";

/// What opens sessions and says what our keys are.
#[derive(Debug)]
pub struct Api {
    /// Who is calling.
    pub access: Arc<Access>,
    /// Opens sessions.
    pub opener: Opener,
    /// Keeps them.
    pub ledger: Arc<Ledger>,
    /// Makes calls once.
    pub repeats: Arc<Repeats>,
    /// What goes on when its caller has left.
    pub tasks: TaskTracker,
    /// Where all that is done to them is put on record.
    pub audit: Arc<Audit>,
    /// Reads bodies.
    pub intake: Intake,
    /// What counts mints.
    pub limiter: Arc<Limiter>,
    /// The time.
    pub clock: Clock,
    /// Counts what is done.
    pub metrics: Arc<Metrics>,
}

/// What is learned of a request while it is handled, for the answer's CORS headers and the record.
#[derive(Debug)]
pub struct Scene {
    /// Which request it is.
    pub trace: Trace,
    /// The bot that it is about.
    pub bot: OnceLock<Arc<Bot>>,
    /// The session that it opened.
    pub session: OnceLock<String>,
    /// What is left of the rate that it counted against.
    pub quota: OnceLock<Quota>,
}

impl Scene {
    /// Of a request of which nothing else is known.
    pub fn new(trace: Trace) -> Self {
        Self { trace, bot: OnceLock::new(), session: OnceLock::new(), quota: OnceLock::new() }
    }

    /// What `other` has learned of the same request.
    pub fn learn(&self, other: &Self) {
        fn learn<T: Clone>(place: &OnceLock<T>, learned: &OnceLock<T>) {
            if let Some(learned) = learned.get() {
                let _first = place.set(learned.clone());
            }
        }
        learn(&self.bot, &other.bot);
        learn(&self.session, &other.session);
        learn(&self.quota, &other.quota);
    }
}

/// A session that is to be opened.
struct Opening {
    grant: MintGrant,
    wish: RawWish,
    /// Where its visitor is, if that is known.
    address: Option<IpAddr>,
    /// Who asks for it.
    event: Event,
    /// The span of the request.
    span: Span,
}

/// A fault on its way through axum: [`served`] takes it out again, for whoever renders it.
#[derive(Clone, Debug)]
pub struct Refused(Arc<parking_lot::Mutex<Option<Fault>>>);

/// What `router` answers.
///
/// # Errors
///
/// What it refused the call for.
pub async fn served(router: Router, request: Request) -> Result<Response, Fault> {
    let mut response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let refused = response.extensions_mut().remove::<Refused>().and_then(|refused| refused.0.lock().take());
    refused.map_or(Ok(response), Err)
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self(Arc::new(parking_lot::Mutex::new(Some(fault))))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

impl Api {
    /// Whether `principal` may open a session of `bot`, and has not opened too many. Asked before the body is read where
    /// that can be: nobody makes us hold more bodies than it may have sessions.
    async fn grant(
        &self,
        bot: &Arc<Bot>,
        principal: Principal,
        caller: &Caller,
        scene: &Scene,
    ) -> Result<MintGrant, Fault> {
        let grant = self.access.may_mint(principal, bot, caller)?;
        self.admit(&grant, caller, scene).await?;
        Ok(grant)
    }

    /// Opens a session as it was granted: the one way to do it.
    async fn open(&self, opening: &Opening) -> Result<(Opened, Wish), Fault> {
        let mut mint = opening.span.part("mint");
        let opened = self.open_within(opening, mint.span()).await;
        if let Err(fault) = &opened {
            mint.failed(fault.code());
        }
        opened
    }

    async fn open_within(&self, opening: &Opening, span: &Span) -> Result<(Opened, Wish), Fault> {
        let Opening { grant, wish, address, event, .. } = opening;
        let wish = wish.checked(grant)?;
        // Its token would be good for nothing here, and the vendor's session would be left behind.
        self.ledger.is_in_force()?;
        // The same for one too many.
        if grant.bot().profile.open.is_some() {
            self.ledger.has_room(grant.bot(), self.opener.vouched(grant, &wish.contact), *address).await?;
        }
        let opened = self.opener.open(grant, &wish, span).await?;
        self.ledger.open(grant.bot(), &opened, *address).await?;
        self.put_opened_on_record(&opened.session, event.clone()).await?;
        Ok((opened, wish))
    }

    /// Limits: an address for browsers, a client for owners, and the bot for all. The narrower comes first, and is told.
    async fn admit(&self, grant: &MintGrant, caller: &Caller, scene: &Scene) -> Result<(), Fault> {
        let bot = grant.bot();
        let of_address = if grant.is_a_browsers() { self.admit_address(bot, caller.address).await? } else { None };
        let of_client = match grant.minter() {
            Minter::Page(_) => None,
            Minter::Owner(client) => self.admit_client(bot, client).await?,
            // Limits are against others.
            Minter::Operator(_) => return Ok(()),
        };
        if let Some(quota) = of_address.or(of_client) {
            let _first = scene.quota.set(quota);
        }
        self.admit_bot(bot)
    }

    fn admit_bot(&self, bot: &Bot) -> Result<(), Fault> {
        self.limiter.admit_bot(bot.number, bot.limits.per_bot, self.clock.now())
    }

    /// A renewal, or a look, counts as a call of its session, and of its bot.
    fn admit_held(&self, grant: &HoldGrant, scene: &Scene) -> Result<(), Fault> {
        let bot = grant.bot();
        let left = self.limiter.admit_session(grant.verified().number, bot.limits.per_session, self.clock.now())?;
        if let Some(quota) = left {
            let _first = scene.quota.set(quota);
        }
        self.admit_bot(bot)
    }

    /// What a client does with sessions counts for the client: neither the visitors nor other clients pay for it.
    fn admit_call_of(&self, client: &Client, scene: &Scene) -> Result<(), Fault> {
        let Some(rate) = client.per_client else { return Ok(()) };
        let key = Key::new(Kind::Client, 0, digest_number(client.name.as_bytes()));
        let taken = self.limiter.take(key, rate, self.clock.now());
        let full_in =
            taken.map_err(|wait| Fault::limited("this client makes too many calls").spent(CLIENT, rate, wait))?;
        let _first = scene.quota.set(Quota::left(CLIENT, rate, full_in));
        Ok(())
    }

    /// Whether the limits of a client and of the bot have anything left; nothing is taken. For whoever makes us hold a
    /// body before it can be counted.
    fn may_admit(&self, bot: &Bot, client: &Client) -> Result<(), Fault> {
        let (Some(rate), now) = (bot.limits.per_bot, self.clock.now()) else { return Ok(()) };
        if let Some(wait) = self.limiter.wait(key_of_mints(bot, client), rate, now) {
            return Err(Fault::limited(TOO_MANY_OF_CLIENT).spent(MINT, rate, wait));
        }
        self.limiter.may_admit_bot(bot.number, bot.limits.per_bot, now)
    }

    /// The limit of a client.
    async fn admit_client(&self, bot: &Bot, client: &Client) -> Result<Option<Quota>, Fault> {
        let Some(rate) = bot.limits.per_bot else { return Ok(None) };
        let shared = format!("mint:{}:client:{}", bot.name, client.name);
        let taken = self.take_mint(key_of_mints(bot, client), &shared, rate).await;
        taken.map(Some).map_err(|wait| Fault::limited(TOO_MANY_OF_CLIENT).spent(MINT, rate, wait))
    }

    /// Takes a mint here, and where replicas share their limits, of that which they have together. What is too much for
    /// one is too much for all: a flood costs the store nothing.
    async fn take_mint(&self, key: Key, shared: &str, rate: Rate) -> Result<Quota, Duration> {
        let own = self.limiter.take(key, rate, self.clock.now())?;
        match self.ledger.take(shared, rate).await {
            Some(Taken::Wait(wait)) => {
                self.limiter.learn(key, rate, rate.full_after(wait), self.clock.now());
                Err(wait)
            }
            Some(Taken::Yes(full_in)) => Ok(Quota::left(MINT, rate, full_in)),
            None => Ok(Quota::left(MINT, rate, own)),
        }
    }

    /// The limit of an address: of whoever calls, or of the visitor for whom an owner calls.
    async fn admit_address(&self, bot: &Bot, address: IpAddr) -> Result<Option<Quota>, Fault> {
        let Some(rate) = bot.limits.mint_per_ip else { return Ok(None) };
        let address = Neighbourhood::of(address).bits();
        let key = Key::new(Kind::MintByAddress, bot.number, address);
        let shared = format!("mint:{}:address:{address:x}", bot.name);
        let taken = self.take_mint(key, &shared, rate).await;
        let detail = "too many sessions were opened from this address";
        taken.map(Some).map_err(|wait| Fault::limited(detail).spent(MINT, rate, wait))
    }
}

/// The address of the visitor for whom a session is opened, where it is known: a server's own says nothing.
fn visitor_of(grant: &MintGrant, caller: &Caller) -> Option<IpAddr> {
    grant.is_a_browsers().then_some(caller.address)
}

fn key_of_mints(bot: &Bot, client: &Client) -> Key {
    Key::new(Kind::MintByClient, bot.number, digest_number(client.name.as_bytes()))
}

/// The public keys (RFC 7517), which do not change from one minute to the next.
async fn jwks(State(api): State<Arc<Api>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ];
    (headers, api.opener.authority.jwks()).into_response()
}

/// The headers that say of a new session what a vendor's shape may have no place for.
fn session_headers(opened: &Opened) -> Result<HeaderMap, Fault> {
    let failed =
        |error: header::InvalidHeaderValue| Fault::new(Code::Internal, "the answer could not be made").because(error);
    let mut headers = HeaderMap::new();
    let mut token = HeaderValue::try_from(opened.token.expose()).map_err(failed)?;
    token.set_sensitive(true);
    headers.insert(TOKEN, token);
    headers.insert(SESSION, HeaderValue::try_from(opened.session.id.as_str()).map_err(failed)?);
    headers.insert(EXPIRES_AT, HeaderValue::from(opened.session.expires.millis()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(headers)
}

/// That a body has a member that it should not have.
fn unknown_member(name: &str, known: &[&str]) -> Fault {
    let detail = format!("`{}` is unknown; the body may have {}", shown_name(name), known.join(", "));
    Fault::new(Code::BadRequest, detail)
}

//! What the parts of a proxied call cost, each by itself: see README.md beside this file.

#![expect(clippy::unwrap_used, reason = "a bench that cannot begin fails by panicking")]

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method};
use keystile::access::Credential;
use keystile::clock::{Clock, Timestamp};
use keystile::document::{Problems, Rate};
use keystile::id::{Entropy, RequestId};
use keystile::internal::{self, Needles, Scrubber};
use keystile::limit::{Key, Kind, Limiter};
use keystile::secret::{Secret, sha256};
use keystile::token::{Algorithm, Authority, Binding, Contact, ContactClaims, Session, Settings};
use keystile::vendor::{self, Found, Options, Profile, Table, Values, Variable};
use serde_json::{Value, json};
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const ISSUER: &str = "https://chat.example.com";

/// A gateway's tokens, in a key directory of their own.
struct Tokens {
    authority: Authority,
    _folder: TempDir,
}

impl Tokens {
    fn of(algorithm: Algorithm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            keys: folder.path().join("signing"),
            algorithm,
            default_ttl: Duration::from_secs(3600),
            renew_grace: Duration::ZERO,
            contact: ContactClaims::Claims,
        };
        let authority = Authority::open(&settings, ISSUER, Clock::system(), Entropy::system()).unwrap();
        Self { authority, _folder: folder }
    }

    fn mint(&self) -> String {
        let now = Clock::system().now();
        let session = Session {
            id: Entropy::system().session_id(now),
            bot: "support".to_owned(),
            conversation: "conv-77".to_owned(),
            client: "website".to_owned(),
            subject: "q83vq83vq83vq83vq83vq83vq83vq83vq83vq83vq83".to_owned(),
            origin: Some("https://www.example.com".to_owned()),
            contact: Contact { email: Some("ada@example.com".to_owned()), ..Contact::default() },
            source: None,
            opened: now,
            issued: Timestamp::from_seconds(now.seconds()),
            expires: now.plus(Duration::from_secs(3600)),
        };
        let binding = Binding {
            vendor: "acme".to_owned(),
            profile: "chatbotkit".to_owned(),
            base: [1; 16],
            bot: "bot_1".to_owned(),
            key: [2; 32],
            session: None,
            token: Some(Secret::new("vendor-token-0123456789abcdef")),
            opened_as: None,
            ends: None,
        };
        self.authority.mint(session, &binding).unwrap()
    }
}

/// The values of a call's placeholders.
struct Given;

impl Values for Given {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        match variable {
            Variable::Key => Some(Cow::Owned(json!("sk-real-0123456789abcdef0123456789abcdef"))),
            Variable::Session => Some(Cow::Owned(json!("conv-77"))),
            _ => None,
        }
    }
}

fn profile(routes: usize) -> Profile {
    let mut text = "title = \"Bench\"\n".to_owned();
    for number in 0..routes {
        text += &format!(
            "[[route]]\ncall = \"POST /v1/part{number}/{{session}}/say\"\nset.header = {{ Authorization = \"Bearer {{key}}\" }}\n\
             allow = {{ header = [\"Accept-Language\"], body = \"*\" }}\n"
        );
    }
    let problems = Problems::default();
    let profile = vendor::read("bench", "bench.toml", &text, &Options::default(), &problems);
    let problems = problems.into_sorted();
    assert!(problems.is_empty(), "{problems:?}");
    profile.unwrap()
}

/// The call of a path among this many.
#[divan::bench(args = [1, 100, 1000])]
fn route(bencher: Bencher<'_, '_>, routes: usize) {
    let profile = profile(routes);
    let mut table = Table::default();
    for (number, route) in profile.routes.iter().enumerate() {
        table.insert(&route.call, number).unwrap();
    }
    let path = format!("/v1/part{}/conv-77/say", routes - 1);
    bencher.bench_local(|| matches!(table.find(&Method::POST, black_box(&path)), Found::Call(..)));
}

/// The token out of a request's headers.
#[divan::bench]
fn credential(bencher: Bencher<'_, '_>) {
    let token = Tokens::of(Algorithm::EdDsa).mint();
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap());
    bencher.bench_local(|| Credential::presented(black_box(&headers), None, None, false).is_ok());
}

/// The digest under which all workers find a token.
#[divan::bench]
fn digest(bencher: Bencher<'_, '_>) {
    let token = Tokens::of(Algorithm::EdDsa).mint();
    bencher.counter(BytesCount::of_str(&token)).bench_local(|| sha256(black_box(token.as_bytes())));
}

/// A token that was verified before, one of this many in turn.
#[divan::bench(args = [1, 1000, 50_000])]
fn seen(bencher: Bencher<'_, '_>, tokens: usize) {
    let issuer = Tokens::of(Algorithm::EdDsa);
    let all: Vec<String> = (0..tokens).map(|_| issuer.mint()).collect();
    for token in &all {
        issuer.authority.verify(token).unwrap();
    }
    let mut turn = all.iter().cycle();
    bencher.bench_local(|| issuer.authority.verify(turn.next().unwrap()).is_ok());
}

/// A token that was not.
#[divan::bench(args = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Hs256])]
fn first_sight(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let issuer = Tokens::of(algorithm);
    bencher.with_inputs(|| issuer.mint()).bench_local_refs(|token| issuer.authority.verify(token).is_ok());
}

/// A new token; nothing is stored.
#[divan::bench(args = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Hs256])]
fn mint(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let issuer = Tokens::of(algorithm);
    bencher.bench_local(|| issuer.mint());
}

/// The headers of a browser's call as they go to the vendor.
#[divan::bench]
fn headers(bencher: Bencher<'_, '_>) {
    let profile = profile(1);
    let authority = HeaderValue::from_static("api.example.com");
    let mut from = HeaderMap::new();
    for (name, value) in [
        (HOST, "chat.example.com"),
        (AUTHORIZATION, "Bearer eyJ.e30.c2ln"),
        (CONTENT_TYPE, "application/json"),
        (http::header::ACCEPT, "*/*"),
        (http::header::ACCEPT_LANGUAGE, "en-GB,en;q=0.9"),
        (http::header::ORIGIN, "https://www.example.com"),
        (http::header::REFERER, "https://www.example.com/help"),
        (http::header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    ] {
        from.insert(name, HeaderValue::from_static(value));
    }
    let route = &profile.routes[0];
    bencher.bench_local(|| internal::headers(route, &Given, &authority, None, black_box(&from)).is_ok());
}

/// An answer in which a key and a vendor's token are looked for.
#[divan::bench(args = [200, 16 << 10, 1 << 20])]
fn scrub(bencher: Bencher<'_, '_>, bytes: usize) {
    let secrets = ["sk-real-0123456789abcdef0123456789abcdef", "vendor-token-0123456789abcdef"].map(Secret::new);
    let needles = Needles::of(&secrets);
    let text = br#"{"role":"assistant","content":"Hello, what can I do for you today? "},"#;
    let body = Bytes::from(text.iter().copied().cycle().take(bytes).collect::<Vec<u8>>());
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let mut scrubber = Scrubber::new(&needles);
        (scrubber.push(Bytes::clone(&body)), scrubber.finish())
    });
}

/// One call of a session's rate, one of this many sessions in turn.
#[divan::bench(args = [1, 100_000])]
fn limit(bencher: Bencher<'_, '_>, sessions: u128) {
    let (limiter, rate) = (Limiter::new(1), Rate::new(1_000_000, Duration::from_secs(1)));
    let mut turn = (0..sessions).cycle();
    let now = Clock::system().now();
    bencher.bench_local(|| limiter.take(Key::new(Kind::Session, 0, turn.next().unwrap()), rate, now).is_ok());
}

/// The id of a request.
#[divan::bench]
fn request_id() -> RequestId {
    RequestId::next()
}

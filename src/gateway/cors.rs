//! What a browser is told: CORS (Fetch Standard §3.3) on every answer, preflights answered here.
//!
//! `Access-Control-Allow-Credentials` is never sent: tokens travel in headers, and cookies have no meaning here.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::body::Payload;
use super::routes::Entry;
use crate::bot::Origin;
use crate::vendor::HeaderPattern;

/// Headers of answers that a page may read.
const EXPOSED: &str = "Keystile-Token, Keystile-Session, Keystile-Expires-At, Keystile-Expires-In, Idempotent-Replayed, X-Request-Id, X-Should-Retry, Retry-After, WWW-Authenticate, RateLimit, RateLimit-Policy";
/// Headers that a page may always send.
const ALWAYS_ALLOWED: &str = "authorization, content-type, accept, accept-language, x-timezone";
/// More headers are not named to a preflight.
const MOST_ASKED: usize = 32;
/// How long a browser may remember a preflight, in seconds. Chromium takes no more than two hours.
const MAX_AGE: &str = "7200";

/// The page that a request came from, as far as CORS needs it.
#[derive(Debug)]
pub(super) struct Cors {
    origin: Option<Origin>,
    asks: bool,
}

impl Cors {
    /// Reads the headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let origin = headers.get(header::ORIGIN).and_then(Origin::parse);
        // Also of a page that is nobody's (`null`): it is told no more than that.
        let asks = headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        Self { origin, asks }
    }

    /// The page's origin.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Whether the browser only asks what it may send.
    pub(super) fn is_preflight(&self, method: &Method) -> bool {
        self.asks && *method == Method::OPTIONS
    }

    /// The answer to a preflight. A page that is not allowed learns nothing but that.
    pub(super) fn preflight(&self, entry: Option<&Entry>, asked: &HeaderMap, is_allowed: bool) -> Response<Payload> {
        let mut response = Response::new(Payload::Whole(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(
            header::VARY,
            HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers"),
        );
        if let Some(origin) = self.origin.as_ref().filter(|_| is_allowed) {
            let mut allowed = ALWAYS_ALLOWED.to_owned();
            for name in entry.into_iter().flat_map(|entry| &entry.headers).filter(|name| *name != "x-timezone") {
                allowed.push_str(", ");
                allowed.push_str(name);
            }
            for name in entry.into_iter().flat_map(|entry| matching(&entry.patterns, asked)) {
                allowed.push_str(", ");
                allowed.push_str(name.as_str());
            }
            let methods = entry.map_or(Method::POST, |entry| entry.method.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.header().clone());
            set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, methods.as_str());
            set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, &allowed);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        }
        response
    }

    /// Whether this answer says already what the page may do: a preflight's does.
    pub(super) fn is_answered(response: &Response<Payload>) -> bool {
        response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    }

    /// Lets the page read the answer, if it may.
    pub(super) fn allow(&self, headers: &mut HeaderMap, is_allowed: bool) {
        if let Some(origin) = self.origin.as_ref().filter(|_| is_allowed) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.header().clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }
}

/// The headers that a preflight asks for and that begin as the route declares: only those are named, as `*` does not
/// mean `Authorization`.
fn matching<'a>(patterns: &'a [HeaderPattern], asked: &'a HeaderMap) -> impl Iterator<Item = HeaderName> + 'a {
    let lists = asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|list| list.to_str().ok());
    let names = lists.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok());
    names.filter(|name| patterns.iter().any(|pattern| pattern.names(name))).take(MOST_ASKED)
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, text: &str) {
    // Methods and header names are always a header's value.
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// The method that a preflight asks for.
pub(super) fn wanted_method(headers: &HeaderMap) -> Option<Method> {
    let value = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(value.as_bytes()).ok()
}

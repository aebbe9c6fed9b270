//! Which call is at which host and path: the gateway's own, vendors' session calls, conversation calls.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::Method;

use super::once;
use crate::api::Own;
use crate::bot::{Directory, Mount, Vendor, VendorSettings};
use crate::fault::{Code, Fault};
use crate::session::once::IDEMPOTENCY_KEY;
use crate::telemetry::metrics::{self, Metrics};
use crate::vendor::{self, Accept, Captures, Found, HeaderPattern, Pattern, Profile, Table};

/// What a call is.
#[derive(Debug)]
pub(crate) enum Endpoint {
    /// One of the gateway's own.
    Own(Own),
    /// The demo's page.
    Page,
    /// The session call of a vendor's own clients.
    SessionCall(Arc<Vendor>),
    /// A conversation call: the number of its route in the vendor's profile.
    Route(Arc<Vendor>, usize),
}

impl Endpoint {
    /// Whose paths it is on, and whose shape its errors take.
    pub(crate) fn vendor(&self) -> Option<&Arc<Vendor>> {
        match self {
            Self::Own(_) | Self::Page => None,
            Self::SessionCall(vendor) | Self::Route(vendor, _) => Some(vendor),
        }
    }
}

/// One call of the table.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) endpoint: Endpoint,
    /// Its template, for records.
    pub(crate) label: Arc<str>,
    /// Under which it is counted.
    pub(super) counted: metrics::Route,
    /// Its method, for preflights.
    pub(super) method: Method,
    /// Headers that it declares, for preflights.
    pub(super) headers: Vec<String>,
    /// The beginnings of headers that it declares.
    pub(super) patterns: Vec<HeaderPattern>,
}

/// A call that was found.
pub(crate) struct Place<'r> {
    pub(crate) entry: &'r Entry,
    pub(crate) captures: Captures,
}

/// That there is no call, and on whose paths it would be: errors take that vendor's shape.
pub(crate) struct Missing<'r> {
    pub(crate) fault: Fault,
    pub(crate) vendor: Option<&'r Arc<Vendor>>,
}

impl From<Fault> for Missing<'_> {
    fn from(fault: Fault) -> Self {
        Self { fault, vendor: None }
    }
}

/// All calls.
#[derive(Debug)]
pub(crate) struct Routes {
    any: Table<Entry>,
    hosts: HashMap<String, Table<Entry>>,
}

/// Two calls for one host, method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    /// The call that came second.
    pub call: String,
    /// Whose the first is.
    pub with: String,
}

impl fmt::Display for Clash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, with } = self;
        write!(
            formatter,
            "`{call}` is also {with}: one request would match both; give one of them a prefix (mount = \"/name\") or a \
             host of its own (mount = {{ host = \"…\" }})"
        )
    }
}

/// The calls of a profile below its mount.
fn calls_of(profile: &Profile, mount: &Mount) -> Vec<(Pattern, Option<usize>)> {
    let prefix = match mount {
        Mount::Prefix(prefix) => prefix.as_str(),
        Mount::Host(_) => "/",
    };
    let accept = profile.accept.iter().map(|accept| (accept.call.below(prefix), None));
    let routes = profile.routes.iter().enumerate().map(|(at, route)| (route.call.below(prefix), Some(at)));
    accept.chain(routes).collect()
}

/// The calls of `vendors` that clash, with each other or with the gateway's own below `prefix`.
pub(crate) fn clashes(vendors: &[VendorSettings], prefix: &str) -> Vec<(usize, Clash)> {
    let own = |table: &mut Table<String>| {
        for call in Own::ALL.into_iter().flat_map(|own| own.calls(prefix)) {
            if let Ok(pattern) = Pattern::parse(&call) {
                // The gateway's own calls differ from each other.
                let _inserted = table.insert(&pattern, "the gateway's own".to_owned());
            }
        }
    };
    let mut any = Table::default();
    own(&mut any);
    let mut hosts: HashMap<&str, Table<String>> = HashMap::new();
    let mut found = Vec::new();
    for (index, vendor) in vendors.iter().enumerate() {
        let table = match &vendor.mount {
            Mount::Prefix(_) => &mut any,
            Mount::Host(host) => hosts.entry(host).or_insert_with(|| {
                let mut table = Table::default();
                own(&mut table);
                table
            }),
        };
        for (pattern, _) in calls_of(&vendor.profile, &vendor.mount) {
            if let Err(with) = table.insert(&pattern, format!("of vendors.{}", vendor.name)) {
                found.push((index, Clash { call: pattern.as_str().to_owned(), with: with.clone() }));
            }
        }
    }
    found
}

impl Routes {
    /// The table of a directory whose calls do not clash; `metrics` count them.
    pub(crate) fn new(directory: &Directory, prefix: &str, has_page: bool, metrics: &Metrics) -> Self {
        let table = || {
            let mut table = Table::default();
            let mut insert = |call: &str, endpoint: Endpoint, opens: bool| {
                if let Ok(pattern) = Pattern::parse(call) {
                    let entry = Entry {
                        endpoint,
                        label: call.into(),
                        counted: metrics.route(call, opens),
                        method: pattern.method.clone(),
                        headers: opens.then(|| IDEMPOTENCY_KEY.to_string()).into_iter().collect(),
                        patterns: Vec::new(),
                    };
                    let _clash_free = table.insert(&pattern, entry).is_ok();
                }
            };
            for own in Own::ALL {
                own.calls(prefix).for_each(|call| insert(&call, Endpoint::Own(own), own == Own::Open));
            }
            if has_page {
                insert("GET /", Endpoint::Page, false);
            }
            table
        };
        let (mut any, mut hosts) = (table(), HashMap::new());
        for (vendor, mount) in directory.vendors() {
            let target = match mount {
                Mount::Prefix(_) => &mut any,
                Mount::Host(host) => hosts.entry(host.clone()).or_insert_with(table),
            };
            for (pattern, route) in calls_of(&vendor.profile, mount) {
                // Settings with a clash are refused before they come here.
                let _clash_free = target.insert(&pattern, entry(vendor, &pattern, route, metrics)).is_ok();
            }
        }
        Self { any, hosts }
    }

    /// The call at this place; a path that could be read in two ways is none.
    pub(crate) fn find(&self, host: &str, method: &Method, path: &str) -> Result<Place<'_>, Missing<'_>> {
        vendor::check(path).map_err(|error| Fault::new(Code::AmbiguousPath, error.to_string()))?;
        let table = if self.hosts.is_empty() {
            &self.any
        } else {
            self.hosts.get(host.to_ascii_lowercase().as_str()).unwrap_or(&self.any)
        };
        match table.find(method, path) {
            Found::Call(entry, captures) => Ok(Place { entry, captures }),
            Found::Nothing => Err(Fault::new(Code::NotFound, "there is no such call").into()),
            Found::OtherMethods(calls) => {
                let names = calls.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ");
                let vendor = calls.iter().find_map(|(_, entry)| entry.endpoint.vendor());
                Err(Missing { fault: Fault::new(Code::MethodNotAllowed, names), vendor })
            }
        }
    }
}

fn entry(vendor: &Arc<Vendor>, pattern: &Pattern, route: Option<usize>, metrics: &Metrics) -> Entry {
    let declared = route.and_then(|at| vendor.profile.routes.get(at)).and_then(|route| route.allow.header.as_ref());
    let patterns = declared.into_iter().flatten().filter(|header| header.exact().is_none()).cloned().collect();
    let declared = declared.into_iter().flatten().filter_map(|header| header.exact()).map(str::to_owned);
    // Where the vendor's own clients put their key, and at the session call what else they say in headers.
    let accept = vendor.profile.accept.as_ref();
    let asked = accept.filter(|_| route.is_none()).into_iter().flat_map(Accept::headers);
    let keys = accept.and_then(|accept| accept.credential.header());
    let mut headers: Vec<String> = declared.chain(asked.chain(keys).map(|name| name.as_str().to_owned())).collect();
    headers.retain(|name| name != "authorization");
    headers.extend((route.is_none() || once::matters(&pattern.method)).then(|| IDEMPOTENCY_KEY.to_string()));
    headers.sort();
    headers.dedup();
    let endpoint = match route {
        Some(at) => Endpoint::Route(Arc::clone(vendor), at),
        None => Endpoint::SessionCall(Arc::clone(vendor)),
    };
    let counted = metrics.route(pattern.as_str(), route.is_none());
    Entry { endpoint, label: pattern.as_str().into(), counted, method: pattern.method.clone(), headers, patterns }
}

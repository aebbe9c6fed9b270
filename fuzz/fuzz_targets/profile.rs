//! Profiles: any text is either a profile or problems with their lines, and a profile's calls can be made.

#![no_main]

use keystile::document::Problems;
use keystile::internal;
use keystile::vendor::{self, Found, Profile, Route, Segment, Table};
use keystile_fuzz::Given;
use libfuzzer_sys::fuzz_target;

const FILE: &str = "fuzz.toml";

fuzz_target!(|text: &str| {
    let problems = Problems::default();
    let profile = vendor::read("fuzz", FILE, text, &vendor::Options::default(), &problems);
    let problems = problems.into_sorted();
    let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    for problem in &problems {
        assert!((1..=lines).contains(&problem.line), "{problem:?} is not on one of {lines} lines");
    }
    match profile {
        Some(profile) if problems.is_empty() => judge(&profile),
        Some(_) => {}
        None => assert!(!problems.is_empty(), "refused without a reason"),
    }
});

/// What was taken works: each route is found by its own path, and its call towards the vendor can be made.
fn judge(profile: &Profile) {
    let mut table = Table::default();
    for (index, route) in profile.routes.iter().enumerate() {
        // Two routes for one call are the configuration's problem, which knows all vendors.
        if table.insert(&route.call, index).is_ok() {
            let path = sample(route);
            let found = table.find(&route.call.method, &path);
            assert!(matches!(found, Found::Call(call, _) if *call == index), "{path} is not {}", route.call.as_str());
        }
        call(route);
    }
    if let Some(error) = &profile.error {
        let filled = error.fill(http::StatusCode::NOT_FOUND, "code", "message");
        assert!(!filled.to_string().contains("{message}"));
    }
}

/// A path that the route is for.
fn sample(route: &Route) -> String {
    let segments = route.call.segments.iter().map(|segment| match segment {
        Segment::Literal(literal) => literal.as_str(),
        // No profile has it as a literal, at least not by chance.
        Segment::Bot | Segment::Session | Segment::Free(_) => "v~v-v.v_v",
    });
    segments.fold(String::new(), |path, segment| path + "/" + segment)
}

/// With a value for every placeholder that a call can have, the call is made; nothing is left to fail at the first
/// visitor.
fn call(route: &Route) {
    let segments = route.call.free().into_iter().map(|name| (name, "value")).collect();
    let values = Given { session: Some("session"), segments };
    let is_filled =
        route.target.variables().all(|variable| keystile::vendor::Values::text(&values, variable).is_some());
    if is_filled {
        let uri = internal::uri(route, &values, "", None).expect("the target can be made");
        assert!(uri.path().starts_with('/') && !uri.path().contains("//"), "{uri}");
    }
    let host = http::HeaderValue::from_static("vendor");
    internal::headers(route, &values, &host, None, &http::HeaderMap::new()).expect("the headers can be made");
    if route.rewrites_body() {
        internal::body(route, &values, b"{}").expect("the body can be made");
    }
}

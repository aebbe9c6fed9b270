//! A call's target: any path and query either is refused, or becomes the route's own path and the query that the route
//! names.
//!
//! An input is three lines: method and path, query, and the vendor's id of the session.

#![no_main]

use std::sync::LazyLock;

use http::Method;
use keystile::internal;
use keystile::vendor::{Found, Query, Route, Segment, Table, check, is_value};
use keystile_fuzz::{Given, KEY, PROFILE};
use libfuzzer_sys::fuzz_target;

/// The paths towards the vendor, as `routes.toml` has them: what is in braces is a value, the rest stands as it is.
const TARGETS: [&str; 7] = [
    "/chat",
    "/api/v2/bots/{bot}/sessions/{session}/say",
    "/m/{mid}/{part}/of-{session}.json",
    "/v1:list/{thing};v={bot}/~all",
    "/sessions/new",
    "/",
    "/files/{session}.{file}",
];

const PREFIX: &str = "/base";

static TABLE: LazyLock<Table<usize>> = LazyLock::new(|| {
    let mut table = Table::default();
    for (index, route) in PROFILE.routes.iter().enumerate() {
        table.insert(&route.call, index).expect("no two routes are for one call");
    }
    table
});

fuzz_target!(|input: &str| {
    let mut lines = input.splitn(3, '\n');
    let (call, query) = (lines.next().unwrap_or_default(), lines.next());
    let session = lines.next();
    let (method, path) = call.split_once(' ').unwrap_or(("GET", call));
    if check(path).is_err() {
        return;
    }
    has_one_reading(path);
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let Found::Call(index, captures) = TABLE.find(&method, path) else { return };
    let (route, target) = (&PROFILE.routes[*index], TARGETS[*index]);
    let values: Vec<&str> = captures.of(path).collect();
    is_the_routes(route, path, &values);

    let segments = route.call.segments.iter().filter(|segment| !matches!(segment, Segment::Literal(_)));
    let named = segments.zip(&values).filter_map(|(segment, value)| match segment {
        Segment::Free(name) => Some((name.as_str(), *value)),
        _ => None,
    });
    let given = Given { session, segments: named.collect() };
    let Ok(uri) = internal::uri(route, &given, PREFIX, query) else { return };
    let path = uri.path().strip_prefix(PREFIX).expect("below the prefix");
    is_built_from(target, path, &given);
    query_is_ours(route, query.unwrap_or_default(), uri.query().unwrap_or_default(), &given);
});

/// A path that is let in is plain: nothing in it is decoded, skipped or resolved by anybody.
fn has_one_reading(path: &str) {
    let mut segments = path.split('/');
    assert_eq!(segments.next(), Some(""), "{path}");
    let segments: Vec<&str> = segments.collect();
    let (last, above) = segments.split_last().expect("a slash");
    assert!(above.iter().all(|segment| !segment.is_empty()), "{path}");
    assert!(segments.iter().all(|segment| !matches!(*segment, "." | "..")), "{path} {last}");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"%\\?#\"<>^`{|}[]".contains(&byte)), "{path}");
}

/// What was found is what a reader of the profile would find.
fn is_the_routes(route: &Route, path: &str, values: &[&str]) {
    let mut values = values.iter();
    let mut built = String::new();
    for segment in &route.call.segments {
        built.push('/');
        built.push_str(match segment {
            Segment::Literal(literal) => literal,
            _ => values.next().filter(|value| is_value(value)).expect("a plain value for each placeholder"),
        });
    }
    assert_eq!((built.as_str(), values.next()), (path, None));
    for (at, part) in path.split('/').skip(1).enumerate() {
        let is_value = !matches!(route.call.segments[at], Segment::Literal(_));
        assert!(!is_value || !is_literal(route, at, part), "{part} is a literal there: {path}");
    }
}

/// Whether a route that goes the same way has this literal at this place.
fn is_literal(route: &Route, at: usize, part: &str) -> bool {
    let is_alike = |(left, right): (&Segment, &Segment)| match (left, right) {
        (Segment::Literal(left), Segment::Literal(right)) => left == right,
        (Segment::Literal(_), _) | (_, Segment::Literal(_)) => false,
        _ => true,
    };
    PROFILE.routes.iter().map(|other| &other.call.segments).any(|other| {
        let literal = matches!(other.get(at), Some(Segment::Literal(literal)) if literal.eq_ignore_ascii_case(part));
        literal && route.call.segments[..at].iter().zip(other).all(is_alike)
    })
}

/// The path has the template's segments, with its literals untouched and each value inside its own segment.
fn is_built_from(template: &str, path: &str, given: &Given<'_>) {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    assert_eq!(template.len(), path.len(), "{template:?} {path:?}");
    for (template, segment) in template.iter().zip(&path) {
        let mut expected = (*template).to_owned();
        let session = [("session", given.session.unwrap_or_default()), ("bot", "1234")];
        for (name, value) in given.segments.iter().chain(&session) {
            // Once escaped, no value holds a brace.
            expected = expected.replace(&format!("{{{name}}}"), &escaped(value));
        }
        assert_eq!(expected, *segment);
        assert!(!matches!(decoded(segment).as_slice(), b"." | b".."), "{path:?}");
    }
}

/// As RFC 3986 writes data: unreserved characters as they are, all other bytes as escapes.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().as_bytes().to_vec();
    parts.fold(first, |mut out, part| {
        out.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        out.extend_from_slice(&part.as_bytes()[2..]);
        out
    })
}

/// Read by another parser, the query is what the route allows of the client's, and then what it sets; in order.
fn query_is_ours(route: &Route, client: &str, ours: &str, given: &Given<'_>) {
    let set: Vec<(&str, Option<String>)> =
        route.set.query.iter().map(|(name, template)| (name.as_str(), template.fill(given))).collect();
    let is_set = |name: &str| set.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let is_stripped = |name: &str| route.strip.query.iter().any(|known| known.eq_ignore_ascii_case(name));
    let passes = |query: &Query, name: &str| match query {
        Query::All => true,
        Query::Named(names) => names.iter().any(|allowed| allowed == name),
    };
    let mut expected: Vec<(String, String)> = form_urlencoded::parse(client.as_bytes())
        .filter(|(name, _)| passes(&route.allow.query, name) && !is_set(name) && !is_stripped(name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let unique: std::collections::BTreeSet<String> = expected.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(unique.len(), expected.len(), "a parameter twice: {client}");
    expected.extend(set.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?))));
    let read: Vec<(String, String)> =
        form_urlencoded::parse(ours.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    assert_eq!(read, expected, "{client} became {ours}");
    assert!(client.contains(KEY) || ours.matches(KEY).count() <= set.len(), "{ours}");
}

//! JSON bodies: any bytes are either refused, or become one object in which what the profile sets, strips or does not
//! allow cannot be said by a client, and all else is as it came.
//!
//! The first byte of an input picks the route.

#![no_main]

use std::collections::BTreeSet;

use keystile::internal;
use keystile::vendor::Route;
use keystile_fuzz::{Given, PROFILE, is_alike, members};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// As many levels are let through.
const DEEPEST: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let routes: Vec<&Route> = PROFILE.routes.iter().filter(|route| route.rewrites_body()).collect();
    let route = routes[usize::from(*first) % routes.len()];
    let given = Given { session: (first & 0x80 == 0).then_some("session"), segments: Vec::new() };
    let client = if body.is_empty() { Some(Vec::new()) } else { members(body) };
    let out = internal::body(route, &given, body);
    let (Ok(out), Some(client)) = (&out, &client) else {
        let is_ours_to_take = client.as_ref().is_some_and(|members| {
            let names: BTreeSet<&String> = members.iter().map(|(name, _)| name).collect();
            names.len() == members.len() && depth(body) <= DEEPEST
        });
        assert!(!is_ours_to_take, "a good body was refused: {out:?}");
        assert!(out.is_err(), "another parser refuses what was taken");
        return;
    };
    judge(route, &given, client, out);
    assert!(depth(out) <= DEEPEST.max(4), "too deep");
    // What was rewritten once is not changed by a second gateway on the way.
    if route.allow.body.is_none() {
        assert_eq!(internal::body(route, &given, out).expect("our own is taken"), out);
    }
});

fn judge(route: &Route, given: &Given<'_>, client: &[(String, String)], out: &[u8]) {
    let out = members(out).expect("what goes out is JSON");
    let names: BTreeSet<&String> = out.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), out.len(), "a name twice");

    let set: Vec<(&str, Value)> =
        route.set.body.iter().filter_map(|(name, shape)| Some((name.as_str(), shape.fill(given)?))).collect();
    let (passed, ours) = out.split_at(out.len().checked_sub(set.len()).expect("all that is set is there"));
    for ((name, value), (known, wanted)) in ours.iter().zip(&set) {
        assert_eq!((name.as_str(), value), (*known, &wanted.to_string()), "what is set stands last, in its order");
    }
    let reserved: Vec<&str> = route
        .set
        .body
        .iter()
        .map(|(name, _)| name.as_str())
        .chain(route.strip.body.iter().map(String::as_str))
        .collect();
    let is_reserved = |name: &str| reserved.iter().any(|known| is_alike(known, name));
    let is_allowed = |name: &String| route.allow.body.as_ref().is_none_or(|allowed| allowed.contains(name));
    for (name, _) in passed {
        assert!(!is_reserved(name), "{name:?} of the client's passed");
        assert!(is_allowed(name), "{name:?} is not allowed");
    }
    let expected: Vec<&(String, String)> =
        client.iter().filter(|(name, _)| !is_reserved(name) && is_allowed(name)).collect();
    assert_eq!(passed.iter().collect::<Vec<_>>(), expected, "what passes keeps its order and its bytes");
}

/// How deep arrays and objects stand in each other, in what is JSON.
fn depth(body: &[u8]) -> usize {
    let (mut now, mut most, mut is_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in body {
        match (byte, is_text) {
            _ if is_escaped => is_escaped = false,
            (b'\\', true) => is_escaped = true,
            (b'"', _) => is_text = !is_text,
            (b'{' | b'[', false) => now += 1,
            (b'}' | b']', false) => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

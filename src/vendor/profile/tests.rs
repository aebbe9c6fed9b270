//! Paths towards the vendor.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::Value;

use super::super::path::check;
use super::*;
use crate::document::Problems;

struct Two<'v> {
    session: &'v str,
    mid: &'v str,
}

impl Values for Two<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        match variable {
            Variable::Session => Some(Cow::Owned(self.session.into())),
            Variable::Segment(_) => Some(Cow::Owned(self.mid.into())),
            _ => None,
        }
    }
}

fn target(to: &str) -> Target {
    let text = format!("title = \"T\"\n[[route]]\ncall = \"GET /{{session}}/{{mid}}\"\nto = \"{to}\"\n");
    let problems = Problems::default();
    let profile =
        crate::vendor::read("test", "test.toml", &text, &crate::vendor::Options::default(), &problems).unwrap();
    assert!(problems.is_empty(), "{:?}", problems.into_sorted());
    profile.routes.into_iter().next().unwrap().target
}

fn path(to: &str, session: &str, mid: &str) -> Option<String> {
    target(to).path(&Two { session, mid })
}

#[test]
fn the_literals_of_a_path_stand_as_they_are_and_its_values_are_escaped() {
    assert_eq!(path("/v1:list/{mid};v={session}", "1/2", "a").as_deref(), Some("/v1:list/a;v=1%2F2"));
    assert_eq!(path("/a,b/@me/{mid}:send", "", "a~b").as_deref(), Some("/a,b/@me/a~b:send"));
    assert_eq!(path("/{session}/{mid}/", "s", "m").as_deref(), Some("/s/m/"));
}

#[test]
fn a_value_never_makes_a_segment_vanish_or_climb() {
    for (session, mid) in [("", "m"), (".", "m"), ("..", "m"), ("s", "..")] {
        assert_eq!(path("/chat/{session}/{mid}", session, mid), None, "{session} {mid}");
    }
    assert_eq!(path("/.{session}", ".", ""), None);
    assert_eq!(path("/chat/{session}", "../x", "").as_deref(), Some("/chat/..%2Fx"));
}

/// A segment of a template: a literal, a value, or both.
fn segment() -> impl Strategy<Value = String> {
    let literal = "[a-zA-Z0-9_~!$&'()*+,;=:@-][a-zA-Z0-9._~!$&'()*+,;=:@-]{0,4}";
    prop_oneof![
        literal,
        Just("{session}".to_owned()),
        Just("{mid}".to_owned()),
        (literal, literal).prop_map(|(before, behind)| format!("{before}{{mid}}{behind}")),
        Just("{session}.{mid}".to_owned()),
    ]
}

fn unescaped(segment: &str) -> Vec<u8> {
    let mut parts = segment.split('%');
    let first = parts.next().unwrap().as_bytes().to_vec();
    parts.fold(first, |mut out, part| {
        out.push(u8::from_str_radix(&part[..2], 16).unwrap());
        out.extend_from_slice(&part.as_bytes()[2..]);
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_path_has_its_templates_segments_whatever_the_values(
        segments in prop::collection::vec(segment(), 1..5),
        session in prop_oneof![any::<String>(), "[./%\\\\?#]{0,4}", "[a-zA-Z0-9._~-]{1,8}"],
        mid in "[a-zA-Z0-9._~-]{1,8}",
    ) {
        let template = format!("/{}", segments.join("/"));
        let filled: Vec<String> =
            segments.iter().map(|text| text.replace("{mid}", &mid).replace("{session}", &session)).collect();
        let is_lost = |segment: &String| matches!(segment.as_str(), "" | "." | "..");
        let Some(path) = path(&template, &session, &mid) else {
            prop_assert!(filled.iter().any(is_lost), "{} had values", template);
            return Ok(());
        };
        // With the escapes that only we write, it is as plain as a path that is let in.
        prop_assert_eq!(check(&path.replace('%', "")), Ok(()));
        let got: Vec<Vec<u8>> = path[1..].split('/').map(unescaped).collect();
        let wanted: Vec<Vec<u8>> = filled.iter().map(|segment| segment.as_bytes().to_vec()).collect();
        prop_assert_eq!(got, wanted);
        prop_assert!(!filled.iter().any(is_lost));
    }

    /// What a client's path can be: judged here segment by segment, there byte by byte.
    #[test]
    fn a_path_that_is_let_in_has_one_reading(path in "/?[a-c./%\\\\?#;:@\u{e9}\0-]{0,12}") {
        let plain = |segment: &str| {
            !matches!(segment, "." | "..") && segment.bytes().all(|byte| b"abc.;:@-".contains(&byte))
        };
        let expected = path.strip_prefix('/').is_some_and(|rest| {
            let segments: Vec<&str> = rest.split('/').collect();
            let (last, above) = segments.split_last().unwrap();
            above.iter().all(|segment| !segment.is_empty() && plain(segment)) && plain(last)
        });
        prop_assert_eq!(check(&path).is_ok(), expected, "{}", path);
    }
}

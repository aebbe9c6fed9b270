//! Tests of the scrubber, against the plainest way to do the same.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

const KEY: &str = "sk-live-0123456789abcdef";

fn needles(secrets: &[&str]) -> Arc<Needles> {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
    Arc::new(Needles::of(&secrets))
}

fn scrubber(secrets: &[&str]) -> Scrubber {
    Scrubber::new([Some(needles(secrets)), None])
}

fn push(scrubber: &mut Scrubber, chunk: &str) -> String {
    String::from_utf8(scrubber.push(Bytes::copy_from_slice(chunk.as_bytes())).to_vec()).unwrap()
}

#[test]
fn a_clean_chunk_passes_without_a_copy() {
    let mut scrubber = scrubber(&[KEY]);
    let chunk = Bytes::from_static(b"{\"answer\":\"hello\"}");
    assert_eq!(scrubber.push(chunk.clone()).as_ptr(), chunk.as_ptr());

    let partial = Bytes::from_static(b"{\"answer\":\"a sk-");
    let out = scrubber.push(partial.clone());
    assert_eq!((out.as_ptr(), &*out), (partial.as_ptr(), &b"{\"answer\":\"a "[..]));
}

#[test]
fn a_secret_is_masked_wherever_it_is_cut() {
    let body = format!("before {KEY} after");
    for cut in 0..=body.len() {
        let mut scrubber = scrubber(&[KEY]);
        let mut out = push(&mut scrubber, &body[..cut]);
        out += &push(&mut scrubber, &body[cut..]);
        assert_eq!(out, format!("before {} after", "*".repeat(KEY.len())), "cut at {cut}");
        assert!(!scrubber.is_holding());
        assert_eq!((scrubber.finish().len(), scrubber.hits()), (0, 1));
    }
}

#[test]
fn both_sets_of_needles_are_searched() {
    let token = "vendor-token-0123456789";
    let mut scrubber = Scrubber::new([Some(needles(&[KEY])), Some(needles(&[token]))]);
    assert_eq!(push(&mut scrubber, &format!("{token},{KEY}.")), format!("{},{}.", "*".repeat(23), "*".repeat(24)));
    assert_eq!(scrubber.hits(), 2);
}

#[test]
fn a_partial_match_at_the_end_is_no_secret() {
    let mut scrubber = scrubber(&[KEY]);
    assert_eq!(push(&mut scrubber, "x sk-live-0123456789"), "x ");
    assert!(scrubber.is_holding());
    assert_eq!(&*scrubber.finish(), b"sk-live-0123456789");
    assert!(!scrubber.is_holding());
}

#[test]
fn a_pause_sends_a_short_partial_match_and_remembers_it() {
    let mut scrubber = scrubber(&[KEY]);
    assert_eq!(push(&mut scrubber, "sk-liv"), "");
    assert!(scrubber.is_releasable());
    assert_eq!(&*scrubber.release(), b"sk-liv");
    assert!(!scrubber.is_holding());
    assert_eq!(push(&mut scrubber, &KEY[6..]), "*".repeat(KEY.len() - 6));
    assert_eq!(scrubber.hits(), 1);
}

#[test]
fn no_pause_sends_a_partial_match_of_eight_bytes() {
    let mut scrubber = scrubber(&[KEY]);
    let mut out = String::new();
    for byte in KEY.chars() {
        out += &push(&mut scrubber, &byte.to_string());
        out += std::str::from_utf8(&scrubber.release()).unwrap();
    }
    assert_eq!(out, format!("sk-live{}", "*".repeat(KEY.len() - 7)));
    assert!(!scrubber.is_releasable());
}

#[test]
fn a_secret_inside_the_beginning_of_another_is_masked_when_the_other_breaks_off() {
    let outer = format!("outer={KEY}=outer");
    let mut scrubber = scrubber(&[&outer, KEY]);
    let masked = "*".repeat(KEY.len());
    assert_eq!(push(&mut scrubber, &format!("outer={KEY}=")), "");
    assert_eq!(push(&mut scrubber, "in"), format!("outer={masked}=in"));
    assert_eq!(push(&mut scrubber, &format!("outer={KEY}=")), "");
    assert_eq!(&*scrubber.finish(), format!("outer={masked}=").as_bytes());
    assert_eq!(scrubber.hits(), 2);
}

#[test]
fn a_secret_that_begins_another_is_masked_at_once() {
    let mut scrubber = scrubber(&[KEY, &format!("{KEY}-longer")]);
    assert_eq!(push(&mut scrubber, KEY), "*".repeat(KEY.len()));
    assert_eq!(push(&mut scrubber, "-longe"), "");
    assert_eq!(push(&mut scrubber, "st"), "-longest");
}

#[test]
fn secrets_that_are_too_short_are_not_looked_for() {
    assert_eq!(format!("{:?} {:?}", needles(&["", "short"]), needles(&[KEY])), "Needles(0 forms) Needles(1 forms)");
}

#[test]
fn needles_do_not_show_their_secrets() {
    assert_eq!(format!("{:?}", needles(&[KEY, KEY])), "Needles(1 forms)");
}

#[test]
fn a_header_is_masked_or_left_alone() {
    let needles = needles(&[KEY]);
    assert_eq!(mask_header([Some(&needles), None], b"text/plain"), None);
    let masked = mask_header([None, Some(&needles)], format!("a={KEY};").as_bytes());
    assert_eq!(masked, Some(format!("a={};", "*".repeat(KEY.len())).into_bytes()));
}

/// The same by trying every place, and how often something was there.
fn masked(secrets: &[String], body: &[u8]) -> (Vec<u8>, u32) {
    let (mut out, mut hits) = (body.to_vec(), 0);
    for secret in secrets.iter().map(|secret| secret.as_bytes()) {
        for start in 0..body.len() {
            if body[start..].starts_with(secret) {
                out[start..start + secret.len()].fill(MASK);
                hits += 1;
            }
        }
    }
    (out, hits)
}

/// Secrets that repeat themselves, as those overlap with themselves and with each other; sometimes one is the
/// beginning, the end or the middle of another.
fn secrets() -> impl Strategy<Value = Vec<String>> {
    let free = "[ab]{16,24}";
    let periodic = ("[ab]{1,9}", 16_usize..28).prop_map(|(unit, length)| unit.chars().cycle().take(length).collect());
    let nearly = (15_usize..24).prop_map(|length| format!("{}b", "a".repeat(length)));
    let one = prop_oneof![free, periodic, nearly];
    let nested = (one, "[ab]{0,6}", "[ab]{0,6}", any::<bool>()).prop_map(|(inner, before, behind, both)| {
        let outer = format!("{before}{inner}{behind}");
        if both { vec![inner, outer] } else { vec![outer] }
    });
    vec(nested, 1..3).prop_map(|sets| {
        let distinct: std::collections::BTreeSet<String> = sets.into_iter().flatten().collect();
        distinct.into_iter().collect()
    })
}

/// Bodies of whole secrets, of parts of secrets and of noise.
fn scene() -> impl Strategy<Value = (Vec<String>, Vec<u8>)> {
    secrets().prop_flat_map(|secrets| {
        let piece = (select(secrets.clone()), any::<Index>(), any::<Index>(), 0_u8..5, "[abc]{0,9}").prop_map(
            |(secret, first, last, kind, noise)| match kind {
                0 => noise,
                1 => secret[first.index(secret.len())..].to_owned(),
                2 => secret[..last.index(secret.len())].to_owned(),
                _ => secret,
            },
        );
        (Just(secrets), vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes()))
    })
}

/// Runs `body` through in chunks of these sizes, pausing after a chunk where told to. After every step it checks that
/// no more is held than may be.
fn run(secrets: &[String], body: &[u8], steps: &[(usize, bool)]) -> (Vec<u8>, u32) {
    let longest = secrets.iter().map(String::len).max().unwrap();
    let (first, second) = secrets.split_at(secrets.len() / 2);
    let mut scrubber = Scrubber::new([Some(Arc::new(of(first))), Some(Arc::new(of(second)))]);
    let (mut out, mut taken) = (Vec::new(), 0);
    for (size, pause) in steps.iter().cycle() {
        let end = (taken + size).min(body.len());
        out.extend_from_slice(&scrubber.push(Bytes::copy_from_slice(&body[taken..end])));
        taken = end;
        assert_eq!(taken - out.len(), scrubber.live.len() - scrubber.sent);
        assert!(scrubber.live.len() < longest);
        assert!(scrubber.live.is_empty() || secrets.iter().any(|secret| secret.as_bytes().starts_with(&scrubber.live)));
        if *pause {
            out.extend_from_slice(&scrubber.release());
            assert!(!scrubber.is_releasable());
            assert_eq!(scrubber.is_holding(), out.len() < taken);
        }
        if taken == body.len() {
            break;
        }
    }
    out.extend_from_slice(&scrubber.finish());
    (out, scrubber.hits())
}

fn of(secrets: &[String]) -> Needles {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(secret.as_str())).collect();
    Needles::of(&secrets)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn chunks_are_masked_as_the_whole_is((secrets, body) in scene(), sizes in vec(1_usize..20, 1..8)) {
        let steps: Vec<(usize, bool)> = sizes.into_iter().map(|size| (size, false)).collect();
        let (out, hits) = run(&secrets, &body, &steps);
        let (expected, occurrences) = masked(&secrets, &body);
        prop_assert_eq!(out, expected);
        prop_assert_eq!(hits, occurrences);
    }

    /// For every occurrence all bytes but its first seven are masked; whatever else is not as it came is masked
    /// rightly; and no byte is added, lost or moved.
    #[test]
    fn pauses_let_no_more_than_seven_bytes_of_a_secret_through(
        (secrets, body) in scene(),
        steps in vec((1_usize..12, prop::bool::weighted(0.7)), 1..8),
    ) {
        let (out, hits) = run(&secrets, &body, &steps);
        let (expected, occurrences) = masked(&secrets, &body);
        prop_assert_eq!(out.len(), body.len());
        prop_assert_eq!(hits, occurrences);
        for at in 0..body.len() {
            prop_assert!(out[at] == body[at] || out[at] == expected[at]);
            for secret in secrets.iter().filter(|secret| body[at..].starts_with(secret.as_bytes())) {
                prop_assert!(out[at + 7..at + secret.len()].iter().all(|byte| *byte == MASK));
            }
        }
    }

    #[test]
    fn a_header_is_masked_as_a_body_is((secrets, body) in scene()) {
        let out = mask_header([Some(&of(&secrets)), None], &body);
        let (expected, occurrences) = masked(&secrets, &body);
        prop_assert_eq!(out, (occurrences > 0).then_some(expected));
    }
}

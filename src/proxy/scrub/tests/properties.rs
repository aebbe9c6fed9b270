//! Properties of the scrubber, against the plainest way to do the same.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::reference::{forms, live, masked, occurrences};
use super::*;

/// Secrets that repeat themselves, as those overlap with themselves and with each other, and that begin as escapes end;
/// sometimes one is the beginning, the end or the middle of another.
fn secrets() -> impl Strategy<Value = Vec<String>> {
    let free = "[ab]{16,24}";
    let cycled = |unit: String, length: usize| unit.chars().cycle().take(length).collect::<String>();
    let periodic = ("[ab]{1,9}", 16_usize..28).prop_map(move |(unit, length)| cycled(unit, length));
    let nearly = (15_usize..24).prop_map(|length| format!("{}b", "a".repeat(length)));
    let inside = ("(73|3|u0073|0073|2f|/)", "(s|/|s7|73s|s73s3)", 14_usize..24)
        .prop_map(move |(first, unit, length)| first + "s" + &cycled(unit, length));
    let real = "[a-zA-Z0-9_+/.~\"-]{16,30}";
    let one = prop_oneof![free, periodic, nearly, inside, real];
    let nested = (one, "[ab]{0,6}", "[ab]{0,6}", any::<bool>()).prop_map(|(inner, before, behind, both)| {
        let outer = format!("{before}{inner}{behind}");
        if both { vec![inner, outer] } else { vec![outer] }
    });
    vec(nested, 1..3).prop_map(|sets| {
        let distinct: std::collections::BTreeSet<String> = sets.into_iter().flatten().collect();
        distinct.into_iter().collect()
    })
}

/// `form` with some of its characters escaped.
fn escaped(form: &[u8], ways: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (byte, way) in form.iter().zip(ways.iter().cycle()) {
        match way {
            0 => out.extend(format!("%{byte:02x}").bytes()),
            1 => out.extend(format!("%{byte:02X}").bytes()),
            2 => out.extend(format!("\\u00{byte:02x}").bytes()),
            3 => out.extend(format!("\\u00{byte:02X}").bytes()),
            4 if matches!(byte, b'/' | b'"') => out.extend([b'\\', *byte]),
            _ => out.push(*byte),
        }
    }
    out
}

fn ways() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(vec![9]),
        1 => vec(0_u8..4, 1..3),
        3 => vec(prop_oneof![5 => Just(9_u8), 2 => 0_u8..5], 1..20),
    ]
}

/// Bodies of whole forms of secrets, of parts of them, and of noise, with any of it escaped.
fn scene() -> impl Strategy<Value = (Vec<String>, Vec<u8>)> {
    secrets().prop_flat_map(|secrets| {
        let all: Vec<Vec<u8>> = secrets.iter().flat_map(|secret| forms(secret.as_bytes())).collect();
        let raw: Vec<Vec<u8>> = secrets.iter().map(|secret| secret.clone().into_bytes()).collect();
        let form = prop_oneof![2 => select(raw), 1 => select(all)];
        let noise = prop_oneof![
            "[abc7]{0,9}",
            "[abs%\\\\u073 /]{0,6}",
            "(%|\\\\|\\\\u|\\\\u0|\\\\u00|\\\\u007|%7|%73|\\\\n|\\\\u00e4|%20)"
        ];
        let piece = (form, any::<Index>(), any::<Index>(), 0_u8..6, noise, ways()).prop_map(
            |(form, first, last, kind, noise, ways)| match kind {
                0 => noise.into_bytes(),
                1 => escaped(&form[first.index(form.len())..], &ways),
                2 => escaped(&form[..last.index(form.len())], &ways),
                _ => escaped(&form, &ways),
            },
        );
        (Just(secrets), vec(piece, 0..7).prop_map(|pieces| pieces.concat()))
    })
}

/// Runs `body` through in chunks of these sizes, pausing after a chunk where told to. After every step it checks that
/// what is held is a live match, and the longest.
fn run(secrets: &[String], body: &[u8], steps: &[(usize, bool)]) -> (Vec<u8>, u32) {
    let mut scrubber = Scrubber::new(Arc::new(of(secrets)));
    let forms: Vec<Vec<u8>> = secrets.iter().flat_map(|secret| forms(secret.as_bytes())).collect();
    let (mut out, mut taken) = (Vec::new(), 0);
    for (size, pause) in steps.iter().cycle() {
        let end = (taken + size).min(body.len());
        out.extend_from_slice(&scrubber.push(Bytes::copy_from_slice(&body[taken..end])));
        taken = end;
        assert_eq!(taken - out.len(), scrubber.live.len() - scrubber.sent);
        assert!(body[..taken].ends_with(&scrubber.live));
        assert_eq!(scrubber.live.len(), live(&forms, &body[..taken]), "{:?}", String::from_utf8_lossy(&body[..taken]));
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

/// The last is the session's token, the others are keys.
fn of(secrets: &[String]) -> Needles {
    let mut secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(secret.as_str())).collect();
    let token = secrets.pop().unwrap();
    Needles::with(&Arc::new(Needles::of(&secrets)), &token)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn chunks_are_masked_as_the_whole_is((secrets, body) in scene(), sizes in vec(1_usize..20, 1..8)) {
        let steps: Vec<(usize, bool)> = sizes.into_iter().map(|size| (size, false)).collect();
        let (out, hits) = run(&secrets, &body, &steps);
        let (expected, occurrences) = masked(&secrets, &body);
        prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
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
        let (expected, count) = masked(&secrets, &body);
        prop_assert_eq!(out.len(), body.len());
        prop_assert_eq!(hits, count);
        for at in 0..body.len() {
            prop_assert!(out[at] == body[at] || out[at] == expected[at]);
        }
        for (start, end) in occurrences(&secrets, &body) {
            prop_assert!(out[start + 7..end].iter().all(|byte| *byte == MASK));
        }
    }

    #[test]
    fn a_header_is_masked_as_a_body_is((secrets, body) in scene()) {
        let needles = of(&secrets);
        let out = mask_header(&needles, &body);
        let (expected, occurrences) = masked(&secrets, &body);
        prop_assert_eq!(hits(&needles, &body) > 0, occurrences > 0);
        prop_assert_eq!(mask_whole(&needles, &mut body.clone()), occurrences);
        prop_assert_eq!(out, (occurrences > 0).then_some(expected));
    }

    /// Whatever stands around it.
    #[test]
    fn every_form_is_found_however_it_is_escaped(
        secret in "[!-~&&[^%\\\\]]{16,60}",
        form in any::<Index>(),
        ways in ways(),
        before in vec(any::<u8>(), 0..40),
        behind in vec(any::<u8>(), 0..40),
        size in 1_usize..60,
    ) {
        let forms: Vec<Vec<u8>> = forms(secret.as_bytes()).into_iter().collect();
        let written = escaped(&forms[form.index(forms.len())], &ways);
        let body = [before.clone(), written.clone(), behind].concat();
        let secrets = [secret];
        let mut scrubber = Scrubber::new(Arc::new(of(&secrets)));
        let mut out: Vec<u8> = body.chunks(size).flat_map(|chunk| scrubber.push(Bytes::copy_from_slice(chunk))).collect();
        out.extend_from_slice(&scrubber.finish());
        let (expected, hits) = masked(&secrets, &body);
        prop_assert_eq!(&out, &expected);
        prop_assert_eq!(scrubber.hits(), hits);
        prop_assert!(out[before.len()..before.len() + written.len()].iter().all(|byte| *byte == MASK));
    }
}

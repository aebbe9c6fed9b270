//! Tests of the scrubber by example; against the plainest way to do the same in [`properties`].

mod escaped;
mod linear;
mod properties;
mod reference;
pub(super) mod steps;

use super::*;
use crate::secret::Secret;

const KEY: &str = "sk-live-0123456789abcdef";

fn needles(secrets: &[&str]) -> Arc<Needles> {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
    Arc::new(Needles::of(&secrets))
}

fn scrubber(secrets: &[&str]) -> Scrubber {
    Scrubber::new(needles(secrets))
}

fn push(scrubber: &mut Scrubber, chunk: &str) -> String {
    String::from_utf8(scrubber.push(Bytes::copy_from_slice(chunk.as_bytes())).to_vec()).unwrap()
}

#[test]
fn a_clean_chunk_passes_without_a_copy() {
    let mut scrubber = scrubber(&[KEY]);
    let chunk = Bytes::from_static(b"{\"answer\":\"hello\\n\"}");
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
fn keys_and_the_sessions_token_are_searched() {
    let token = "vendor-token-0123456789";
    let keys = needles(&[KEY]);
    let mut scrubber = Scrubber::new(Arc::new(Needles::with(&keys, &Secret::new(token))));
    assert_eq!(push(&mut scrubber, &format!("{token},{KEY}.")), format!("{},{}.", "*".repeat(23), "*".repeat(24)));
    assert_eq!(scrubber.hits(), 2);
}

#[test]
fn many_keys_are_searched_with_a_token() {
    // Eight fill the usual filter, and a token more makes it a wide one.
    for last in [108, 160] {
        let keys: Vec<String> = (100..last).map(|number| format!("{number}-key-0123456789")).collect();
        let all = needles(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let token = "vendor-token-0123456789";
        let mut scrubber = Scrubber::new(Arc::new(Needles::with(&all, &Secret::new(token))));
        for secret in keys.iter().map(String::as_str).chain([token]) {
            assert_eq!(push(&mut scrubber, &format!("<{secret}>")), format!("<{}>", "*".repeat(secret.len())));
        }
    }
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
    assert_eq!(format!("{:?} {:?}", needles(&["", "short"]), needles(&[KEY])), "Needles(0 secrets) Needles(1 secrets)");
}

#[test]
fn needles_do_not_show_their_secrets() {
    assert_eq!(format!("{:?}", needles(&[KEY, KEY])), "Needles(1 secrets)");
}

#[test]
fn a_header_is_masked_or_left_alone() {
    let needles = needles(&[KEY]);
    assert_eq!(mask_header(&needles, b"text/plain"), None);
    let masked = mask_header(&needles, format!("a={KEY};").as_bytes());
    assert_eq!(masked, Some(format!("a={};", "*".repeat(KEY.len())).into_bytes()));
}

#[test]
fn a_whole_text_is_masked_in_place() {
    let mut reason = format!("{KEY} or {}", KEY.replace('-', "%2d")).into_bytes();
    assert_eq!(mask_whole(&needles(&[KEY]), &mut reason), 2);
    assert_eq!(reason, format!("{} or {}", "*".repeat(24), "*".repeat(28)).into_bytes());
    let mut clean = b"goodbye sk-live-01".to_vec();
    assert_eq!(mask_whole(&needles(&[KEY]), &mut clean), 0);
    assert_eq!(clean, b"goodbye sk-live-01");
}

#[test]
fn nothing_is_found_by_empty_needles() {
    let mut scrubber = Scrubber::new(Arc::default());
    assert_eq!(push(&mut scrubber, KEY), KEY);
    assert_eq!(hits(&Needles::default(), KEY.as_bytes()), 0);
}

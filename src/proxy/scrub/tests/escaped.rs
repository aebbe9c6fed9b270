//! Tests of forms and escapes by example.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What comes out of `body` in chunks of `size`, and how often something was found.
fn scrubbed(secret: &str, body: &str, size: usize) -> (String, u32) {
    let mut scrubber = scrubber(&[secret]);
    let chunks = body.as_bytes().chunks(size);
    let mut out: Vec<u8> = chunks.flat_map(|chunk| scrubber.push(Bytes::copy_from_slice(chunk))).collect();
    out.extend_from_slice(&scrubber.finish());
    (String::from_utf8(out).unwrap(), scrubber.hits())
}

#[test]
fn hex_is_masked_in_both_cases() {
    let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    for text in [hex.clone(), hex.to_uppercase()] {
        assert_eq!(scrubbed(KEY, &format!("x{text}x"), 7), (format!("x{}x", "*".repeat(48)), 1));
    }
}

#[test]
fn base64_is_masked_at_each_alignment_but_for_what_the_secret_does_not_determine() {
    let secret = "??>>sk-live~0123456789~~~";
    for engine in [&STANDARD, &URL_SAFE] {
        for before in ["", "u", "us", "use", "user:"] {
            let text = engine.encode(format!("{before}{secret}:x"));
            let (out, hits) = scrubbed(secret, &text, 5);
            assert_eq!((out.len(), hits), (text.len(), 1), "{out}");
            let kept: Vec<usize> = (0..text.len()).filter(|at| out.as_bytes()[*at] != b'*').collect();
            let determined = (before.len() * 8).div_ceil(6)..(before.len() + secret.len()) * 8 / 6;
            assert_eq!(kept, (0..text.len()).filter(|at| !determined.contains(at)).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_slash_in_base64_may_be_escaped() {
    let secret = "??????????????????~0123456789";
    let text = STANDARD.encode(secret);
    assert!(text.contains('/'));
    for escape in ["\\/", "%2F", "%2f", "\\u002f", "\\u002F"] {
        let (out, hits) = scrubbed(secret, &text.replace('/', escape), 3);
        assert_eq!(hits, 1, "{escape}: {out}");
    }
}

#[test]
fn an_escape_that_another_character_seems_to_begin_is_found() {
    let escaped = KEY.replacen("s", "\\u0073", 1);
    for before in ["\\", "\\\\", "%", "%7", "\\u00", "\\u", "\\n"] {
        let (out, hits) = scrubbed(KEY, &format!("{before}{escaped}"), 2);
        assert_eq!((out, hits), (format!("{before}{}", "*".repeat(escaped.len())), 1));
    }
}

#[test]
fn a_secret_that_begins_inside_an_escape_is_found() {
    let secret = "73-live-0123456789abcdef";
    let text = format!("%{}", secret.replace("-", "%2d"));
    for size in [1, 3, 100] {
        assert_eq!(scrubbed(secret, &text, size), (format!("%{}", "*".repeat(text.len() - 1)), 1));
    }
}

#[test]
fn an_escape_that_ends_with_the_chunk_is_held_only_if_it_may_go_on_a_match() {
    let mut scrubber = scrubber(&[KEY]);
    assert_eq!(push(&mut scrubber, "a sk-live\\u002"), "a ");
    assert_eq!(push(&mut scrubber, "e"), "sk-live\\u002e");
    assert_eq!(push(&mut scrubber, "a sk-live\\u001"), "a sk-live\\u001");
    assert_eq!(push(&mut scrubber, " \\u00e"), " \\u00e");
    assert_eq!(push(&mut scrubber, " \\"), " ");
    assert_eq!(&*scrubber.release(), b"\\");
    assert_eq!(push(&mut scrubber, "n%"), "n");
    assert_eq!(push(&mut scrubber, "20"), "%20");
    assert_eq!(scrubber.hits(), 0);
}

#[test]
fn escapes_do_not_weaken_what_a_pause_may_send() {
    let escaped: String = KEY.bytes().map(|byte| format!("\\u00{byte:02x}")).collect();
    let mut scrubber = scrubber(&[KEY]);
    let mut out = String::new();
    for byte in escaped.chars() {
        out += &push(&mut scrubber, &byte.to_string());
        out += std::str::from_utf8(&scrubber.release()).unwrap();
    }
    assert_eq!(out, format!("\\u0073\\{}", "*".repeat(escaped.len() - 7)));
}

#[test]
fn clean_text_with_escapes_is_left_alone() {
    for text in [
        r#"{"url":"https:\/\/example.com\/a%20b%2Fc","text":"Gr\u00fc\u00dfe\n\"K\\u00f6ln\"\\"}"#,
        r"\u4f60\u597d 50% off %% \\\ \u \u0 \u00 \u007 %7",
    ] {
        for size in 1..text.len() {
            assert_eq!(scrubbed(KEY, text, size), (text.to_owned(), 0));
        }
    }
}

proptest! {
    /// Escapes of such secrets may be read in more than one way; what encoders write is found.
    #[test]
    fn secrets_with_percent_signs_and_backslashes_are_found_as_encoders_write_them(
        secret in vec(prop_oneof![Just("%"), Just("\\"), Just("%2F"), Just("/"), Just("u0041"), Just("key-")], 8..14),
        size in 1_usize..40,
    ) {
        let secret = format!("{}0123456789abcdef", secret.concat());
        let percent: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let json = serde_json::to_string(&secret).unwrap();
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for text in [secret.clone(), percent, json.trim_matches('"').to_owned(), hex, STANDARD.encode(&secret)] {
            let (out, hits) = scrubbed(&secret, &format!("<{text}>"), size);
            prop_assert!(hits > 0);
            prop_assert!(out.trim_matches(['<', '>', '=']).len() - 3 <= out.matches('*').count(), "{} {}", text, out);
            prop_assert_eq!(out.len(), text.len() + 2);
        }
    }
}

//! The search: for a text, and for the forms in which it may have been written.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// All that was said.
pub(super) struct Haystack {
    /// Standard output and standard error, with log and records.
    pub(super) log: String,
    /// Every answer to a client: head and body.
    pub(super) answers: Vec<String>,
    /// Keys, vendors' tokens, clients' secrets.
    pub(super) secrets: Vec<String>,
    /// Session tokens, which belong into the answers that mint them and nowhere else.
    pub(super) tokens: Vec<String>,
}

/// Fails if `text` holds `secret` in any form.
pub(super) fn refuse(secret: &str, place: &str, text: &str) {
    for form in forms(secret) {
        assert!(!text.contains(&form), "{form} is in {place}: {}", around(text, &form));
    }
}

/// What stands around the first occurrence.
pub(super) fn around(text: &str, part: &str) -> String {
    let at = text.find(part).unwrap_or_default();
    let (from, to) =
        (text.floor_char_boundary(at.saturating_sub(300)), text.ceil_char_boundary((at + 300).min(text.len())));
    text[from..to].to_owned()
}

/// Whether a line has nothing in it that steers a terminal or turns its text around.
pub(super) fn readable(line: &str) -> bool {
    let turns = ['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{2028}'];
    line.chars().all(|letter| !letter.is_control() && !turns.contains(&letter))
}

/// `text` in base64url.
pub(super) fn base64url(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let hex = |separator: &str| bytes.iter().map(|byte| format!("{byte:02x}{separator}")).collect::<String>();
    let decimal = bytes.iter().map(u8::to_string).collect::<Vec<_>>();
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut forms = vec![
        secret.to_owned(),
        format!("{secret:?}").trim_matches('"').to_owned(),
        hex(""),
        hex("").to_uppercase(),
        hex(" ").trim_end().to_owned(),
        percent.clone(),
        percent.to_lowercase(),
        secret.escape_unicode().to_string(),
        bytes.iter().map(|byte| format!("\\u{byte:04x}")).collect(),
        bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect(),
        decimal.join(", "),
        decimal.join(","),
    ];
    for lead in 0..3 {
        // What stands before it decides how it is cut into groups of three bytes; the borders are shared with others.
        let padded = [&vec![0; lead], bytes].concat();
        let (from, to) = (lead.next_multiple_of(3), padded.len() / 3 * 3);
        forms.extend([STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| engine.encode(&padded[from..to])));
    }
    forms
}

#[test]
fn every_form_of_a_secret_is_found() {
    let secret = "sk-real-0123456789abcdef";
    for text in [
        secret.to_owned(),
        "c2stcmVhbC0wMTIzNDU2Nzg5YWJjZGVm".to_owned(),
        STANDARD_NO_PAD.encode(format!("x{secret}")),
        URL_SAFE_NO_PAD.encode(format!("xy{secret}z")),
        "736b2d7265616c2d30313233343536373839616263646566".to_owned(),
        format!("{:?}", secret.as_bytes()),
        format!("{:?}", format!("{secret:?}")),
    ] {
        assert!(std::panic::catch_unwind(|| refuse(secret, "it", &text)).is_err(), "{text}");
    }
    refuse(secret, "it", "sk-real-0123456789abcde");
}

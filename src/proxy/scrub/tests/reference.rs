//! The plainest way to do the same: every form at every place, every character in every way to write it.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::MASK;

/// All forms of a secret, each once.
pub(super) fn forms(secret: &[u8]) -> BTreeSet<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = BTreeSet::from([secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()]);
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3 {
            // What does not hang on the bytes around the secret.
            let within = |around: u8| engine.encode([&vec![around; before], secret, &[around; 3]].concat());
            let (zeros, ones) = (within(0), within(255));
            let same: Vec<bool> = zeros.bytes().zip(ones.bytes()).map(|(zero, one)| zero == one).collect();
            let first = same.iter().position(|is_same| *is_same).unwrap();
            let length = same[first..].iter().take_while(|is_same| **is_same).count();
            forms.insert(zeros.as_bytes()[first..first + length].to_vec());
        }
    }
    forms
}

/// The ways to write `byte` in which one character is another than `byte` itself.
fn escapes(byte: u8) -> Vec<String> {
    let mut escapes = vec![
        format!("%{byte:02x}"),
        format!("%{byte:02X}"),
        format!("%{:x}{:X}", byte >> 4, byte & 15),
        format!("%{:X}{:x}", byte >> 4, byte & 15),
    ];
    for digits in escapes.clone() {
        escapes.push(digits.replace('%', "\\u00"));
    }
    if matches!(byte, b'/' | b'"') {
        escapes.push(format!("\\{}", char::from(byte)));
    }
    escapes
}

/// Where in `text` a form that begins there may end. Only for forms without `%` and `\`.
fn end(form: &[u8], text: &[u8], mut at: usize) -> Option<usize> {
    for byte in form {
        let rest = text.get(at..)?;
        at += match rest.first()? {
            first if first == byte => 1,
            b'%' | b'\\' => escapes(*byte).iter().find(|escape| rest.starts_with(escape.as_bytes()))?.len(),
            _ => return None,
        };
    }
    Some(at)
}

/// `body` masked, and how often something was there.
pub(super) fn masked(secrets: &[String], body: &[u8]) -> (Vec<u8>, u32) {
    let (mut out, mut hits) = (body.to_vec(), 0);
    for (start, end) in occurrences(secrets, body) {
        out[start..end].fill(MASK);
        hits += 1;
    }
    (out, hits)
}

/// Where each occurrence begins and ends.
pub(super) fn occurrences(secrets: &[String], body: &[u8]) -> Vec<(usize, usize)> {
    let forms = secrets.iter().flat_map(|secret| forms(secret.as_bytes()));
    forms.flat_map(|form| (0..body.len()).filter_map(move |at| Some((at, end(&form, body, at)?)))).collect()
}

/// How many bytes at the end of `text` are a proper beginning of a form: the most there are.
pub(super) fn live(forms: &[Vec<u8>], text: &[u8]) -> usize {
    let longest = forms.iter().map(Vec::len).max().unwrap_or_default() * 6;
    let from = text.len().saturating_sub(longest);
    let at = (from..text.len()).find(|at| forms.iter().any(|form| is_beginning(form, &text[*at..])));
    at.map_or(0, |at| text.len() - at)
}

fn is_beginning(form: &[u8], mut text: &[u8]) -> bool {
    for byte in form {
        if text.is_empty() {
            return true;
        }
        if text[0] == *byte {
            text = &text[1..];
            continue;
        }
        if !matches!(text[0], b'%' | b'\\') {
            return false;
        }
        let escapes = escapes(*byte);
        if let Some(escape) = escapes.iter().find(|escape| text.starts_with(escape.as_bytes())) {
            text = &text[escape.len()..];
        } else {
            return escapes.iter().any(|escape| escape.as_bytes().starts_with(text));
        }
    }
    false
}

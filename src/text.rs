//! Text that others wrote, as it may be shown: in a log, on a terminal, in a message about a configuration.

use std::borrow::Cow;

/// So many bytes of a stranger's text are shown.
const LONGEST: usize = 256;

/// The same text without what would steer a terminal, end a line or turn text around: each such character becomes the
/// escape that JSON has for it, so that what was JSON stays the same JSON.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_harmless(letter) {
            out.push(letter);
        } else {
            // All of them are in the first plane, so one escape is enough.
            out.push_str(&format!("\\u{:04x}", u32::from(letter)));
        }
    }
    Cow::Owned(out)
}

/// The same, cut after 256 bytes.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return harmless(text);
    }
    let start = &text[..text.floor_char_boundary(LONGEST)];
    Cow::Owned(format!("{}…", harmless(start)))
}

/// A URL in backticks, for a message: without one in it that may hold a password or a key (before an `@`, in a query), or
/// that is no URL at all.
pub(crate) fn quoted_url(url: &str) -> String {
    let is_plain = url.contains("://") && !url.contains(['@', '?', '#', ';', '%']);
    if is_plain { format!("`{url}`") } else { "what stands here".to_owned() }
}

fn is_harmless(letter: char) -> bool {
    let turns =
        matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // Lines end at these two for JavaScript, and for some viewers of logs.
    let ends_a_line = matches!(letter, '\u{2028}' | '\u{2029}');
    !(letter.is_control() || turns || ends_a_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_turns_text_around_is_escaped() {
        let text = "a\u{1b}[2J\u{9b}2J\n\r\u{0}\u{7f}\u{85}\u{202e}\u{2066}\u{200f}\u{2028}b";
        let shown = harmless(text);
        assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "{shown:?}");
        assert_eq!(serde_json::from_str::<String>(&format!("\"{shown}\"")).unwrap(), text);
    }

    #[test]
    fn ordinary_text_of_any_language_stays() {
        let text = "Grüße, 日本 \u{1f600} \"quoted\" \\n";
        assert!(matches!(harmless(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(shown(&"é".repeat(200)), format!("{}…", "é".repeat(128)));
        assert_eq!(shown(&format!("{}é", "a".repeat(255))), format!("{}…", "a".repeat(255)));
        assert_eq!(shown(&"a".repeat(256)), "a".repeat(256));
    }
}

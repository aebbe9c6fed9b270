//! What gets into the log, and in which form.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::secret::Secret;

const SECRET: &str = "sk-live-0123456789abcdef";

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged while `work` runs.
pub(super) fn logged(filter: &str, is_text: bool, work: impl FnOnce()) -> String {
    let memory = Memory::default();
    let kept = memory.clone();
    let filter = Filter::read(Some(filter));
    tracing::subscriber::with_default(log(&filter, is_text, move || memory.clone()), || {
        filter.tell();
        work();
    });
    String::from_utf8(kept.0.lock().clone()).unwrap()
}

#[test]
fn libraries_say_no_more_than_warnings_whatever_is_asked_for() {
    for filter in ["trace", "h2=trace,keystile=trace", "debug"] {
        for is_text in [true, false] {
            let text = logged(filter, is_text, || {
                let span = tracing::trace_span!(target: "h2::codec", "decode", head = SECRET);
                let _inside = span.enter();
                tracing::trace!(target: "h2::codec", SECRET);
                tracing::debug!(target: "hyper", SECRET);
                tracing::info!(target: "keystiles", SECRET);
                tracing::warn!(target: "h2", "a warning");
                tracing::debug!("our own");
            });
            assert!(!text.contains(SECRET) && text.contains("a warning") && text.contains("our own"), "{text}");
        }
    }
}

#[test]
fn what_is_not_asked_for_is_not_said() {
    let text = logged("warn", false, || {
        tracing::info!("not this");
        tracing::warn!("but this");
    });
    assert!(!text.contains("not this") && text.contains("but this"), "{text}");
}

#[test]
fn what_an_operator_must_know_is_said_where_no_level_was_meant() {
    for filter in ["", " ", "debg", "keystile=debg", "h2=debug", "listening"] {
        let text = logged(filter, false, || {
            tracing::info!("listening");
            tracing::debug!("not this");
        });
        assert!(text.contains("\"listening\"") && !text.contains("not this"), "{filter}: {text}");
        assert_eq!(text.matches("RUST_LOG").count(), usize::from(!filter.trim().is_empty()), "{filter}: {text}");
    }
}

#[test]
fn a_word_that_is_no_level_is_told_once_whatever_else_is_asked_for() {
    for filter in ["off,debg", "error,debg", "keystile=off,debg", "trace,debg"] {
        let text = logged(filter, false, || tracing::info!("listening"));
        assert_eq!((text.matches("RUST_LOG").count(), text.matches("debg").count()), (1, 1), "{filter}: {text}");
        assert_eq!(text.contains("\"listening\""), filter.starts_with("trace"), "{filter}: {text}");
    }
}

#[test]
fn a_line_of_the_log_is_one_line_whatever_is_in_it() {
    let evil = "a\u{1b}[2J\u{9b}2J\r\n{\"level\":\"INFO\"}\u{7f}\u{85}\u{202e}\u{2028}b";
    for is_text in [true, false] {
        let text = logged("info", is_text, || tracing::info!(evil, debug = ?evil, shown = %evil, "{evil}"));
        // The terminal's own colours are left out.
        let line = text.strip_suffix('\n').unwrap();
        let plain = line.replace("\u{1b}[0m", "").replace("\u{1b}[2m", "").replace("\u{1b}[32m", "");
        assert!(plain.chars().all(|letter| !letter.is_control()), "{plain:?}");
        assert!(!plain.contains(['\u{202e}', '\u{2028}']), "{plain:?}");
        if !is_text {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["message"], &line["shown"]), (&evil.into(), &evil.into()));
        }
    }
}

#[test]
fn a_panic_tells_where_it_was_and_nothing_that_it_had_in_its_hands() {
    let secret = Secret::new(SECRET);
    let text = logged("info", false, || {
        let before = std::panic::take_hook();
        tell_of_panics();
        let panicked = [
            std::panic::catch_unwind(|| panic!("{}", SECRET)),
            std::panic::catch_unwind(|| Err::<u8, _>(SECRET.to_owned()).map_or_else(|error| panic!("{error:?}"), drop)),
            std::panic::catch_unwind(|| assert!(!format!("{SECRET}é")[..SECRET.len() + 1].is_empty())),
            std::panic::catch_unwind(|| panic!("our own words")),
        ];
        std::panic::set_hook(before);
        assert!(panicked.iter().all(Result::is_err));
        assert!(panicked[3].as_ref().is_err_and(|payload| payload.is::<&'static str>()));
    });
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("src/telemetry/tests.rs:") && text.contains("our own words"), "{text}");
    assert!(!text.contains("0123456789"), "{text}");
    // And where somebody formats one in spite of all, it is masked.
    let formatted = std::panic::catch_unwind(|| panic!("{secret:?}")).unwrap_err();
    assert_eq!(formatted.downcast_ref::<String>().map(String::as_str), Some("Secret(…)"));
}

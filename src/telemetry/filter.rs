//! What of the log is written: `RUST_LOG`, and what is done where it is hardly what was meant.
//!
//! A word that is no level reads as the name of a module, of which there is nothing to log: a slip of the pen would silence
//! the whole process.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::text::shown;

/// What holds where nothing else is said: what an operator must know.
const DEFAULT: &str = "info";
/// This module says one thing, whatever the filter is.
const ALWAYS: &str = concat!(module_path!(), "=warn");
const ADVICE: &str = "write a level (off, error, warn, info, debug, trace) or keystile=LEVEL, and others after a comma";

/// What is to be logged.
#[derive(Debug)]
pub(super) struct Filter {
    directives: String,
    warning: Option<Warning>,
}

/// What is wrong with what was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Warning {
    /// It cannot be read at all.
    Unreadable,
    /// These words are neither levels nor of this program.
    Unknown(String),
    /// Nothing that it says is about this program.
    Elsewhere,
}

impl Filter {
    /// What `text` asks for, which is that of `RUST_LOG`. Nothing and blanks ask for what an operator must know, and so does
    /// what says neither a level for all nor anything about this program.
    pub(super) fn read(text: Option<&str>) -> Self {
        let parts: Vec<&str> =
            text.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        let directives = parts.join(",");
        if parts.is_empty() {
            return Self { directives: DEFAULT.to_owned(), warning: None };
        }
        if EnvFilter::try_new(&directives).is_err() {
            return Self { directives: format!("{DEFAULT},{ALWAYS}"), warning: Some(Warning::Unreadable) };
        }
        let is_about_us = parts.iter().any(|part| is_level(part) || names_us(part));
        let unknown: Vec<&str> = parts.iter().copied().filter(|part| is_unknown(part)).collect();
        let warning = match (unknown.as_slice(), is_about_us) {
            ([], true) => return Self { directives, warning: None },
            ([], false) => Warning::Elsewhere,
            (unknown, _) => Warning::Unknown(shown(&unknown.join(",")).into_owned()),
        };
        let default = if is_about_us { String::new() } else { format!("{DEFAULT},") };
        Self { directives: format!("{default}{directives},{ALWAYS}"), warning: Some(warning) }
    }

    /// The same, to be asked of each line.
    pub(super) fn build(&self) -> EnvFilter {
        EnvFilter::try_new(&self.directives).unwrap_or_else(|_unreadable| EnvFilter::new(DEFAULT))
    }

    /// Says in the log what is probably not meant.
    pub(super) fn tell(&self) {
        match &self.warning {
            None => {}
            Some(Warning::Unreadable) => {
                tracing::warn!("RUST_LOG cannot be read, and info holds in its place; {ADVICE}");
            }
            Some(Warning::Unknown(words)) => {
                tracing::warn!(words, "RUST_LOG has what is neither a level nor a part of this program; {ADVICE}");
            }
            Some(Warning::Elsewhere) => {
                tracing::warn!("RUST_LOG says nothing about this program, for which info holds; {ADVICE}");
            }
        }
    }
}

fn is_level(part: &str) -> bool {
    part.parse::<LevelFilter>().is_ok()
}

fn names_us(part: &str) -> bool {
    let target = part.split(['=', '[']).next().unwrap_or_default();
    target.split("::").next() == Some(env!("CARGO_CRATE_NAME"))
}

/// Whether it is a bare word, which can only have been meant for a level or a part of this program.
fn is_unknown(part: &str) -> bool {
    !part.contains(['=', '[']) && !is_level(part) && !names_us(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_asks_for_what_an_operator_must_know() {
        for text in [None, Some(""), Some("  "), Some(","), Some(" , ")] {
            let filter = Filter::read(text);
            assert_eq!((filter.directives.as_str(), &filter.warning), ("info", &None), "{text:?}");
        }
    }

    #[test]
    fn a_filter_that_was_meant_stays_as_it_is() {
        for text in ["warn", "OFF", "keystile=debug", "keystile::app", "h2=trace,debug", "error,keystile::admin=info"] {
            let filter = Filter::read(Some(text));
            assert_eq!((filter.directives.as_str(), &filter.warning), (text, &None), "{text}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_named() {
        for (text, words) in [("debg", "debg"), ("warn,infos", "infos"), ("infos,h2=trace,debg", "infos,debg")] {
            assert_eq!(Filter::read(Some(text)).warning, Some(Warning::Unknown(words.to_owned())), "{text}");
        }
        assert_eq!(Filter::read(Some("keystile=debg")).warning, Some(Warning::Unreadable));
        assert_eq!(Filter::read(Some("h2=debug")).warning, Some(Warning::Elsewhere));
    }
}

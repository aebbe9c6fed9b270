//! The configuration: any text is either settings or a list of problems with their lines.

#![no_main]

use keystile::config::{self, ConfigError, Settings};
use keystile::document::Environment;
use libfuzzer_sys::fuzz_target;

const FILE: &str = "fuzz.toml";
const KEY: &str = "sk-secret-0123456789abcdef";

fuzz_target!(|text: &str| {
    // A file that the input names is looked for in a folder that is not there.
    let environment = Environment::given("/nonexistent", [("KEY", KEY), ("SHORT", "short")]);
    match config::parse(FILE, text, &environment) {
        Ok(settings) => judge(&settings),
        Err(ConfigError::Problems(problems)) => {
            assert!(!problems.is_empty(), "refused without a reason");
            let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
            for problem in problems.iter().filter(|problem| problem.file == FILE) {
                assert!((1..=lines).contains(&problem.line), "{problem:?} is not on one of {lines} lines");
                assert!(!problem.message.is_empty() && !problem.message.contains(KEY), "{problem:?}");
            }
        }
        Err(other) => unreachable!("no file was read: {other}"),
    }
});

/// What was taken keeps the promises that nobody checks again.
fn judge(settings: &Settings) {
    assert!(!settings.gateway.public_url.is_empty() && settings.gateway.api.starts_with('/'));
    assert!((1_800..=86_400).contains(&settings.tokens.default_ttl.as_secs()));
    assert!(!format!("{settings:?}").contains(KEY), "a secret in the settings' Debug output");
}

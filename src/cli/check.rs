//! `keystile check`

use clap::Args;
use serde_json::json;

use super::{ConfigFile, Outcome, complain_of_config, say};
use crate::config::{self, ConfigError};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Write JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let file = arguments.file.config.display();
    match config::load(&arguments.file.config) {
        Ok(_settings) if arguments.json => {
            say(json!({"ok": true, "problems": []}));
            Outcome::Done
        }
        Ok(_settings) => {
            say(format!("{file}: no problems"));
            Outcome::Done
        }
        Err(ConfigError::Problems(problems)) if arguments.json => {
            let problems: Vec<_> = problems
                .iter()
                .map(|problem| json!({"file": problem.file, "line": problem.line, "path": problem.path, "message": problem.message}))
                .collect();
            say(json!({"ok": false, "problems": problems}));
            Outcome::Misused
        }
        Err(error @ ConfigError::Unreadable { .. }) if arguments.json => {
            let problem = json!({"file": file.to_string(), "line": 0, "path": "", "message": error.to_string()});
            say(json!({"ok": false, "problems": [problem]}));
            Outcome::Misused
        }
        Err(error) => complain_of_config(&error),
    }
}

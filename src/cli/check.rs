//! `keystile check`

use clap::Args;
use serde_json::json;

use super::{ConfigFile, Outcome, misconfigured, say};
use crate::config;

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
        Err(error) => misconfigured(&error, &arguments.file, arguments.json),
    }
}

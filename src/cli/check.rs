//! `keystile check`

use clap::Args;
use serde_json::{Value, json};

use super::{ConfigFile, Outcome, described, misconfigured, say};
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
        Ok(settings) if arguments.json => {
            let warnings: Vec<Value> = settings.warnings.iter().map(described).collect();
            say(json!({"ok": true, "problems": [], "warnings": warnings}));
            Outcome::Done
        }
        Ok(settings) => {
            settings.warnings.iter().for_each(|warning| say(format!("warning: {warning}")));
            say(format!("{file}: no problems"));
            Outcome::Done
        }
        Err(error) => misconfigured(&error, &arguments.file, arguments.json),
    }
}

//! `keystile keys`

use clap::Subcommand;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{ConfigFile, Outcome, complain_of_config, say};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::id::Entropy;
use crate::token::{Authority, KeyInfo};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The signing and sealing keys, and their state. Makes them if there are none.
    #[command(after_help = "Example:\n  keystile keys list -c config/keystile.toml")]
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> Outcome {
    let Command::List { file, json } = command;
    let authority = match authority(file) {
        Ok(authority) => authority,
        Err(outcome) => return outcome,
    };
    let keys = authority.keys();
    if *json {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                json!({"kid": key.kid, "algorithm": key.algorithm, "use": key.purpose, "created": date(key.created), "state": key.state})
            })
            .collect();
        say(json!(keys));
    } else {
        for KeyInfo { kid, algorithm, state, created, .. } in &keys {
            say(format!("{state:<10} {algorithm:<11} {}  {kid}", date(*created)));
        }
    }
    Outcome::Done
}

/// The keys that the configuration names; they are made if there are none yet, as at the first start.
pub(super) fn authority(file: &ConfigFile) -> Result<Authority, Outcome> {
    let (tokens, issuer) = config::load_tokens(&file.config).map_err(|error| complain_of_config(&error))?;
    Authority::open(&tokens, &issuer, Clock::system(), Entropy::system()).map_err(|error| {
        super::complain_of(&error);
        Outcome::Failed
    })
}

/// A moment as RFC 3339 writes it.
pub(super) fn date(moment: Timestamp) -> String {
    let date = i64::try_from(moment.seconds()).ok().and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
    date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_default()
}

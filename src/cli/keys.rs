//! `keystile keys`

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{ConfigFile, Outcome, complain_of_config, say};
use crate::clock::Clock;
use crate::config;
use crate::document::parse_duration;
use crate::id::Entropy;
use crate::token::{Authority, KeyInfo, LONGEST_TTL, SHORTEST_NOTICE};

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
    /// Publishes the next signing and sealing keys, which take over after a while. The ones before verify and open until the
    /// last token of theirs has ended. Gateways that share the directory follow by themselves.
    #[command(after_help = "Example:\n  keystile keys rotate -c config/keystile.toml --delay 10m")]
    Rotate {
        #[command(flatten)]
        file: ConfigFile,
        /// How long the new keys are published before they sign: longer than anybody keeps the JWK Set (5m), at least 10s.
        #[arg(long, default_value = "10m", value_parser = notice)]
        delay: Duration,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> Outcome {
    let (Command::List { file, json } | Command::Rotate { file, json, .. }) = command;
    let authority = match authority(file) {
        Ok(authority) => authority,
        Err(outcome) => return outcome,
    };
    if let Command::Rotate { delay, .. } = command
        && let Err(error) = authority.rotate(*delay)
    {
        super::complain_of(&error);
        return Outcome::Failed;
    }
    let keys = authority.keys();
    if *json {
        say(json!(keys.iter().map(shown).collect::<Vec<_>>()));
    } else {
        for key in &keys {
            let KeyInfo { kid, algorithm, state, from, until, .. } = key;
            let until = until.map_or_else(|| "-".to_owned(), |until| until.to_string());
            say(format!("{state:<10} {algorithm:<11} from {from}  until {until:<20}  {kid}"));
        }
    }
    Outcome::Done
}

fn shown(key: &KeyInfo) -> Value {
    json!({
        "kid": key.kid,
        "algorithm": key.algorithm,
        "use": key.purpose,
        "created": key.created.to_string(),
        "from": key.from.to_string(),
        "until": key.until.map(|until| until.to_string()),
        "state": key.state,
    })
}

fn notice(text: &str) -> Result<Duration, String> {
    let delay = parse_duration(text).ok_or("write a number and s, m or h, such as 10m")?;
    let fits = (SHORTEST_NOTICE..=LONGEST_TTL).contains(&delay);
    fits.then_some(delay).ok_or_else(|| "must be from 10s to 24h".to_owned())
}

/// The keys that the configuration names; they are made if there are none yet, as at the first start.
pub(super) fn authority(file: &ConfigFile) -> Result<Authority, Outcome> {
    let (tokens, issuer) = config::load_tokens(&file.config).map_err(|error| complain_of_config(&error))?;
    Authority::open(&tokens, &issuer, Clock::system(), Entropy::system()).map_err(|error| {
        super::complain_of(&error);
        Outcome::Failed
    })
}

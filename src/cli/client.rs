//! `keystile client`

use clap::Subcommand;
use serde_json::json;

use super::{Outcome, complain, say};
use crate::bot::{NewClient, is_client_name};
use crate::id::Entropy;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a client's credential, or the operators': the secret, shown once, and the block for the configuration.
    #[command(after_help = "Example:\n  keystile client new website")]
    New {
        /// The client's name.
        name: String,
        /// Write JSON: client, secret, secret_sha256.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> Outcome {
    let Command::New { name, json } = command;
    if !is_client_name(name) {
        complain("keystile: a client's name is made of letters, digits, - and _, at most 64, and is not `public`");
        return Outcome::Misused;
    }
    let made = NewClient::make(name, &Entropy::system());
    let (secret, digest) = (made.secret.expose(), made.secret_sha256.as_str());
    if *json {
        say(json!({"client": name, "secret": secret, "secret_sha256": digest}));
    } else {
        say(format!(
            "The secret of client {name}. It is shown this once; keep it where your server keeps its secrets:\n\n  \
             {secret}\n\nFor the configuration:\n\n[clients.{name}]\nsecret_sha256 = \"{digest}\"\n\n\
             and `owners = [\"{name}\"]` at the bots that it may mint for.\n\n\
             If it is the operators' secret, the digest stands under [admin] instead, and no bot has it as owner:\n\n\
             [admin]\nsecret_sha256 = \"{digest}\""
        ));
    }
    Outcome::Done
}

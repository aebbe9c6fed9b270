//! `keystile demo`

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use super::signals::Ears;
use super::{Outcome, complain_of, say, started_log};
use crate::demo::{Demo, DemoError};
use crate::telemetry::Output;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The IP address and port to listen on: of this machine itself, because its page hands a credential to whoever
    /// reaches it.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Write first of all one line of JSON: url, client, bots.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let _log = match started_log() {
        Ok(log) => log,
        Err(outcome) => return outcome,
    };
    let ears = match Ears::open() {
        Ok(ears) => ears,
        Err(outcome) => return outcome,
    };
    let demo = match Demo::start(arguments.listen, Output::Stderr) {
        Ok(demo) => demo,
        Err(error) => {
            complain_of(&error);
            return if matches!(error, DemoError::NotLoopback(_)) { Outcome::Misused } else { Outcome::Failed };
        }
    };
    if arguments.json {
        say(json!({"url": demo.url, "client": demo.client.expose(), "bots": demo.bots()}));
    } else {
        say(what_to_try(&demo));
    }
    ears.until(async |mut signals| {
        let _which = signals.next().await;
    });
    demo.gateway.stop();
    Outcome::Done
}

fn what_to_try(demo: &Demo) -> String {
    let (url, client) = (&demo.url, demo.client.expose());
    format!(
        r#"Keystile is at {url}, in front of simulated vendors. Control-C ends it; it leaves nothing behind.

A page to try it in:

  {url}/

The same by hand. A site's server asks for a session (paste this):

  SESSION=$(curl -s {url}/v1/bots/chatbotkit/sessions \
    -H 'Authorization: Bearer {client}' \
    -H 'Content-Type: application/json' \
    -d '{{"durationInSeconds":1800,"contact":{{"name":"Jo","email":"jo@example.com"}}}}'); echo "$SESSION"

and its page talks with the token, and no key (paste this):

  TOKEN=$(echo "$SESSION" | sed -E 's/.*"token":"([^"]*)".*/\1/')
  CONVERSATION=$(echo "$SESSION" | sed -E 's/.*"conversationId":"([^"]*)".*/\1/')
  curl -sN {url}/api/v1/conversation/$CONVERSATION/complete \
    -H "Authorization: Bearer $TOKEN" \
    -H 'Content-Type: application/json' -H 'Accept: application/jsonl' \
    -d '{{"text":"Hello, is anybody there?"}}'

ChatBotKit's own session call works as well, with the client credential in the key's place:

  curl -s {url}/api/v1/bot/chatbotkit/session/create -X POST -H 'Authorization: Bearer {client}'; echo
"#
    )
}

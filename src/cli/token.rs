//! `keystile token`

use std::io::Read;

use clap::Subcommand;
use serde_json::{Value, json};

use super::keys::authority;
use super::{ConfigFile, Outcome, complain, complain_of, say};
use crate::bot::is_client_secret;
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::text::harmless;
use crate::token::{Inspection, Refusal};

/// What a client's secret is.
const SECRET: &str = "this is the secret of a client, and no session token";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Decode, verify and explain a session token: signature, times and binding. No gateway is asked, so whether its session was
    /// revoked, and whether its bot is still offered, is not known here. Makes the signing and sealing keys if there are none.
    #[command(
        after_help = "Examples:\n  keystile token inspect eyJhbGciOiJFZERTQSIs…\n  keystile token inspect - < token.txt"
    )]
    Inspect {
        /// The token, also with `Bearer` before it, or `-` to read it from standard input.
        token: String,
        #[command(flatten)]
        file: ConfigFile,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> Outcome {
    let Command::Inspect { token, file, json } = command;
    let token = match read(token) {
        Ok(token) => token,
        Err(error) => {
            complain_of(&error);
            return Outcome::Failed;
        }
    };
    let token = bare(&token);
    if is_client_secret(token) {
        return refuse_secret(*json);
    }
    let authority = match authority(file) {
        Ok(authority) => authority,
        Err(outcome) => return outcome,
    };
    let inspection = authority.inspect(token);
    let shown = if *json { as_json(&inspection).to_string() } else { as_text(&inspection) };
    say(harmless_lines(&shown));
    if inspection.verdict.is_ok() { Outcome::Done } else { Outcome::Failed }
}

/// A token may come from anybody. Line ends are our own: those of a token's text are escapes, as JSON has them.
fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

fn read(token: &str) -> std::io::Result<String> {
    if token != "-" {
        return Ok(token.to_owned());
    }
    let mut text = String::new();
    // A token has at most 8 KiB; more is none.
    std::io::stdin().lock().take(64 << 10).read_to_string(&mut text)?;
    Ok(text)
}

/// The token without the scheme that it is sent with, which is easily copied with it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        _ => text,
    }
}

/// There is nothing to be said of a client's secret here, and it is not repeated.
fn refuse_secret(as_json: bool) -> Outcome {
    if as_json {
        let code = Code::SessionTokenRequired.name();
        say(json!({"valid": false, "refusal": SECRET, "code": code, "header": null, "claims": null, "binding": null}));
    } else {
        complain(format!(
            "keystile: {SECRET}: it opens sessions, and is for servers alone. If others could see it here, make another: \
             keystile client new NAME"
        ));
    }
    Outcome::Failed
}

fn binding(inspection: &Inspection) -> Value {
    inspection.binding.as_ref().map_or(Value::Null, |binding| {
        json!({
            "vendor": binding.vendor,
            "profile": binding.profile,
            "bot": binding.bot,
            "hasVendorToken": binding.has_token,
            "contact": binding.source.map(|source| source.name()),
        })
    })
}

fn as_json(inspection: &Inspection) -> Value {
    let refusal = inspection.verdict.as_ref().err();
    json!({
        "valid": refusal.is_none(),
        "refusal": refusal.map(ToString::to_string),
        "code": refusal.map(|refusal| Fault::from(*refusal).code().name()),
        "header": inspection.header,
        "claims": inspection.claims,
        "binding": binding(inspection),
    })
}

fn as_text(inspection: &Inspection) -> String {
    let verdict = match &inspection.verdict {
        Ok(()) => "The token is valid by itself: its signature is of this gateway's keys, its time has not passed, and its \
                   binding opens.\nNo gateway was asked: its session may have been revoked, its bot be disabled or gone. \
                   keystile session show ID says more."
            .to_owned(),
        Err(refusal @ Refusal::UnknownKey) => {
            format!(
                "The token is refused: {refusal}. It is of another gateway or key directory; a demo's keys end with it."
            )
        }
        Err(refusal) => format!("The token is refused: {refusal}."),
    };
    let shown = |value: &Option<Value>| {
        value.as_ref().map_or_else(|| "cannot be read".to_owned(), |value| format!("{value:#}"))
    };
    let mut text =
        format!("{verdict}\n\nheader {}\n\nclaims {}\n", shown(&inspection.header), shown(&inspection.claims));
    for (claim, says) in [("auth_time", "session opened"), ("iat", "token issued"), ("exp", "token expires")] {
        if let Some(seconds) = inspection.claims.as_ref().and_then(|claims| claims.get(claim)).and_then(Value::as_u64) {
            text.push_str(&format!("\n{says:<15} {}", Timestamp::from_seconds(seconds)));
        }
    }
    match &inspection.binding {
        Some(_) => text.push_str(&format!("\n\nbound to {:#}", binding(inspection))),
        None if inspection.claims.is_none() => {}
        None => text.push_str("\n\nThe binding does not open: it was sealed for another token, or with another key."),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_also_with_the_scheme_that_it_is_sent_with() {
        for text in ["eyJ.a.b", " eyJ.a.b\n", "Bearer eyJ.a.b", "bearer  eyJ.a.b\n"] {
            assert_eq!(bare(text), "eyJ.a.b", "{text:?}");
        }
        assert_eq!(bare("Basic eyJ.a.b"), "Basic eyJ.a.b");
    }

    #[test]
    fn control_and_bidi_characters_of_a_strangers_token_are_escaped() {
        let claims = json!({"name": "a\u{9b}2J\u{202e}b\u{7}"});
        let shown = harmless_lines(&format!("{claims:#}"));
        assert!(!shown.contains(['\u{9b}', '\u{202e}', '\u{7}']), "{shown:?}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), claims);
    }
}

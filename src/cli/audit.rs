//! `keystile audit`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{ConfigFile, Outcome, complain, complain_of_config, say};
use crate::config;
use crate::id::unhex;
use crate::telemetry::audit::{Noted, Report, verify};
use crate::text::harmless;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read an audit record and say whether it is what was written, line by line. A gateway may be writing it meanwhile.
    ///
    /// A line that was changed, removed, put in or moved is found by the hashes. That the last line was changed, the end
    /// cut off, or all of it written anew, is found only against a number and a hash that were noted elsewhere: --expect.
    #[command(
        after_help = "Example:\n  keystile audit verify -c config/keystile.toml --expect 42:9f86d081884c7d65…\n\n\
                            Ends with 0 where the record is unbroken, with 1 where it is broken or cannot be read."
    )]
    Verify {
        /// The file; else that of the configuration.
        file: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
        /// A record that must be in it, as an earlier run showed it: its number and the hash of its line.
        #[arg(long, value_name = "N:HASH", value_parser = noted)]
        expect: Vec<Noted>,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> Outcome {
    let Command::Verify { file, config, expect, json } = command;
    let file = match file.clone().map_or_else(|| configured(config), Ok) {
        Ok(file) => file,
        Err(outcome) => return outcome,
    };
    let report = match verify(&file, expect) {
        Ok(report) => report,
        Err(error) => {
            let shown = file.display().to_string();
            let why = format!("{} cannot be read: {error}", harmless(&shown));
            match json {
                true => say(json!({"ok": false, "file": shown, "breach": "unreadable", "detail": why})),
                false => complain(format!("keystile: {why}")),
            }
            return Outcome::Failed;
        }
    };
    if *json {
        say(as_json(&file, &report));
    } else {
        say(as_text(&file, &report));
    }
    if report.breach.is_none() { Outcome::Done } else { Outcome::Failed }
}

fn noted(text: &str) -> Result<Noted, String> {
    let parts = text.split_once(':').and_then(|(number, hash)| Some((number.parse().ok()?, hash)));
    match parts {
        Some((number, hash)) if number > 0 && unhex::<32>(hash).is_some() => {
            Ok(Noted { number, hash: hash.to_owned() })
        }
        _ => Err("must be a record's number, a colon, and the 64 hexadecimal digits of its hash".to_owned()),
    }
}

fn configured(config: &ConfigFile) -> Result<PathBuf, Outcome> {
    let settings = config::load_audit(&config.config).map_err(|error| complain_of_config(&error))?;
    settings.file.ok_or_else(|| {
        complain("keystile: audit.file is \"off\": this gateway has no audit record; name a file");
        Outcome::Misused
    })
}

fn as_json(file: &Path, report: &Report) -> Value {
    let breach = report.breach.as_ref();
    let last = report.last.as_ref();
    json!({
        "ok": breach.is_none(),
        "file": file.display().to_string(),
        "records": report.count,
        "first": report.first,
        "last": last.map(|last| json!({"n": last.number, "time": last.time, "hash": last.hash})),
        "beingWritten": report.is_being_written,
        "breach": breach.map(|breach| breach.name()),
        "line": breach.and_then(|breach| breach.line()),
        "detail": breach.map(ToString::to_string),
    })
}

fn as_text(file: &Path, report: &Report) -> String {
    let verdict = match &report.breach {
        None => "unbroken".to_owned(),
        Some(breach) => format!("BROKEN: {breach}"),
    };
    let shown = file.display().to_string();
    let mut text = format!("{}: {verdict}\nrecords  {}", harmless(&shown), report.count);
    if let (Some(first), Some(last)) = (&report.first, &report.last) {
        text.push_str(&format!("\nfirst    {}\nlast     {}", harmless(first), harmless(&last.time)));
        text.push_str(&format!("\nto note  {}:{}", last.number, last.hash));
    }
    if report.is_being_written {
        text.push_str("\nA gateway is writing the next one just now.");
    }
    if report.breach.is_some() {
        text.push_str("\nWhat is counted here is what holds together before that.");
    }
    text
}

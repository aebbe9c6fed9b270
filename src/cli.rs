//! Arguments → command → exit code: 0 done, 1 failed, 2 wrong usage or configuration.

mod audit;
mod check;
mod client;
mod demo;
mod explain;
mod keys;
mod profile;
mod serve;
mod session;
mod sheet;
mod signals;
mod token;
mod watched;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use crate::config::ConfigError;
use crate::document::{Environment, Problem};
use crate::telemetry::{self, Log};

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    Misused,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::from(1),
            Outcome::Misused => Self::from(2),
        }
    }
}

/// A turnstile for API keys: session tokens for conversational vendor APIs, and a proxy that puts the real key in.
#[derive(Debug, Parser)]
#[command(name = "keystile", version, max_term_width = 100, after_help = "Example:\n  keystile demo")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    #[command(after_help = "Example:\n  keystile serve -c config/keystile.toml")]
    Serve(ConfigFile),
    /// The whole thing on this machine: gateway, simulated vendors, a page to try it in.
    #[command(after_help = "Example:\n  keystile demo --listen 127.0.0.1:8080")]
    Demo(demo::Arguments),
    /// Read the configuration and report every problem with its key path and line.
    #[command(after_help = "Example:\n  keystile check -c config/keystile.toml")]
    Check(check::Arguments),
    /// What the gateway would do with a call: whose it is, who may make it, what is sent, which limits hold.
    #[command(
        after_help = "Example:\n  keystile explain -c config/keystile.toml POST https://chat.example.com/v1/bots/support/sessions\n\n\
                      Ends with 0 where there is such a call, with 1 where there is none."
    )]
    Explain(explain::Arguments),
    /// The audit record.
    #[command(subcommand, after_help = "Example:\n  keystile audit verify -c config/keystile.toml")]
    Audit(audit::Command),
    /// Credentials of clients.
    #[command(subcommand, after_help = "Example:\n  keystile client new website")]
    Client(client::Command),
    /// Signing and sealing keys.
    #[command(subcommand, after_help = "Example:\n  keystile keys list -c config/keystile.toml")]
    Keys(keys::Command),
    /// What the gateway knows of vendors' APIs.
    #[command(subcommand, after_help = "Example:\n  keystile profile show chatbotkit")]
    Profile(profile::Command),
    /// Sessions of a running gateway.
    #[command(subcommand, after_help = "Example:\n  keystile session list --bot support")]
    Session(session::Command),
    /// Session tokens.
    #[command(subcommand, after_help = "Example:\n  keystile token inspect - < token.txt")]
    Token(token::Command),
}

/// Which configuration.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(short, long = "config", value_name = "FILE", default_value = "config/keystile.toml")]
    config: PathBuf,
}

/// Runs the command that `arguments` say.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    telemetry::tell_of_panics();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are written to standard output, misuse to standard error; neither can be told if closed.
            let _written = error.print();
            return if error.use_stderr() { Outcome::Misused } else { Outcome::Done }.into();
        }
    };
    match arguments.command {
        Command::Serve(file) => serve::run(&file),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Audit(command) => audit::run(&command),
        Command::Client(command) => client::run(&command),
        Command::Keys(command) => keys::run(&command),
        Command::Profile(command) => profile::run(&command),
        Command::Session(command) => session::run(&command),
        Command::Token(command) => token::run(&command),
    }
    .into()
}

/// Starts the log of a command that goes on.
fn started_log() -> Result<Log, Outcome> {
    telemetry::start_log(Environment::process("").variable("RUST_LOG").as_deref()).map_err(|error| {
        complain_of(&error);
        Outcome::Failed
    })
}

/// Writes a line for the user.
fn say(line: impl Display) {
    // Nobody is there to be told that nobody is there.
    let _written = writeln!(std::io::stdout().lock(), "{line}").and_then(|()| std::io::stdout().flush());
}

/// Writes a line about what went wrong.
fn complain(line: impl Display) {
    let _written = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes an error with all its causes.
fn complain_of(error: &dyn std::error::Error) {
    let mut line = format!("keystile: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    complain(line);
}

/// Writes what is wrong with the configuration.
fn complain_of_config(error: &ConfigError) -> Outcome {
    complain(error);
    Outcome::Misused
}

/// A problem, for programs.
fn described(problem: &Problem) -> Value {
    json!({"file": problem.file, "line": problem.line, "path": problem.path, "message": problem.message})
}

/// Writes what is wrong with the configuration, for people or for programs.
fn misconfigured(error: &ConfigError, file: &ConfigFile, as_json: bool) -> Outcome {
    if !as_json {
        return complain_of_config(error);
    }
    let problems: Vec<Value> = match error {
        ConfigError::Problems(problems) => problems.iter().map(described).collect(),
        ConfigError::Unreadable { .. } => {
            vec![
                json!({"file": file.config.display().to_string(), "line": 0, "path": "", "message": error.to_string()}),
            ]
        }
    };
    say(json!({"ok": false, "problems": problems}));
    Outcome::Misused
}

//! `keystile session`: the sessions of a running gateway, over its admin listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::keys::date;
use super::{ConfigFile, Outcome, complain, complain_of, complain_of_config, say};
use crate::clock::Timestamp;
use crate::config;
use crate::document::Environment;
use crate::net::percent_encode;
use crate::secret::{Secret, read_private};
use crate::text::harmless;

/// Where the operators' secret is, unless a file is named.
const VARIABLE: &str = "KEYSTILE_ADMIN";
/// The gateway waits some seconds for its store, not longer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The newest sessions, a page of them.
    #[command(after_help = "Example:\n  KEYSTILE_ADMIN=ksc_admin_… keystile session list --bot support")]
    List {
        #[command(flatten)]
        whose: Whose,
        /// The `next` of the page before.
        #[arg(long)]
        cursor: Option<String>,
        #[command(flatten)]
        reach: Reach,
    },
    /// One session.
    #[command(after_help = "Example:\n  keystile session show 7f0c… --secret-file /etc/keystile/admin")]
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// End a session, or all of a bot or a contact that are open now.
    #[command(after_help = "Example:\n  keystile session revoke --contact ada@example.com --client website")]
    Revoke {
        /// Its id.
        #[arg(required_unless_present_any = ["bot", "contact"], conflicts_with_all = ["bot", "contact"])]
        id: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Args)]
pub(super) struct Whose {
    /// Those of this bot.
    #[arg(long)]
    bot: Option<String>,
    /// Those of this contact: an email address, or a phone number with its +.
    #[arg(long, requires = "client")]
    contact: Option<String>,
    /// The client that vouched for the contact.
    #[arg(long, requires = "contact")]
    client: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Reach {
    #[command(flatten)]
    file: ConfigFile,
    /// The file of the operators' secret; else the variable KEYSTILE_ADMIN has it.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Write JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command) -> Outcome {
    let (method, path, reach) = match command {
        Command::List { whose, cursor, reach } => {
            let more = cursor.as_deref().map(|cursor| ("cursor", cursor));
            (Method::GET, format!("/v1/sessions{}", whose.query(more)), reach)
        }
        Command::Show { id, reach } => (Method::GET, one(id), reach),
        Command::Revoke { id: Some(id), reach, .. } => (Method::DELETE, one(id), reach),
        Command::Revoke { id: None, whose, reach } => {
            (Method::DELETE, format!("/v1/sessions{}", whose.query(None)), reach)
        }
    };
    let (address, secret) = match (reach.address(), reach.secret()) {
        (Ok(address), Ok(secret)) => (address, secret),
        (Err(outcome), _) | (_, Err(outcome)) => return outcome,
    };
    match called(address, &secret, method, &path) {
        Ok((status, answer)) if status.is_success() => {
            if reach.json {
                say(&answer)
            } else {
                shown(&answer)
            }
            Outcome::Done
        }
        Ok((status, answer)) => {
            let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("the answer says nothing more");
            complain(format!("keystile: {}: {}", status.as_u16(), harmless(detail)));
            Outcome::Failed
        }
        Err(error) => {
            complain_of(&*error);
            Outcome::Failed
        }
    }
}

fn one(id: &str) -> String {
    let mut path = "/v1/sessions/".to_owned();
    percent_encode(id, &mut path);
    path
}

impl Whose {
    fn query(&self, more: Option<(&str, &str)>) -> String {
        let given = [("bot", &self.bot), ("contact", &self.contact), ("client", &self.client)];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let mut query = String::new();
        for (name, value) in given.chain(more) {
            query.push_str(&format!("{}{name}=", if query.is_empty() { '?' } else { '&' }));
            percent_encode(value, &mut query);
        }
        query
    }
}

impl Reach {
    fn address(&self) -> Result<SocketAddr, Outcome> {
        let settings = config::load_admin(&self.file.config).map_err(|error| complain_of_config(&error))?;
        let mut address = settings.address.ok_or_else(|| {
            complain("keystile: admin.listen is \"off\": this gateway has no admin listener");
            Outcome::Misused
        })?;
        if address.ip().is_unspecified() {
            let here = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
            address.set_ip(here);
        }
        Ok(address)
    }

    fn secret(&self) -> Result<Secret, Outcome> {
        let text = match &self.secret_file {
            Some(file) => read_private(file).map(|text| Secret::new(text.trim())),
            None => Environment::process("")
                .variable(VARIABLE)
                .map(Secret::new)
                .ok_or_else(|| format!("the operators' secret is needed: set {VARIABLE}, or name --secret-file")),
        };
        text.map_err(|wrong| {
            complain(format!("keystile: {wrong}"));
            Outcome::Misused
        })
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn called(address: SocketAddr, secret: &Secret, method: Method, path: &str) -> Result<(StatusCode, Value), Failure> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {}", secret.expose()))
        .body(Empty::<Bytes>::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let call = async {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            let value = if body.is_empty() { json!({}) } else { serde_json::from_slice(&body)? };
            Ok((status, value))
        };
        tokio::time::timeout(PATIENCE, call).await?
    })
}

/// For people: a line a session, or its members.
fn shown(answer: &Value) {
    if let Some(sessions) = answer.get("sessions").and_then(Value::as_array) {
        for session in sessions {
            let text = |name: &str| harmless(session.get(name).and_then(Value::as_str).unwrap_or("-")).into_owned();
            let opened = session.get("openedAt").and_then(Value::as_u64).unwrap_or_default();
            let opened = date(Timestamp::from_millis(opened));
            say(format!("{:<8} {opened}  {}  {}", text("state"), text("sessionId"), text("bot")));
        }
        if let Some(next) = answer.get("next").and_then(Value::as_str) {
            say(format!("\nmore: --cursor {}", harmless(next)));
        }
    } else if let Some(session) = answer.as_object().filter(|session| session.contains_key("sessionId")) {
        for (name, value) in session {
            say(format!("{name:<15} {}", harmless(&value.to_string())));
        }
    } else {
        say("ended");
    }
}

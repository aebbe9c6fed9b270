//! `keystile session`: the sessions of a running gateway, over its admin listener.

mod reach;
mod when;

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, value_parser};
use http::Method;
use serde_json::{Map, Value, json};

use self::reach::{Gateway, Reach};
use self::when::When;
use super::{Outcome, say};
use crate::api::LONGEST_PAGE;
use crate::clock::{Clock, Timestamp};
use crate::document::parse_duration;
use crate::net::percent_encode;
use crate::text::harmless;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Open a session: its id, its token and the token's end.
    #[command(after_help = "Example:\n  keystile session mint --bot support --client website --ttl 1h")]
    Mint(Box<Mint>),
    /// The newest sessions, a page of them.
    #[command(after_help = "Example:\n  KEYSTILE_ADMIN=ksc_admin_… keystile session list --bot support --from 2h")]
    List(Box<List>),
    /// One session.
    #[command(after_help = "Example:\n  keystile session show 7f0c… --secret-file /etc/keystile/admin")]
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// End a session, or all of a bot or a contact that are open now.
    #[command(
        after_help = "Example:\n  keystile session revoke --contact ada@example.com --client website",
        group = ArgGroup::new("ended").required(true).args(["id", "bot", "contact"])
    )]
    Revoke {
        /// Its id.
        id: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Args)]
pub(super) struct Mint {
    /// The bot that it talks to.
    #[arg(long)]
    bot: String,
    /// The client whose session it is, and which vouches for the contact: an owner of the bot. Without one it is the only
    /// owner's; of a public bot it is nobody's, and its contact is only claimed.
    #[arg(long)]
    client: Option<String>,
    /// How long the token lives, such as 1h; else as the bot says.
    #[arg(long, value_parser = life)]
    ttl: Option<Duration>,
    /// The contact's email address.
    #[arg(long)]
    email: Option<String>,
    /// The contact's name.
    #[arg(long)]
    name: Option<String>,
    /// The contact's phone number.
    #[arg(long)]
    phone: Option<String>,
    /// The one page that the token is good from.
    #[arg(long)]
    origin: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    whose: Whose,
    /// Opened then or later: a time such as 2026-11-21T06:54:44Z, or how long ago, such as 2h.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    from: Option<When>,
    /// Opened before then: likewise.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    to: Option<When>,
    /// How many on a page, 1 to 200.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=i64::from(LONGEST_PAGE)))]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[arg(long)]
    cursor: Option<String>,
    /// All pages, one after the other.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    reach: Reach,
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

pub(super) fn run(command: &Command) -> Outcome {
    let done = match command {
        Command::Mint(mint) => mint.run(),
        Command::List(list) => list.run(),
        Command::Show { id, reach } => asked(reach, Method::GET, &one(id)),
        Command::Revoke { id: Some(id), reach, .. } => asked(reach, Method::DELETE, &one(id)),
        Command::Revoke { id: None, whose, reach } => whose.end(reach),
    };
    done.err().unwrap_or(Outcome::Done)
}

fn asked(reach: &Reach, method: Method, path: &str) -> Result<(), Outcome> {
    let answer = reach.gateway()?.ask(method, path, None)?;
    match answer.as_object().filter(|session| session.contains_key("sessionId")) {
        _ if reach.json => say(&answer),
        Some(session) => {
            session.iter().for_each(|(name, value)| say(format!("{name:<15} {}", harmless(&shown(name, value)))));
        }
        None => say("ended"),
    }
    Ok(())
}

/// A member of a session: a moment as a date, all else as JSON has it.
fn shown(name: &str, value: &Value) -> String {
    match value.as_u64().filter(|_| name.ends_with("At")) {
        Some(millis) => Timestamp::from_millis(millis).to_string(),
        None => value.to_string(),
    }
}

impl Mint {
    fn run(&self) -> Result<(), Outcome> {
        let mut path = "/v1/bots/".to_owned();
        percent_encode(&self.bot, &mut path);
        path.push_str("/sessions");
        let answer = self.reach.gateway()?.ask(Method::POST, &path, Some(&self.wish()))?;
        if self.reach.json {
            say(&answer);
            return Ok(());
        }
        let text = |name: &str| harmless(answer.get(name).and_then(Value::as_str).unwrap_or("-")).into_owned();
        let ends = answer.get("expiresAt").and_then(Value::as_u64).unwrap_or_default();
        let (session, conversation, token) = (text("sessionId"), text("conversationId"), text("token"));
        let ends = Timestamp::from_millis(ends);
        say(format!("session      {session}\nconversation {conversation}\nexpires      {ends}\ntoken        {token}"));
        Ok(())
    }

    fn wish(&self) -> Value {
        let contact = members([("email", &self.email), ("name", &self.name), ("phone", &self.phone)]);
        let mut wish = members([("client", &self.client), ("origin", &self.origin)]);
        if let Some(ttl) = self.ttl {
            wish.insert("durationInSeconds".to_owned(), ttl.as_secs().into());
        }
        if !contact.is_empty() {
            wish.insert("contact".to_owned(), contact.into());
        }
        wish.into()
    }
}

impl List {
    fn run(&self) -> Result<(), Outcome> {
        let gateway = self.reach.gateway()?;
        let mut answer = self.page(&gateway, self.cursor.as_deref())?;
        if !self.all {
            self.show(&answer);
            return Ok(());
        }
        let mut all = Vec::new();
        loop {
            let next = answer.get("next").and_then(Value::as_str).map(str::to_owned);
            if self.reach.json {
                let page = answer.get_mut("sessions").and_then(Value::as_array_mut);
                all.append(page.unwrap_or(&mut Vec::new()));
            } else {
                rows(&answer);
            }
            let Some(next) = next else { break };
            answer = self.page(&gateway, Some(&next))?;
        }
        if self.reach.json {
            say(json!({"sessions": all, "next": null}));
        }
        Ok(())
    }

    fn page(&self, gateway: &Gateway, cursor: Option<&str>) -> Result<Value, Outcome> {
        let now = Clock::system().now();
        let moment = |when: Option<When>| when.map(|when| when.millis(now).to_string());
        let mut given = self.whose.given();
        given.extend([
            ("from", moment(self.from)),
            ("to", moment(self.to)),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", cursor.map(str::to_owned)),
        ]);
        gateway.ask(Method::GET, &format!("/v1/sessions{}", query(&given)), None)
    }

    fn show(&self, answer: &Value) {
        if self.reach.json {
            say(answer);
            return;
        }
        rows(answer);
        if let Some(next) = answer.get("next").and_then(Value::as_str) {
            say(format!("\nmore: --cursor {}", harmless(next)));
        }
    }
}

/// A line a session.
fn rows(answer: &Value) {
    for session in answer.get("sessions").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| harmless(session.get(name).and_then(Value::as_str).unwrap_or("-")).into_owned();
        let opened = session.get("openedAt").and_then(Value::as_u64).unwrap_or_default();
        let opened = Timestamp::from_millis(opened);
        say(format!("{:<8} {opened}  {}  {}", text("state"), text("sessionId"), text("bot")));
    }
}

fn members<const N: usize>(given: [(&str, &Option<String>); N]) -> Map<String, Value> {
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?.into()))).collect()
}

fn life(text: &str) -> Result<Duration, String> {
    let life = parse_duration(text).filter(|life| life.subsec_nanos() == 0);
    life.ok_or_else(|| "write whole seconds with a unit, such as 30m or 1h".to_owned())
}

fn one(id: &str) -> String {
    let mut path = "/v1/sessions/".to_owned();
    percent_encode(id, &mut path);
    path
}

impl Whose {
    fn given(&self) -> Vec<(&'static str, Option<String>)> {
        vec![("bot", self.bot.clone()), ("contact", self.contact.clone()), ("client", self.client.clone())]
    }

    /// Ends all of them. How many there were, nobody counts.
    fn end(&self, reach: &Reach) -> Result<(), Outcome> {
        let path = format!("/v1/sessions{}", query(&self.given()));
        let answer = reach.gateway()?.ask(Method::DELETE, &path, None)?;
        if reach.json {
            say(&answer);
            return Ok(());
        }
        let until = answer.get("openedUntil").and_then(Value::as_u64).map(Timestamp::from_millis);
        let until = until.map_or_else(|| "now".to_owned(), |until| until.to_string());
        let whose = match (&self.contact, &self.bot) {
            (Some(contact), _) => format!("contact {contact}"),
            (None, bot) => format!("bot {}", bot.as_deref().unwrap_or("-")),
        };
        say(format!("every session of {} opened until {until} is ended, if there were any", harmless(&whose)));
        Ok(())
    }
}

fn query(given: &[(&str, Option<String>)]) -> String {
    let mut query = String::new();
    for (name, value) in given.iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
        query.push_str(&format!("{}{name}=", if query.is_empty() { '?' } else { '&' }));
        percent_encode(value, &mut query);
    }
    query
}

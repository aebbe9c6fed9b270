//! What goes to the scripts and what comes from them: JSON whose values are all strings, because Lua's numbers and JSON's
//! are not as long as ours.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::id::{hex, unhex};
use crate::store::change::unreadable as unknown;
use crate::store::{
    Begun, Cap, Change, ChangeKind, Changes, Counted, Cursor, Filter, Known, Record, Revoked, Scope, StoreError, Taken,
};

/// A time, as the scripts have it.
pub(super) fn millis(moment: Timestamp) -> String {
    moment.millis().to_string()
}

/// A record; what is absent is not there.
pub(super) fn record(record: &Record) -> String {
    text(json!({
        "id": record.id, "bot": record.bot, "client": record.client, "subject": record.subject,
        "conversation": record.conversation, "source": record.source, "contact": record.contact,
        "origin": record.origin, "address": record.address, "opened": millis(record.opened),
        "expires": millis(record.expires), "ends": millis(record.ends), "ended": record.ended.map(millis),
        "known": record.known.map(digits), "ends_earlier": if record.ends_earlier { "1" } else { "0" },
    }))
}

/// Who a visitor turned out to be.
pub(super) fn known(known: &Known) -> String {
    let Known { digest, subject, source, contact } = known;
    text(json!({ "digest": digits(*digest), "subject": subject, "source": source, "contact": contact }))
}

/// Caps, in their order.
pub(super) fn caps(caps: &[Cap]) -> String {
    let cap = |cap: &Cap| json!({ "what": cap.what.name(), "most": cap.most.to_string() });
    Value::from(caps.iter().map(cap).collect::<Vec<_>>()).to_string()
}

/// Which sessions, and after which.
pub(super) fn filter(filter: &Filter, after: Option<&Cursor>) -> String {
    text(json!({
        "bots": filter.bots, "subject": filter.subject, "from": filter.opened_after.map(millis),
        "before": filter.opened_before.map(millis), "opened": after.map(|cursor| millis(cursor.opened)),
        "id": after.map(|cursor| cursor.id.as_str()),
    }))
}

/// Lua's JSON has a value for null that is true.
fn text(mut value: Value) -> String {
    if let Value::Object(members) = &mut value {
        members.retain(|_, value| !value.is_null());
    }
    value.to_string()
}

fn digits(digest: u128) -> String {
    hex(&digest.to_be_bytes())
}

/// What a script answered: a word, and what belongs to it.
pub(super) struct Reply {
    word: Vec<u8>,
    rest: VecDeque<Vec<u8>>,
}

impl Reply {
    pub(super) fn new(parts: Vec<Vec<u8>>) -> Self {
        let mut rest = VecDeque::from(parts);
        Self { word: rest.pop_front().unwrap_or_default(), rest }
    }

    /// Of a sweep: whether it is to go on.
    pub(super) fn has_more(&self) -> bool {
        self.rest.front().is_some_and(|more| more == b"1")
    }

    /// Nothing but that it was done.
    pub(super) fn done(self) -> Result<(), StoreError> {
        self.rest().map(|_nothing| ())
    }

    /// The record that there must be.
    pub(super) fn record(self) -> Result<Record, StoreError> {
        self.records()?.pop().ok_or_else(unreadable)
    }

    /// Records, in their order.
    pub(super) fn records(self) -> Result<Vec<Record>, StoreError> {
        self.rest()?.iter().map(|part| Row::parse(part)?.record().ok_or_else(unreadable)).collect()
    }

    /// A revocation.
    pub(super) fn revoked(self) -> Result<Revoked, StoreError> {
        let mut rest = self.rest()?;
        let (number, at) = (number(rest.pop_front())?, number(rest.pop_front())?);
        Ok(Revoked { number, at: Timestamp::from_millis(at) })
    }

    /// A piece of the log.
    pub(super) fn changes(self) -> Result<Changes, StoreError> {
        let mut rest = self.rest()?;
        let (last, is_all) = (number(rest.pop_front())?, number(rest.pop_front())? == 1);
        let entries = rest
            .iter()
            .map(|part| Row::parse(part).map_err(|_malformed| unknown(None))?.change())
            .collect::<Result<_, _>>()?;
        Ok(Changes { entries, last, is_all })
    }

    /// What became of a call.
    pub(super) fn begun(mut self) -> Result<Begun, StoreError> {
        match self.word.as_slice() {
            b"new" => Ok(Begun::New),
            b"in flight" => Ok(Begun::InFlight),
            b"other" => Ok(Begun::Other),
            b"answered" => Ok(Begun::Answered(self.rest.pop_front().ok_or_else(unreadable)?)),
            _ => Err(unreadable()),
        }
    }

    /// Whether one of a rate was free.
    pub(super) fn taken(mut self) -> Result<Taken, StoreError> {
        if self.word == b"wait" {
            return Ok(Taken::Wait(Duration::from_micros(number(self.rest.pop_front())?)));
        }
        Ok(Taken::Yes(Duration::from_micros(number(self.rest()?.pop_front())?)))
    }

    /// Times, in microseconds.
    pub(super) fn durations(self) -> Result<Vec<Duration>, StoreError> {
        self.rest()?.into_iter().map(|part| number(Some(part)).map(Duration::from_micros)).collect()
    }

    fn rest(self) -> Result<VecDeque<Vec<u8>>, StoreError> {
        match self.word.as_slice() {
            b"ok" => Ok(self.rest),
            b"unknown" => Err(StoreError::Unknown),
            b"ended" => Err(StoreError::Ended),
            b"conflict" => Err(StoreError::Conflict),
            b"too many" => {
                let is_address = self.rest.front().is_some_and(|what| what == Counted::Address.name().as_bytes());
                let counted = if is_address { Counted::Address } else { Counted::Contact };
                Err(StoreError::TooMany(counted.name()))
            }
            _ => Err(unreadable()),
        }
    }
}

/// One object of strings.
struct Row(Map<String, Value>);

impl Row {
    fn parse(part: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(part).map(Self).map_err(|_malformed| unreadable())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(str::to_owned)
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        self.text(name)?.parse().ok().map(Timestamp::from_millis)
    }

    fn digest(&self, name: &str) -> Option<u128> {
        unhex(&self.text(name)?).map(u128::from_be_bytes)
    }

    fn record(&self) -> Option<Record> {
        Some(Record {
            id: self.text("id")?,
            bot: self.text("bot")?,
            client: self.text("client")?,
            subject: self.text("subject")?,
            conversation: self.text("conversation")?,
            source: self.text("source"),
            contact: self.text("contact"),
            origin: self.text("origin"),
            address: self.text("address"),
            opened: self.time("opened")?,
            expires: self.time("expires")?,
            ends: self.time("ends")?,
            ended: self.time("ended"),
            known: self.digest("known"),
            ends_earlier: self.text("ends_earlier")? == "1",
        })
    }

    fn change(&self) -> Result<Change, StoreError> {
        let number = self.text("number").and_then(|number| number.parse().ok());
        number.and_then(|number| self.change_of(number)).ok_or_else(|| unknown(number))
    }

    fn change_of(&self, number: u64) -> Option<Change> {
        let name = self.text("name")?;
        let kind = match self.text("kind")?.as_str() {
            Scope::SESSION => ChangeKind::Ended(name),
            Scope::CONTACT => ChangeKind::Contact(name),
            Scope::BOT => ChangeKind::Bot(name),
            Scope::RECOGNISED => ChangeKind::Recognised {
                id: name,
                digest: self.digest("digest")?,
                subject: self.text("subject")?,
                ends_earlier: self.text("ends_earlier")? == "1",
            },
            _ => return None,
        };
        Some(Change { number, kind, at: self.time("at")?, until: self.time("until")? })
    }
}

fn number(part: Option<Vec<u8>>) -> Result<u64, StoreError> {
    let text = part.and_then(|part| String::from_utf8(part).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(unreadable)
}

fn unreadable() -> StoreError {
    StoreError::away("Redis holds what this Keystile cannot read")
}

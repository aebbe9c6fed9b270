//! Sessions in their table.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params, params_from_iter};

use super::{changes, millis, moment};
use crate::clock::Timestamp;
use crate::id::{hex, unhex};
use crate::store::{Cap, ChangeKind, Counted, Cursor, Filter, Known, LOG_MARGIN, Page, Record, StoreError};

/// All columns of a record. A session has ended when it was revoked, or when its contact or its bot was.
const SELECT: &str = "SELECT id, bot, client, subject, conversation, source, contact, origin, address, opened, expires, \
    ends, (SELECT min(at) FROM (SELECT at FROM revocations WHERE at >= opened AND \
        ((scope = 'contact' AND name = subject) OR (scope = 'bot' AND name = bot)) UNION ALL SELECT ended)) AS ended, \
    known, ends_earlier FROM sessions";

/// Whether a new session may be kept.
pub(super) fn has_room(
    connection: &Connection,
    record: &Record,
    caps: &[Cap],
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM revocations WHERE at >= ?1 AND \
         ((scope = 'contact' AND name = ?2) OR (scope = 'bot' AND name = ?3)))";
    let mut revoked = connection.prepare_cached(sql)?;
    if revoked.query_row(params![millis(record.opened), record.subject, record.bot], |row| row.get(0))? {
        return Err(StoreError::Ended);
    }
    for cap in caps {
        let Some(counted) = record.counted_by(cap.what) else { continue };
        if live(connection, record, cap.what, counted, now)? >= cap.most {
            return Err(StoreError::TooMany(cap.what.name()));
        }
    }
    Ok(())
}

/// Keeps a new session. One that is there already is left as it is.
pub(super) fn open(connection: &Connection, record: &Record, caps: &[Cap], now: Timestamp) -> Result<(), StoreError> {
    has_room(connection, record, caps, now)?;
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO sessions VALUES (:id, :bot, :client, :subject, :conversation, :source, :contact, \
         :origin, :address, :opened, :expires, :ends, :ended, :known, :ends_earlier)",
    )?;
    insert.execute(named_params! {
        ":id": record.id, ":bot": record.bot, ":client": record.client, ":subject": record.subject,
        ":conversation": record.conversation, ":source": record.source, ":contact": record.contact,
        ":origin": record.origin, ":address": record.address, ":opened": millis(record.opened),
        ":expires": millis(record.expires), ":ends": millis(record.ends), ":ended": record.ended.map(millis),
        ":known": record.known.map(digits), ":ends_earlier": record.ends_earlier,
    })?;
    Ok(())
}

/// How many sessions of the record's bot are live.
fn live(
    connection: &Connection,
    record: &Record,
    what: Counted,
    counted: &str,
    now: Timestamp,
) -> Result<u32, StoreError> {
    let column = match what {
        Counted::Contact => "subject",
        Counted::Address => "address",
    };
    let sql = format!(
        "SELECT count(*) FROM ({SELECT} WHERE bot = ?1 AND {column} = ?2 AND expires > ?3) WHERE ended IS NULL"
    );
    let mut count = connection.prepare_cached(&sql)?;
    Ok(count.query_row(params![record.bot, counted, millis(now)], |row| row.get(0))?)
}

/// The session of this id.
pub(super) fn find(connection: &Connection, id: &str) -> Result<Option<Record>, StoreError> {
    let mut select = connection.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    Ok(select.query_row([id], record).optional()?)
}

/// A page of sessions.
///
/// Each bot is asked for a page of its own, in the order of its index: one statement for several would sort all that
/// they ever had.
pub(super) fn list(
    connection: &Connection,
    filter: &Filter,
    after: Option<&Cursor>,
    most: u32,
) -> Result<Page, StoreError> {
    let bots: Vec<Option<&String>> = match &filter.bots {
        None => vec![None],
        Some(bots) => bots.iter().collect::<BTreeSet<_>>().into_iter().map(Some).collect(),
    };
    let mut records = Vec::new();
    for bot in bots {
        records.extend(newest(connection, bot, filter, after, most)?);
    }
    records.sort_by(|one, other| (other.opened, &other.id).cmp(&(one.opened, &one.id)));
    Ok(Page::cut(records, most))
}

/// The newest sessions of a bot or of all: one more than `most`, if there is.
fn newest(
    connection: &Connection,
    bot: Option<&String>,
    filter: &Filter,
    after: Option<&Cursor>,
    most: u32,
) -> Result<Vec<Record>, StoreError> {
    let text = |text: &String| Value::from(text.clone());
    let time = |moment| Value::from(millis(moment));
    let conditions = [
        ("bot = ?", bot.map(|bot| vec![text(bot)])),
        ("subject = ?", filter.subject.as_ref().map(|subject| vec![text(subject)])),
        ("opened >= ?", filter.opened_after.map(|opened| vec![time(opened)])),
        ("opened < ?", filter.opened_before.map(|opened| vec![time(opened)])),
        ("(opened, id) < (?, ?)", after.map(|cursor| vec![time(cursor.opened), text(&cursor.id)])),
    ];
    // A contact has few sessions and a bot many. Left to itself, SQLite would read all of the bot's, as they are in order.
    let index = if filter.subject.is_some() { "INDEXED BY sessions_live_by_contact " } else { "" };
    let mut sql = format!("{SELECT} {index}WHERE true");
    let mut values = Vec::new();
    for (condition, given) in conditions {
        if let Some(given) = given {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.extend(given);
        }
    }
    sql.push_str(" ORDER BY opened DESC, id DESC LIMIT ?");
    values.push(Value::from(i64::from(most) + 1));
    let mut select = connection.prepare_cached(&sql)?;
    Ok(select.query_map(params_from_iter(values), record)?.collect::<Result<_, _>>()?)
}

/// Notes a token until `expires`.
pub(super) fn renew(
    connection: &Connection,
    id: &str,
    expires: Timestamp,
    now: Timestamp,
) -> Result<Record, StoreError> {
    let mut record = going_on(connection, id, now)?;
    record.expires = record.expires.max(expires);
    let mut update = connection.prepare_cached("UPDATE sessions SET expires = ?2 WHERE id = ?1")?;
    update.execute(params![id, millis(record.expires)])?;
    Ok(record)
}

/// Notes who the visitor is.
pub(super) fn recognise(
    connection: &Connection,
    id: &str,
    known: &Known,
    keeps_earlier: bool,
    expires: Timestamp,
    now: Timestamp,
) -> Result<Record, StoreError> {
    let mut record = going_on(connection, id, now)?;
    let is_new = match record.known {
        Some(digest) if digest != known.digest => return Err(StoreError::Conflict),
        Some(_) => false,
        None => true,
    };
    if changes::is_contact_revoked(connection, &known.subject, record.opened)? {
        return Err(StoreError::Ended);
    }
    if is_new {
        record.subject.clone_from(&known.subject);
        record.source = Some(known.source.clone());
        record.known = Some(known.digest);
    }
    // The same visitor may have another name by now.
    record.contact.clone_from(&known.contact);
    let ends_more = !keeps_earlier && !record.ends_earlier;
    record.ends_earlier |= !keeps_earlier;
    record.expires = record.expires.max(expires);
    let mut update = connection.prepare_cached(
        "UPDATE sessions SET subject = ?2, source = ?3, contact = ?4, known = ?5, ends_earlier = ?6, expires = ?7 WHERE id = ?1",
    )?;
    let Record { subject, source, contact, ends_earlier, .. } = &record;
    update.execute(params![
        id,
        subject,
        source,
        contact,
        digits(known.digest),
        ends_earlier,
        millis(record.expires)
    ])?;
    if is_new || ends_more {
        let Record { subject, ends_earlier, .. } = record.clone();
        let kind = ChangeKind::Recognised { id: id.to_owned(), digest: known.digest, subject, ends_earlier };
        changes::append(connection, &kind, now, record.ends.plus(LOG_MARGIN))?;
    }
    Ok(record)
}

/// The session, if it can still be changed.
fn going_on(connection: &Connection, id: &str, now: Timestamp) -> Result<Record, StoreError> {
    let record = find(connection, id)?.ok_or(StoreError::Unknown)?;
    if record.ended.is_some() || record.ends <= now { Err(StoreError::Ended) } else { Ok(record) }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let time = |name: &str| row.get(name).map(moment);
    Ok(Record {
        id: row.get("id")?,
        bot: row.get("bot")?,
        client: row.get("client")?,
        subject: row.get("subject")?,
        conversation: row.get("conversation")?,
        source: row.get("source")?,
        contact: row.get("contact")?,
        origin: row.get("origin")?,
        address: row.get("address")?,
        opened: time("opened")?,
        expires: time("expires")?,
        ends: time("ends")?,
        ended: row.get::<_, Option<i64>>("ended")?.map(moment),
        known: row.get::<_, Option<String>>("known")?.as_deref().and_then(digest),
        ends_earlier: row.get("ends_earlier")?,
    })
}

/// A digest as the tables have it.
pub(super) fn digits(digest: u128) -> String {
    hex(&digest.to_be_bytes())
}

/// A digest of the tables.
pub(super) fn digest(digits: &str) -> Option<u128> {
    unhex(digits).map(u128::from_be_bytes)
}

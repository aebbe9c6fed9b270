//! Revocations, and the log of them and of recognitions.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::sessions::{digest, digits};
use super::{millis, moment};
use crate::clock::Timestamp;
use crate::store::change::{MOST_CHANGES, unreadable};
use crate::store::{Change, ChangeKind, Changes, Revoked, Scope, StoreError};

/// Revokes what is in `scope`.
///
/// A contact or bot that is revoked again leaves one entry in the log, the later one: it says all that the earlier did.
pub(super) fn revoke(
    connection: &Connection,
    scope: &Scope,
    until: Timestamp,
    now: Timestamp,
) -> Result<Revoked, StoreError> {
    let (kind, name) = scope.parts();
    let earlier = earlier(connection, kind, name)?;
    let is_session = kind == Scope::SESSION;
    if let Some((revoked, ends)) = earlier {
        if is_session && ends >= until {
            return Ok(revoked);
        }
        connection.execute("DELETE FROM changes WHERE number = ?1", [sql(revoked.number)])?;
    }
    let at = match earlier {
        Some((revoked, _)) if is_session => revoked.at,
        Some((revoked, _)) => revoked.at.max(newest(connection, scope)?).max(now),
        None => now.max(newest(connection, scope)?),
    };
    let until = earlier.map_or(until, |(_, ends)| ends.max(until));
    let number = append(connection, &entry(scope), at, until)?;
    connection.execute(
        "INSERT OR REPLACE INTO revocations VALUES (?1, ?2, ?3, ?4, ?5)",
        params![kind, name, sql(number), millis(at), millis(until)],
    )?;
    if is_session {
        let end = "UPDATE sessions SET ended = ?2 WHERE id = ?1 AND ended IS NULL";
        connection.execute(end, params![name, millis(at)])?;
    }
    Ok(Revoked { number, at })
}

fn entry(scope: &Scope) -> ChangeKind {
    match scope.clone() {
        Scope::Session(id) => ChangeKind::Ended(id),
        Scope::Contact(subject) => ChangeKind::Contact(subject),
        Scope::Bot(name) => ChangeKind::Bot(name),
    }
}

/// The revocation of this scope that there is, and until when.
fn earlier(connection: &Connection, kind: &str, name: &str) -> Result<Option<(Revoked, Timestamp)>, StoreError> {
    let sql = "SELECT number, at, until FROM revocations WHERE scope = ?1 AND name = ?2";
    let read =
        |row: &Row<'_>| Ok((Revoked { number: number(row.get(0)?), at: moment(row.get(1)?) }, moment(row.get(2)?)));
    Ok(connection.prepare_cached(sql)?.query_row([kind, name], read).optional()?)
}

/// When the newest session in `scope` was opened.
fn newest(connection: &Connection, scope: &Scope) -> Result<Timestamp, StoreError> {
    let (sql, name) = match scope {
        Scope::Session(_) => return Ok(Timestamp::from_millis(0)),
        Scope::Contact(subject) => ("SELECT max(opened) FROM sessions WHERE subject = ?1", subject),
        Scope::Bot(name) => ("SELECT max(opened) FROM sessions WHERE bot = ?1", name),
    };
    let opened: Option<i64> = connection.query_row(sql, [name], |row| row.get(0))?;
    Ok(moment(opened.unwrap_or(0)))
}

/// Whether sessions of this contact that were opened then are revoked.
pub(super) fn is_contact_revoked(
    connection: &Connection,
    subject: &str,
    opened: Timestamp,
) -> Result<bool, StoreError> {
    Ok(earlier(connection, Scope::CONTACT, subject)?.is_some_and(|(revoked, _)| revoked.at >= opened))
}

/// Appends to the log; the number of the entry.
pub(super) fn append(
    connection: &Connection,
    kind: &ChangeKind,
    at: Timestamp,
    until: Timestamp,
) -> Result<u64, StoreError> {
    let (kind, name, known) = match kind {
        ChangeKind::Ended(id) => (Scope::SESSION, id, None),
        ChangeKind::Contact(subject) => (Scope::CONTACT, subject, None),
        ChangeKind::Bot(name) => (Scope::BOT, name, None),
        ChangeKind::Recognised { id, digest, subject, ends_earlier } => {
            (Scope::RECOGNISED, id, Some(((digits(*digest), subject), *ends_earlier)))
        }
    };
    let (who, ends_earlier) = known.unzip();
    let (digest, subject) = who.unzip();
    let mut insert = connection.prepare_cached(
        "INSERT INTO changes (kind, name, digest, subject, ends_earlier, at, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let inserted = insert.insert(params![kind, name, digest, subject, ends_earlier, millis(at), millis(until)])?;
    Ok(number(inserted))
}

/// The number of the newest entry that ever was.
pub(super) fn last(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'changes'";
    let last: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(last.map_or(0, number))
}

/// The log after `after`.
pub(super) fn read(connection: &Connection, after: u64) -> Result<Changes, StoreError> {
    let sql = "SELECT number, kind, name, digest, subject, ends_earlier, at, until FROM changes WHERE number > ?1 \
               ORDER BY number LIMIT ?2";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params![self::sql(after), MOST_CHANGES + 1], change)?;
    let mut entries = Vec::new();
    for row in rows {
        let (number, change) = row?;
        entries.push(change.ok_or_else(|| unreadable(Some(number)))?);
    }
    let most = usize::try_from(MOST_CHANGES).unwrap_or(usize::MAX);
    let is_all = entries.len() <= most;
    entries.truncate(most);
    let last = match entries.last() {
        Some(entry) if !is_all => entry.number,
        _ => last(connection)?,
    };
    Ok(Changes { entries, last, is_all })
}

/// An entry and its number; no entry where it is of a kind that is not known here, or damaged: what it ended is not known.
fn change(row: &Row<'_>) -> rusqlite::Result<(u64, Option<Change>)> {
    let number = number(row.get("number")?);
    Ok((number, read_change(row, number).unwrap_or_default()))
}

fn read_change(row: &Row<'_>, number: u64) -> rusqlite::Result<Option<Change>> {
    let kind: String = row.get("kind")?;
    let name = row.get("name")?;
    let kind = match kind.as_str() {
        Scope::SESSION => ChangeKind::Ended(name),
        Scope::CONTACT => ChangeKind::Contact(name),
        Scope::BOT => ChangeKind::Bot(name),
        Scope::RECOGNISED => {
            let Some(digest) = digest(&row.get::<_, String>("digest")?) else { return Ok(None) };
            let (subject, ends_earlier) = (row.get("subject")?, row.get("ends_earlier")?);
            ChangeKind::Recognised { id: name, digest, subject, ends_earlier }
        }
        _ => return Ok(None),
    };
    let time = |name: &str| row.get(name).map(moment);
    Ok(Some(Change { number, kind, at: time("at")?, until: time("until")? }))
}

fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(sql: i64) -> u64 {
    u64::try_from(sql).unwrap_or(0)
}

//! Calls that are made once.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::millis;
use crate::clock::Timestamp;
use crate::id::hex;
use crate::store::{Begun, StoreError};

/// Begins a call, or says what became of it.
pub(super) fn begin(
    connection: &Connection,
    key: &[u8],
    digest: &[u8],
    now: Timestamp,
    remembered: Duration,
) -> Result<Begun, StoreError> {
    let (key, digest) = (hex(key), hex(digest));
    connection.execute("DELETE FROM answers WHERE key = ?1 AND expires <= ?2", params![key, millis(now)])?;
    let sql = "SELECT digest, answer FROM answers WHERE key = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<Vec<u8>>>(1)?));
    let present = connection.prepare_cached(sql)?.query_row([&key], read).optional()?;
    match present {
        Some((other, _)) if other != digest => Ok(Begun::Other),
        Some((_, Some(answer))) => Ok(Begun::Answered(answer)),
        Some((_, None)) => Ok(Begun::InFlight),
        None => {
            let insert = "INSERT INTO answers VALUES (?1, ?2, NULL, ?3)";
            connection.execute(insert, params![key, digest, millis(now.plus(remembered))])?;
            Ok(Begun::New)
        }
    }
}

/// Keeps the answer.
pub(super) fn finish(connection: &Connection, key: &[u8], digest: &[u8], answer: &[u8]) -> Result<(), StoreError> {
    let sql = "UPDATE answers SET answer = ?3 WHERE key = ?1 AND digest = ?2";
    connection.execute(sql, params![hex(key), hex(digest), answer])?;
    Ok(())
}

/// Forgets a call without an answer.
pub(super) fn abandon(connection: &Connection, key: &[u8], digest: &[u8]) -> Result<(), StoreError> {
    let sql = "DELETE FROM answers WHERE key = ?1 AND digest = ?2 AND answer IS NULL";
    connection.execute(sql, [hex(key), hex(digest)])?;
    Ok(())
}

//! What is deleted with time.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::millis;
use crate::clock::Timestamp;
use crate::store::StoreError;

/// Rows of a table that go at once: a mint that waits behind them does not wait long. The rest goes the next time.
const MOST: u32 = 10_000;

/// Deletes what has had its time.
pub(super) fn sweep(connection: &Connection, now: Timestamp, retention: Duration) -> Result<(), StoreError> {
    let now = millis(now);
    let kept = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    // Where the retention is longer than the calendar, nothing was long enough ago.
    let before = now.saturating_sub(kept);
    connection.execute(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE ends <= ?1 UNION \
         SELECT id FROM sessions WHERE ended <= ?1 LIMIT ?2)",
        params![before, MOST],
    )?;
    for (table, column, key) in
        [("revocations", "until", "scope, name"), ("changes", "until", "number"), ("answers", "expires", "key")]
    {
        let sql =
            format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {column} <= ?1 LIMIT ?2)");
        connection.execute(&sql, params![now, MOST])?;
    }
    Ok(())
}

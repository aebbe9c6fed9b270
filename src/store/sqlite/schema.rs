//! The tables, and how a file of an earlier version becomes one of this.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::store::StoreError;

/// What leads from each version to the next; `user_version` counts those that were made.
const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// Brings the file to the present version, all or nothing.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let shown = path.display();
    let unusable = |error: rusqlite::Error| StoreError::unusable(format_args!("{shown}: {error}"));
    // Two processes that start at once: the second finds it done.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unusable)?;
    let version: usize =
        transaction.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).map_err(unusable)? as usize;
    let Some(missing) = MIGRATIONS.get(version..) else {
        return Err(StoreError::unusable(format_args!(
            "{shown} is of a later Keystile (schema {version}; this one knows {}); run that one, or give another file",
            MIGRATIONS.len()
        )));
    };
    for migration in missing {
        transaction.execute_batch(migration).map_err(unusable)?;
    }
    transaction
        .pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))
        .map_err(unusable)?;
    transaction.commit().map_err(unusable)
}

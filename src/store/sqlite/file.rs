//! The file: who may read it, and how SQLite is to treat it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;

/// How long to wait for another process that writes: the `sqlite3` tool, or a gateway that is being replaced.
const BUSY: Duration = Duration::from_secs(2);
/// Pages of the journal before they are carried over into the file, 32 MB: mints write to several indexes, by contact at a
/// place of its own each, and with SQLite's thousand the file would be synced after every few batches of them.
const JOURNAL_PAGES: u32 = 8192;
/// All that is ever prepared fits.
const STATEMENTS: usize = 64;

/// A connection to the file, which is made if it is not there.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let shown = path.display();
    let unusable = |error: &dyn std::fmt::Display| StoreError::unusable(format_args!("{shown}: {error}"));
    make_private(path).map_err(|error| unusable(&error))?;
    let metadata = fs::metadata(path).map_err(|error| unusable(&error))?;
    if metadata.is_dir() {
        return Err(StoreError::unusable(format_args!("{shown} is a directory; name a file")));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(StoreError::unusable(format_args!(
            "{shown} can be read or written by everybody (mode {mode:04o}), and it holds contacts; run: chmod 600 {shown}"
        )));
    }
    // Not created by SQLite, which asks the umask.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(plain(path), flags).map_err(|error| unusable(&error))?;
    configure(&connection).map_err(|error| unusable(&error))?;
    Ok(connection)
}

/// The same file by a name that SQLite takes for no more than that: it reads `:memory:` as a store of this connection alone,
/// and as it is built here what begins with `file:` as a URI, whatever the flags say.
fn plain(path: &Path) -> PathBuf {
    if path.is_relative() { Path::new(".").join(path) } else { path.to_owned() }
}

/// The journal beside the file gets the file's mode from SQLite.
fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", JOURNAL_PAGES)?;
    // With WAL, NORMAL would not sync at a commit.
    connection.pragma_update(None, "synchronous", "FULL")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relative name would need a folder of the process's own.
    #[test]
    fn a_relative_path_is_never_read_as_a_uri_or_as_memory() {
        for name in [":memory:", "file:x.db?mode=memory", "file::memory:", "keystile.db"] {
            let plain = plain(Path::new(name));
            assert_eq!(plain.to_str(), Some(&*format!("./{name}")));
        }
        assert_eq!(plain(Path::new("/var/lib/x.db")), Path::new("/var/lib/x.db"));
        let folder = tempfile::tempdir().unwrap();
        for name in [":memory:", "file:x.db?mode=memory"] {
            let path = folder.path().join(name);
            open(&path).unwrap().execute_batch("CREATE TABLE kept (id)").unwrap();
            open(&path).unwrap().execute_batch("INSERT INTO kept VALUES (1)").unwrap();
        }
    }
}

//! The file of SQLite.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use keystile::store::{Begun, Filter, Scope, StoreError};

use super::{ada, open, session, soon};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "").unwrap();
    store.open(session("a"), Vec::new()).await.unwrap();
    store.open(session("b"), Vec::new()).await.unwrap();
    let recognised = store.recognise("a", ada(), false, soon(60_000)).await.unwrap();
    let revoked = store.revoke(Scope::Session("b".to_owned()), soon(60_000)).await.unwrap();
    store.begin([1; 32], [2; 32], Duration::from_secs(600)).await.unwrap();
    store.finish([1; 32], [2; 32], vec![3]).await.unwrap();
    let log = store.changes(0).await.unwrap();
    drop(store);

    let store = open(folder.path(), "").unwrap();
    assert_eq!(store.session("a").await, Ok(Some(recognised)));
    assert_eq!(store.session("b").await.unwrap().unwrap().ended, Some(revoked.at));
    assert_eq!(store.changes(0).await.unwrap(), log);
    assert_eq!(*store.subscribe().borrow(), log.last);
    let begun = store.begin([1; 32], [2; 32], Duration::from_secs(600)).await;
    assert_eq!(begun, Ok(Begun::Answered(vec![3])));
}

#[tokio::test]
async fn a_copy_of_the_file_holds_what_was_answered_whatever_becomes_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "").unwrap();
    store.open(session("a"), Vec::new()).await.unwrap();
    // What is in the files at this moment is what a killed process would leave.
    let left = tempfile::tempdir().unwrap();
    for name in ["keystile.db", "keystile.db-wal"] {
        fs::copy(folder.path().join(name), left.path().join(name)).unwrap();
    }
    let after = open(left.path(), "").unwrap();
    assert_eq!(after.sessions(Filter::default(), None, 10).await.unwrap().records.len(), 1);
    assert!(store.session("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_change_of_a_later_version_is_not_taken_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "").unwrap();
    store.revoke(Scope::Session("a".to_owned()), soon(60_000)).await.unwrap();
    let later = rusqlite::Connection::open(folder.path().join("keystile.db")).unwrap();
    // It has all that a recognition has.
    let insert = "INSERT INTO changes VALUES (7, 'tenant', 'a', '00000000000000000000000000000001', 's', 1, 1, 9)";
    later.execute(insert, []).unwrap();
    assert_eq!(store.changes(0).await, Err(StoreError::Unreadable("entry 7".to_owned())));
    for damage in ["digest = 'none'", "digest = NULL", "digest = 1", "subject = NULL", "at = 'now'"] {
        later.execute("DELETE FROM changes WHERE number = 7", []).unwrap();
        later.execute(insert, []).unwrap();
        let damage = format!("UPDATE changes SET kind = 'recognised', {damage} WHERE number = 7");
        later.execute(&damage, []).unwrap();
        assert_eq!(store.changes(0).await, Err(StoreError::Unreadable("entry 7".to_owned())), "{damage}");
    }
}

#[tokio::test]
async fn two_processes_may_share_a_file_and_read_each_others_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(folder.path(), "").unwrap(), open(folder.path(), "").unwrap());
    one.open(session("a"), Vec::new()).await.unwrap();
    let first = one.revoke(Scope::Session("a".to_owned()), soon(60_000)).await.unwrap();
    let second = other.revoke(Scope::Bot("support".to_owned()), soon(60_000)).await.unwrap();
    let numbers: Vec<u64> = one.changes(0).await.unwrap().entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [first.number, second.number]);
    assert_eq!(other.renew("a", soon(0)).await, Err(StoreError::Ended));
}

#[tokio::test]
async fn a_file_that_another_process_holds_is_away_in_bounded_time_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "").unwrap();
    let tool = rusqlite::Connection::open(folder.path().join("keystile.db")).unwrap();
    tool.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begin = Instant::now();
    let refused = store.open(session("a"), Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Away(_))), "{refused:?}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(store.session("a").await, Ok(None), "reading goes on");

    tool.execute_batch("ROLLBACK").unwrap();
    store.open(session("a"), Vec::new()).await.unwrap();
    assert!(store.session("a").await.unwrap().is_some());
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keystile.db");
    let store = open(folder.path(), "").unwrap();
    store.open(session("a"), Vec::new()).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&folder.path().join("keystile.db-wal")), 0o600);
    drop(store);

    for wide in [0o604, 0o602, 0o644] {
        fs::set_permissions(&path, Permissions::from_mode(wide)).unwrap();
        let Err(StoreError::Unusable(why)) = open(folder.path(), "") else { panic!("mode {wide:o} is taken") };
        assert!(why.contains("chmod 600") && why.contains("keystile.db"), "{why}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert!(open(folder.path(), "").is_ok(), "its group is the operator's business");
}

#[test]
fn a_directory_is_told_as_such_and_its_mode_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keystile.db");
    fs::create_dir(&path).unwrap();
    for mode in [0o700, 0o755] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let Err(StoreError::Unusable(why)) = open(folder.path(), "") else { panic!("a directory is taken") };
        assert!(why.ends_with("keystile.db is a directory; name a file"), "{why}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("no/such/folder.db", None), ("text.db", Some("this is no database, but a long text"))] {
        let path = folder.path().join(name);
        if let Some(content) = content {
            fs::write(&path, content.repeat(100)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        let Err(StoreError::Unusable(why)) = open(folder.path(), &format!("url = \"sqlite:{name}\"\n")) else {
            panic!("{name} is taken")
        };
        assert!(why.contains(name), "{why}");
    }
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), "").unwrap());
    let path = folder.path().join("keystile.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let Err(StoreError::Unusable(why)) = open(folder.path(), "") else { panic!("it is taken") };
    assert!(why.contains("later Keystile") && why.contains("99"), "{why}");
}

#[tokio::test]
async fn a_file_of_an_earlier_version_goes_on_with_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keystile.db");
    let (store, record) = (open(folder.path(), "").unwrap(), session("a"));
    store.open(record.clone(), Vec::new()).await.unwrap();
    drop(store);
    let tool = rusqlite::Connection::open(&path).unwrap();
    // As the first version left it.
    tool.execute_batch("CREATE INDEX sessions_by_contact ON sessions (subject, opened, id); PRAGMA user_version = 1")
        .unwrap();
    let store = open(folder.path(), "").unwrap();
    assert_eq!(store.session("a").await.unwrap(), Some(record));
    let version: u32 = tool.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
    let indexes = "SELECT count(*) FROM sqlite_schema WHERE name = 'sessions_by_contact'";
    assert_eq!(tool.query_row(indexes, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
}

#[tokio::test]
async fn the_tables_are_plain_to_any_tool() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "").unwrap();
    let record = session("a");
    store.open(record.clone(), Vec::new()).await.unwrap();
    let revoked = store.revoke(Scope::Session("a".to_owned()), soon(60_000)).await.unwrap();

    let tool = rusqlite::Connection::open(folder.path().join("keystile.db")).unwrap();
    let sql = "SELECT bot, opened, ended FROM sessions WHERE id = 'a'";
    let row: (String, i64, i64) = tool.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let millis = |moment: keystile::clock::Timestamp| i64::try_from(moment.millis()).unwrap();
    assert_eq!(row, ("support".to_owned(), millis(record.opened), millis(revoked.at)));
    let mode: String = tool.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_file_has_no_weakness_to_name() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(open(folder.path(), "").unwrap().weaknesses().await, Ok(Vec::new()));
}

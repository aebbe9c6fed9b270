//! The file: who may read it, and where the chain goes on.
//!
//! Gateways of one host may share it, as an old and a new process do while one takes over from the other: each locks it
//! for as long as it writes, and goes on where it ends by then.

use std::fmt::Display;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::AuditError;
use super::line::{LONGEST, Link, Tail, hash};
use super::writer::{Log, Sink};

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens the file, or makes it.
pub(super) fn open(path: &Path) -> Result<Log<File>, AuditError> {
    let shown = path.display();
    let unusable = |why: &dyn Display| AuditError(format!("{shown}: {why}"));
    if path.is_dir() {
        return Err(AuditError(format!("{shown} is a directory; name a file")));
    }
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).append(true).create(true).mode(0o600).open(path).map_err(|error| unusable(&error))?;
    let metadata = file.metadata().map_err(|error| unusable(&error))?;
    if !metadata.is_file() {
        return Err(unusable(&"the audit record must be a file"));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(unusable(&format_args!(
            "it can be read or written by everybody (mode {mode:04o}), and it says who did what; run: chmod 600 {shown}"
        )));
    }
    lock(|| file.try_lock()).map_err(|error| unusable(&error))?;
    let tail = end_of(&mut file).map_err(|why| unusable(&why))?;
    file.unlock().map_err(|error| unusable(&error))?;
    Ok(Log::new(file, tail))
}

/// Locks the file, for which another process may hold it for a moment.
pub(super) fn lock(try_lock: impl Fn() -> Result<(), TryLockError>) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if began.elapsed() > PATIENCE => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds it, and does not let go"));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Where the chain in the file ends. A last line without its end was being written when the process was killed: nothing was
/// answered for it, and it is cut off.
fn end_of(file: &mut File) -> Result<Tail, String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let bytes = last(file, length).map_err(|error| error.to_string())?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let (whole, torn) = bytes.split_at(end);
    let torn_length = u64::try_from(torn.len()).unwrap_or(u64::MAX);
    let tail = match whole.strip_suffix(b"\n") {
        Some(lines) => after(lines).map(|(number, hash)| Tail { number, hash, length: length - torn_length }),
        None => (torn_length == length).then(Tail::empty),
    };
    let is_begun = |tail: &Tail| begins_record(torn, tail.number + 1);
    let tail = tail.filter(is_begun).ok_or(
        "its last line is no record of this gateway; `keystile audit verify` says more. Move the file away to begin a new one",
    )?;
    if !torn.is_empty() {
        tracing::warn!(bytes = torn.len(), "the audit record ended in half a line, which was cut off");
        file.cut(tail.length).and_then(|()| file.sync_data()).map_err(|error| error.to_string())?;
    }
    Ok(tail)
}

/// The last bytes of the file: a whole line and a torn one fit.
fn last(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    let longest = u64::try_from(2 * LONGEST + 2).unwrap_or(u64::MAX);
    file.seek(SeekFrom::Start(length.saturating_sub(longest)))?;
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Number and hash of the last of `lines`, if it is a record.
fn after(lines: &[u8]) -> Option<(u64, String)> {
    let start = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = lines.get(start..)?;
    Some((Link::read(line)?.n, hash(line)))
}

/// Whether `torn` can be the beginning of record `number`, however short: what is something else is not cut off.
fn begins_record(torn: &[u8], number: u64) -> bool {
    let beginning = format!("{{\"n\":{number},\"time\":\"");
    let beginning = beginning.as_bytes();
    torn.starts_with(beginning) || beginning.starts_with(torn)
}

impl Sink for File {
    fn begin(&mut self, tail: &Tail) -> io::Result<Tail> {
        lock(|| self.try_lock())?;
        if self.metadata()?.len() == tail.length {
            return Ok(tail.clone());
        }
        // Another process has written, or left half a line.
        end_of(self).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }

    fn end(&mut self) {
        if let Err(error) = self.unlock() {
            tracing::error!(%error, "the audit record stays locked");
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.sync_data()
    }

    /// Never makes it longer: somebody else may have cut it.
    fn cut(&mut self, length: u64) -> io::Result<()> {
        if self.metadata()?.len() > length { self.set_len(length) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::tests::event;
    use super::*;
    use crate::clock::Timestamp;

    fn write(log: &mut Log<File>, sessions: &[&str]) {
        let events: Vec<_> = sessions.iter().map(|session| event(session)).collect();
        log.write(events.iter(), Timestamp::from_seconds(1_800_000_000)).unwrap();
    }

    #[test]
    fn the_chain_goes_on_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        write(&mut open(&path).unwrap(), &["s-1", "s-2"]);
        // Longer than what is read of it.
        let many: Vec<String> = (0..500).map(|number| format!("s-{number}")).collect();
        write(&mut open(&path).unwrap(), &many.iter().map(String::as_str).collect::<Vec<_>>());
        write(&mut open(&path).unwrap(), &["s-3"]);
        let report = super::super::verify(&path, &[]).unwrap();
        assert_eq!((report.last.map(|last| last.number), report.breach), (Some(503), None));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn half_a_line_at_the_end_is_cut_off_wherever_it_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        write(&mut open(&path).unwrap(), &["s-1", "s-2"]);
        let bytes = std::fs::read(&path).unwrap();
        let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for torn in [0, 1, 4, 9, 100, first - 1, first, first + 1, first + 6, first + 90, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..torn]).unwrap();
            let whole = if torn < first { 0 } else { first };
            let log = open(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap().len(), whole, "torn at {torn}");
            drop(log);
            write(&mut open(&path).unwrap(), &["s-3"]);
            assert_eq!(super::super::verify(&path, &[]).unwrap().breach, None, "torn at {torn}");
        }
    }

    #[test]
    fn what_is_no_audit_record_is_neither_cut_nor_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for text in ["hello", "hello\n", "{\"n\":1}\n", "{\"n\":7,\"time\":\"", "\n", &"x".repeat(100_000)] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let why = open(&path).unwrap_err().to_string();
            assert!(why.contains("is no record") && why.contains("audit.jsonl"), "{why}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn processes_that_share_a_file_write_one_chain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (mut one, mut other) = (open(&path).unwrap(), open(&path).unwrap());
        for _ in 0..3 {
            write(&mut one, &["s-1", "s-2"]);
            write(&mut other, &["s-3"]);
        }
        // One that was killed in the middle of a line.
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [whole.as_slice(), b"{\"n\":10,\"time\":\"20"].concat()).unwrap();
        write(&mut one, &["s-4"]);
        let report = super::super::verify(&path, &[]).unwrap();
        assert_eq!((report.count, report.breach), (10, None));
    }

    #[test]
    fn a_file_that_everybody_can_read_or_a_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        drop(open(&path).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open(&path).unwrap_err().to_string().contains("chmod 600"));
        assert!(open(folder.path()).unwrap_err().to_string().ends_with("is a directory; name a file"));
        assert!(open(Path::new("/dev/null")).unwrap_err().to_string().contains("must be a file"));
    }
}

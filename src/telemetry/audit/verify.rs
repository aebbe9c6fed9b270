//! Whether a file is the record that was written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::breach::{Breach, Noted};
use super::file::lock;
use super::line::{LONGEST, Link, hash, none};

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many records hold together from the beginning.
    pub count: u64,
    /// The time of the first.
    pub first: Option<String>,
    /// The last of them.
    pub last: Option<Last>,
    /// What comes after it and is wrong.
    pub breach: Option<Breach>,
    /// Whether a gateway was writing the next one.
    pub is_being_written: bool,
    /// The last but one.
    earlier: Option<Last>,
}

/// The last record of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// Its number.
    pub number: u64,
    /// Its time.
    pub time: String,
    /// The hash of its line.
    pub hash: String,
}

/// Reads the file at `path` to its end, or to where it is broken; `noted` are records that must be in it.
///
/// # Errors
///
/// It cannot be read.
pub fn verify(path: &Path, noted: &[Noted]) -> io::Result<Report> {
    let file = File::open(path)?;
    let (length, is_whole) = extent(&file)?;
    let mut file = BufReader::new(file.take(length));
    let mut report = Report::default();
    let mut line = Vec::new();
    let longest = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    while report.breach.is_none() {
        line.clear();
        if file.by_ref().take(longest).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        match line.strip_suffix(b"\n") {
            Some(whole) => report.read(whole, noted),
            None if line.len() == LONGEST => report.breach = Some(Breach::NoRecord { line: report.count + 1 }),
            None if !is_whole => {
                report.is_being_written = true;
                break;
            }
            None => report.breach = Some(Breach::Torn { line: report.count + 1 }),
        }
    }
    if report.breach.is_none() {
        let missing = noted.iter().find(|noted| noted.number > report.count || noted.number == 0);
        report.breach = missing.map(|noted| Breach::CutOff(noted.clone()));
    }
    Ok(report)
}

impl Report {
    /// Reads the next line.
    fn read(&mut self, line: &[u8], noted: &[Noted]) {
        let at = self.count + 1;
        let Some(link) = Link::read(line) else {
            self.breach = Some(Breach::NoRecord { line: at });
            return;
        };
        let before = self.last.as_ref().map_or_else(none, |last| last.hash.clone());
        self.breach = match link.n {
            number if number > at => Some(Breach::Missing { line: at, from: at, to: number - 1 }),
            number if number < at => Some(Breach::Inserted { line: at, number }),
            // The first has none before it that could be another.
            _ if link.prev != before => Some(Breach::Changed { line: self.count.max(1) }),
            _ => None,
        };
        if let Some(Breach::Changed { .. }) = self.breach {
            // The one before it, whose hash is another, is no record of what was.
            self.count = self.count.saturating_sub(1);
            self.last = self.earlier.take();
            self.first = self.first.take().filter(|_| self.last.is_some());
        }
        if self.breach.is_some() {
            return;
        }
        let hash = hash(line);
        let is_another = |noted: &&Noted| noted.number == at && !noted.hash.eq_ignore_ascii_case(&hash);
        if let Some(noted) = noted.iter().find(is_another) {
            self.breach = Some(Breach::Rewritten(noted.clone()));
            return;
        }
        self.count = at;
        self.first.get_or_insert_with(|| link.time.clone());
        self.earlier = self.last.replace(Last { number: at, time: link.time, hash });
    }
}

/// How long the file is, and whether no gateway was writing to it at that moment: then the last line is all there will be of
/// it. What is written meanwhile is not read.
fn extent(file: &File) -> io::Result<(u64, bool)> {
    let is_locked = lock(|| file.try_lock_shared()).is_ok();
    let length = file.metadata()?.len();
    if is_locked {
        file.unlock()?;
    }
    Ok((length, is_locked))
}

#[cfg(test)]
mod tests {
    use super::super::line::Tail;
    use super::super::line::tests::event;
    use super::*;
    use crate::clock::Timestamp;

    fn lines() -> Vec<String> {
        let (mut tail, mut out) = (Tail::empty(), Vec::new());
        for number in 1..=6 {
            tail.append(&event(&format!("s-{number}")), Timestamp::from_seconds(1_800_000_000 + number), &mut out);
        }
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn verified(lines: &[String], end: &str, noted: &[Noted]) -> Report {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        std::fs::write(&path, lines.join("\n") + end).unwrap();
        verify(&path, noted).unwrap()
    }

    #[test]
    fn a_line_that_was_changed_removed_inserted_or_moved_is_found() {
        let whole = lines();
        let report = verified(&whole, "\n", &[]);
        assert_eq!((report.count, &report.breach), (6, &None));
        let breach = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = whole.clone();
            change(&mut lines);
            verified(&lines, "\n", &[]).breach
        };
        for at in 0..5 {
            let line = u64::try_from(at).unwrap() + 1;
            let mut lines = whole.clone();
            lines[at] = lines[at].replace("support", "another");
            let changed = verified(&lines, "\n", &[]);
            assert_eq!(changed.breach, Some(Breach::Changed { line }));
            assert_eq!((changed.count, changed.last.map_or(0, |last| last.number)), (line - 1, line - 1));
            assert_eq!(changed.first.is_some(), line > 1);
            let missing = breach(&|lines| drop(lines.remove(at)));
            assert_eq!(missing, Some(Breach::Missing { line, from: line, to: line }));
            let inserted = breach(&|lines| lines.insert(at + 1, lines[at].clone()));
            assert_eq!(inserted, Some(Breach::Inserted { line: line + 1, number: line }));
            let moved = breach(&|lines| lines.swap(at, at + 1));
            assert_eq!(moved, Some(Breach::Missing { line, from: line, to: line }));
            let garbage = breach(&|lines| lines.insert(at, "garbage".to_owned()));
            assert_eq!(garbage, Some(Breach::NoRecord { line }));
        }
    }

    #[test]
    fn a_cut_end_and_a_rewritten_file_show_only_against_what_was_noted() {
        let whole = lines();
        let last = verified(&whole, "\n", &[]).last.unwrap();
        let noted = [Noted { number: last.number, hash: last.hash.to_uppercase() }];
        assert_eq!(verified(&whole, "\n", &noted).breach, None);
        assert_eq!(verified(&whole[..5], "\n", &[]).breach, None);
        assert_eq!(verified(&whole[..5], "\n", &noted).breach, Some(Breach::CutOff(noted[0].clone())));
        let mut changed = whole;
        changed[5] = changed[5].replace("support", "another");
        assert_eq!(verified(&changed, "\n", &[]).breach, None);
        assert_eq!(verified(&changed, "\n", &noted).breach, Some(Breach::Rewritten(noted[0].clone())));
    }

    #[test]
    fn half_a_line_is_torn_unless_a_gateway_is_writing_it() {
        let whole = lines();
        assert_eq!(verified(&whole, "", &[]).breach, Some(Breach::Torn { line: 6 }));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        std::fs::write(&path, whole.join("\n")).unwrap();
        let held = File::open(&path).unwrap();
        held.lock().unwrap();
        let report = verify(&path, &[]).unwrap();
        assert_eq!((report.count, report.breach, report.is_being_written), (5, None, true));
        drop(held);
        std::fs::write(&path, "x".repeat(1 << 20)).unwrap();
        assert_eq!(verify(&path, &[]).unwrap().breach, Some(Breach::NoRecord { line: 1 }));
        std::fs::write(&path, "").unwrap();
        assert_eq!(verify(&path, &[]).unwrap().count, 0);
    }

    #[test]
    fn anybody_can_follow_the_chain_with_a_tool_for_sha_256() {
        let lines = lines();
        let mut tool = std::process::Command::new("sha256sum");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line");
        std::fs::write(&path, &lines[0]).unwrap();
        let said = tool.arg(&path).output().unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        assert!(lines[1].contains(&format!("\"prev\":\"{}\"", &said[..64])), "{said}");
    }
}

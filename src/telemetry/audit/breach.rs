//! How a chain of records can be broken, in words for people and for programs.

use std::fmt;

/// Where a chain breaks, and how. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breach {
    /// The line is no record.
    NoRecord {
        /// Which.
        line: u64,
    },
    /// Records are missing before the line.
    Missing {
        /// Which.
        line: u64,
        /// The first that is missing.
        from: u64,
        /// The last.
        to: u64,
    },
    /// The line's number was there before: it was put in, repeated or moved.
    Inserted {
        /// Which.
        line: u64,
        /// Its number.
        number: u64,
    },
    /// The line is not what the next one says that it was.
    Changed {
        /// Which.
        line: u64,
    },
    /// The last line has no end, and nobody is writing it.
    Torn {
        /// Which.
        line: u64,
    },
    /// A record is not the one that was noted.
    Rewritten(Noted),
    /// A record that was noted is not there: the end was cut off.
    CutOff(Noted),
}

impl Breach {
    /// One word for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoRecord { .. } => "no_record",
            Self::Missing { .. } => "missing",
            Self::Inserted { .. } => "inserted",
            Self::Changed { .. } => "changed",
            Self::Torn { .. } => "torn",
            Self::Rewritten(_) => "rewritten",
            Self::CutOff(_) => "cut_off",
        }
    }

    /// The line, where it is one.
    pub const fn line(&self) -> Option<u64> {
        match self {
            Self::NoRecord { line }
            | Self::Missing { line, .. }
            | Self::Inserted { line, .. }
            | Self::Changed { line }
            | Self::Torn { line } => Some(*line),
            Self::Rewritten(_) | Self::CutOff(_) => None,
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecord { line } => write!(formatter, "line {line} is no record: it was changed, or put in"),
            Self::Missing { line, from, to } if from == to => {
                write!(formatter, "record {from} is missing before line {line}: it was removed or moved")
            }
            Self::Missing { line, from, to } => {
                write!(formatter, "records {from} to {to} are missing before line {line}: they were removed or moved")
            }
            Self::Inserted { line, number } => {
                write!(formatter, "line {line} has the number {number}, which was there: it was put in or moved")
            }
            Self::Changed { line } => {
                write!(formatter, "line {line} was changed: it is not the line that the next one follows")
            }
            Self::Torn { line } => write!(
                formatter,
                "line {line}, the last, has no end: a gateway was killed while it wrote it, and nothing was answered; the \
                 next start cuts it off"
            ),
            Self::Rewritten(Noted { number, .. }) => {
                write!(formatter, "record {number} is not the one that was noted: the file was written anew")
            }
            Self::CutOff(Noted { number, .. }) => {
                write!(formatter, "record {number} was noted and is not there: the end of the file was cut off")
            }
        }
    }
}

/// A record whose number and hash somebody has noted elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Its number.
    pub number: u64,
    /// The SHA-256 of its line, in hexadecimal.
    pub hash: String,
}

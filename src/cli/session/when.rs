//! A moment, as an operator writes one.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Timestamp;
use crate::document::parse_duration;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// This one.
    At(Timestamp),
    /// So long ago.
    Ago(Duration),
}

impl When {
    /// Reads `2026-11-21T06:54:44Z`, or `2h` for two hours ago.
    ///
    /// # Errors
    ///
    /// It is neither; what would be.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(ago) = parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        let date = OffsetDateTime::parse(text, &Rfc3339).ok();
        let millis = date.and_then(|date| u64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok());
        millis
            .map(|millis| Self::At(Timestamp::from_millis(millis)))
            .ok_or_else(|| "write a time such as 2026-11-21T06:54:44Z, or how long ago, such as 2h".to_owned())
    }

    /// In milliseconds since 1970.
    pub(super) fn millis(self, now: Timestamp) -> u64 {
        match self {
            Self::At(moment) => moment.millis(),
            Self::Ago(ago) => now.millis().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let millis = |text: &str| When::parse(text).map(|when| when.millis(now)).ok();
        assert_eq!(millis("2h"), Some(1_799_992_800_000));
        assert_eq!(millis("2027-01-15T08:00:00Z"), Some(1_800_000_000_000));
        assert_eq!(millis("2027-01-15T09:00:00.5+01:00"), Some(1_800_000_000_500));
        for wrong in ["", "2", "yesterday", "2027-01-15", "1960-01-01T00:00:00Z", "-2h"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }
}

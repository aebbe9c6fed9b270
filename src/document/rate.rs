//! Rates as people write them: `"30/1m"`.

use std::fmt;
use std::time::Duration;

use super::Value;
use super::units::{format_duration, parse_duration};

/// So many in so long, all at once if need be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    /// `count` in each `per`.
    pub const fn new(count: u32, per: Duration) -> Self {
        Self { count, per }
    }

    /// Reads `"30/1m"`, or `"off"`, which is no rate. What is neither is noted, and nothing comes back.
    pub fn read(value: &Value<'_>) -> Option<Option<Self>> {
        let text = value.text_of("a rate such as \"30/1m\", or \"off\"")?;
        if text == "off" {
            return Some(None);
        }
        let rate = text.split_once('/').and_then(|(count, per)| {
            let rate = Self { count: count.parse().ok()?, per: parse_duration(per)? };
            (rate.count > 0 && rate.per.as_millis() >= 1).then_some(rate)
        });
        if rate.is_none() {
            value.problem(format!(
                "`{text}` is not a rate; write how many in which time, such as \"30/1m\", or \"off\""
            ));
        }
        rate.map(Some)
    }

    /// How many at once.
    pub fn count(self) -> u32 {
        self.count
    }

    /// When all are free again, of which none is for another `wait`.
    pub fn full_after(self, wait: Duration) -> Duration {
        let others = self.interval_micros().saturating_mul(u64::from(self.count - 1));
        wait.saturating_add(Duration::from_micros(others))
    }

    /// How long until one more, in microseconds; never nothing.
    pub fn interval_micros(self) -> u64 {
        let micros = u64::try_from(self.per.as_micros()).unwrap_or(u64::MAX);
        (micros / u64::from(self.count)).max(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.count, format_duration(self.per))
    }
}

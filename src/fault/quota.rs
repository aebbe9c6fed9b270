//! What is left of a rate, in the words of `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::document::Rate;

const LEFT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What is left of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    policy: &'static str,
    rate: Rate,
    /// How long until all of it is free again.
    full_in: Duration,
}

impl Quota {
    /// Of `rate`, which callers know as `policy`, all will be free in `full_in`.
    pub const fn left(policy: &'static str, rate: Rate, full_in: Duration) -> Self {
        Self { policy, rate, full_in }
    }

    /// The name that callers know its rate by.
    pub const fn policy(self) -> &'static str {
        self.policy
    }

    /// Nothing is free, and the next one in `wait`.
    pub fn none(policy: &'static str, rate: Rate, wait: Duration) -> Self {
        Self { policy, rate, full_in: rate.full_after(wait) }
    }

    /// Writes both headers: `q` in each `w` seconds, of which `r` are free, and one more in `t` seconds.
    pub fn write(self, headers: &mut HeaderMap) {
        let (policy, count) = (self.policy, self.rate.count());
        let (interval, full_in) = (u128::from(self.rate.interval_micros()), self.full_in.as_micros());
        let taken = full_in.div_ceil(interval);
        let free = u128::from(count).saturating_sub(taken);
        let more_in = full_in.saturating_sub(taken.saturating_sub(1).saturating_mul(interval));
        let window = (interval * u128::from(count)).div_ceil(MICROS).max(1);
        let left = format!("\"{policy}\";r={free};t={}", more_in.div_ceil(MICROS));
        for (name, text) in [(LEFT, left), (POLICY, format!("\"{policy}\";q={count};w={window}"))] {
            // Digits and our own words are always a header's value.
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

/// Microseconds in a second: what callers are told is rounded up.
const MICROS: u128 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(30, Duration::from_secs(60));

    fn told(quota: Quota) -> [String; 2] {
        let mut headers = HeaderMap::new();
        quota.write(&mut headers);
        [LEFT, POLICY].map(|name| headers[name].to_str().expect("text").to_owned())
    }

    #[test]
    fn a_quota_says_what_is_free_and_when_one_more_is() {
        let left = |seconds| told(Quota::left("mint", RATE, Duration::from_secs(seconds)))[0].clone();
        assert_eq!(left(0), "\"mint\";r=30;t=0");
        assert_eq!(left(2), "\"mint\";r=29;t=2");
        assert_eq!(left(3), "\"mint\";r=28;t=1");
        assert_eq!(left(60), "\"mint\";r=0;t=2");
        let none = told(Quota::none("mint", RATE, Duration::from_millis(1500)));
        assert_eq!(none, ["\"mint\";r=0;t=2", "\"mint\";q=30;w=60"]);
    }

    #[test]
    fn a_window_is_told_in_whole_seconds() {
        let rate = Rate::new(7, Duration::from_millis(1500));
        assert_eq!(told(Quota::left("bot", rate, Duration::ZERO))[1], "\"bot\";q=7;w=2");
        assert_eq!(
            told(Quota::none("bot", Rate::new(1, Duration::from_secs(3600)), Duration::from_secs(7)))[0],
            "\"bot\";r=0;t=7"
        );
    }
}

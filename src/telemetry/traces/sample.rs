//! Which requests are traced.

use super::Context;
use crate::document::Value;

/// A trace's own randomness: the last 56 bits of its id (Trace Context Level 2), as all samplers read it.
const RANDOM: u64 = (1 << 56) - 1;
/// A hundred per cent, in the smallest part that can be written.
const WHOLE: u64 = 1_000_000;

/// A share of all requests: by the trace's id, so that everybody with the same share takes the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample(u64);

impl Default for Sample {
    fn default() -> Self {
        Self(WHOLE / 100)
    }
}

impl Sample {
    /// Reads a share such as `"1%"`; what is wrong is noted.
    pub fn read(value: &Value<'_>) -> Option<Self> {
        let share = parsed(value.text_of("a share of all traces, such as \"1%\"")?);
        if share.is_none() {
            value.problem("must be a share such as \"1%\" or \"0.05%\", from \"0%\" to \"100%\"");
        }
        share.map(Self)
    }

    pub(super) fn takes(self, context: &Context) -> bool {
        let random = u64::try_from(context.trace() & u128::from(RANDOM)).unwrap_or_default();
        u128::from(RANDOM - random) * u128::from(WHOLE) < u128::from(self.0) * u128::from(RANDOM + 1)
    }
}

/// Millionths, of per cent with up to four digits behind the point.
fn parsed(text: &str) -> Option<u64> {
    let (whole, part) = match text.strip_suffix('%')?.split_once('.') {
        Some((whole, part)) if (1..=4).contains(&part.len()) => (whole, part),
        None => (text.strip_suffix('%')?, ""),
        Some(_) => return None,
    };
    let is_plain =
        !whole.is_empty() && whole.len() <= 3 && whole.bytes().chain(part.bytes()).all(|digit| digit.is_ascii_digit());
    let share = format!("{whole}{part:0<4}").parse().ok().filter(|_| is_plain)?;
    (share <= WHOLE).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_per_cent() {
        for (text, share) in [("0%", 0), ("1%", 10_000), ("100%", WHOLE), ("0.05%", 500), ("33.3333%", 333_333)] {
            assert_eq!(parsed(text), Some(share), "{text}");
        }
        for text in ["", "%", "1", "101%", "100.0001%", "-1%", "1.%", ".5%", "1.00001%", "+1%", "1 %", "1e1%"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_share_of_traces_is_taken() {
        let taken = |share| (0..20_000).filter(|_| Sample(share).takes(&Context::new())).count();
        assert_eq!((taken(0), taken(WHOLE)), (0, 20_000));
        let tenth = taken(WHOLE / 10);
        assert!((1600..2400).contains(&tenth), "{tenth}");
    }
}

//! The counts of one worker.

use std::collections::HashMap;
use std::time::Duration;

use super::LIMITS;
use super::names::{Bot, Route};
use crate::fault::Code;

/// The upper bounds of what times are sorted into, in microseconds: what the gateway itself needs is below the first,
/// and what lasts longer than the last is a conversation.
pub(super) const BOUNDS: [u64; 16] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// Whose counts a request is in, besides those of its outcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct Series {
    /// The bot.
    pub bot: Bot,
    /// The route.
    pub route: Route,
    /// The limit that it hit, one of [`LIMITS`].
    pub limit: Option<&'static str>,
}

/// A request that has ended.
#[derive(Debug)]
pub(in crate::telemetry) struct Ended {
    pub(in crate::telemetry) series: Series,
    /// Nothing where its client left before the answer.
    pub(in crate::telemetry) status: Option<u16>,
    pub(in crate::telemetry) code: Option<Code>,
    pub(in crate::telemetry) is_complete: bool,
    pub(in crate::telemetry) received: u64,
    pub(in crate::telemetry) sent: u64,
    pub(in crate::telemetry) first_byte: Option<Duration>,
    pub(in crate::telemetry) duration: Duration,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outcome {
    pub(super) bot: Bot,
    pub(super) route: Route,
    /// A place in [`super::CLASSES`].
    pub(super) class: u8,
    pub(super) code: Option<Code>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) cut: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.cut += other.cut;
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
    }
}

/// How long requests of one route took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) duration: Histogram,
    pub(super) first_byte: Histogram,
}

/// How many times are within each bound and not within the one before; the last are beyond all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Histogram {
    pub(super) counts: [u64; BOUNDS.len() + 1],
    pub(super) micros: u64,
}

impl Histogram {
    fn count(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.counts[BOUNDS.partition_point(|bound| *bound < micros)] += 1;
        self.micros = self.micros.saturating_add(micros);
    }

    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
        self.micros = self.micros.saturating_add(other.micros);
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Shard {
    pub(super) series: HashMap<Outcome, Counts, ahash::RandomState>,
    /// By the route's number.
    pub(super) times: Vec<Times>,
    pub(super) limits: [u64; LIMITS.len()],
}

impl Shard {
    pub(super) fn count(&mut self, ended: &Ended) {
        let Series { bot, route, limit } = ended.series;
        let class = ended.status.and_then(|status| u8::try_from(status / 100).ok()).filter(|class| *class <= 5);
        let outcome = Outcome { bot, route, class: class.unwrap_or(0), code: ended.code };
        self.series.entry(outcome).or_default().add(&Counts {
            calls: 1,
            cut: u64::from(!ended.is_complete),
            received: ended.received,
            sent: ended.sent,
        });
        let times = self.times_of(route);
        times.duration.count(ended.duration);
        if let Some(first_byte) = ended.first_byte {
            times.first_byte.count(first_byte);
        }
        if let Some(at) = limit.and_then(|limit| LIMITS.iter().position(|known| *known == limit)) {
            self.limits[at] += 1;
        }
    }

    fn times_of(&mut self, route: Route) -> &mut Times {
        let at = usize::try_from(route.0).unwrap_or(0);
        if self.times.len() <= at {
            self.times.resize(at + 1, Times::default());
        }
        &mut self.times[at]
    }

    /// Adds what another worker counted.
    pub(super) fn add(&mut self, other: &Self) {
        for (outcome, counts) in &other.series {
            self.series.entry(*outcome).or_default().add(counts);
        }
        for (times, route) in other.times.iter().zip(0..) {
            let sum = self.times_of(Route(route));
            sum.duration.add(&times.duration);
            sum.first_byte.add(&times.first_byte);
        }
        self.limits.iter_mut().zip(other.limits).for_each(|(sum, count)| *sum += count);
    }
}

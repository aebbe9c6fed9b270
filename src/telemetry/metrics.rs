//! What is counted, as [`catalog`] lists it, and how Prometheus reads it.
//!
//! Requests are counted where their records end ([`Record`](super::Record)): nothing twice, and none forgotten. A worker
//! counts into a shard of its own, under numbers that were given when the configuration was read; the shards are added up
//! when somebody reads them. So a call costs no text, no allocation once its series is there, and a lock that only a
//! reader ever shares. What others know anyhow (store, vendors, limits) is asked when it is read, and not counted here.
//!
//! Invariants:
//!
//! * Every label's value is of a closed list: bots and routes that the configuration names, codes, classes of status,
//!   limits. Nothing that a client or a vendor wrote is one.
//! * A name keeps its number, and so its counts, for the life of the process, whatever configuration names it.

mod catalog;
mod names;
mod page;
mod process;
mod shard;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

pub use self::catalog::*;
use self::names::Names;
pub use self::names::{Bot, Bots, Route};
pub use self::page::Page;
pub use self::process::of_the_process;
pub(super) use self::shard::Ended;
pub use self::shard::Series;
use self::shard::{Counts, Shard};
use crate::fault::Code;

/// The limits that a call can hit, as callers know them.
pub const LIMITS: &[&str] =
    &["session", "bot", "client", "mint", "vendor_key", "streams", "sessions", "failed_credentials"];
/// What became of a call, by its status; the first is that of a client which left before its answer.
pub const CLASSES: &[&str] = &["left", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What is open of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// A request whose answer has not ended.
    Call,
    /// An answer that streams events or lines.
    Stream,
    /// A WebSocket.
    Socket,
}

/// What was done to sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// One was opened.
    Opened,
    /// The answer that opened one was given again.
    Replayed,
    /// One got another token.
    Renewed,
    /// The visitor of one became known.
    Recognised,
    /// One was ended, or all of a contact or a bot, as it says.
    Ended(&'static str),
}

/// All counts of the process.
#[derive(Debug)]
pub struct Metrics {
    workers: Vec<Worker>,
    bots: Mutex<Names>,
    routes: Mutex<Names>,
    /// Sessions are opened and ended seldom enough for one lock.
    deeds: Mutex<BTreeMap<(Deed, Bot), u64>>,
}

/// What one worker counts. Two share no line of a processor's cache.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Worker {
    shard: Mutex<Shard>,
    /// One for each [`Open`]; a record may end at another worker than its own, so that one alone can be negative.
    open: [AtomicI64; 3],
}

impl Metrics {
    /// The counts of this many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: std::iter::repeat_with(Worker::default).take(workers.max(1)).collect(),
            bots: Mutex::default(),
            routes: Mutex::default(),
            deeds: Mutex::default(),
        }
    }

    /// The number under which calls of the route with this template are counted; `opens` says that they open sessions.
    pub fn route(&self, template: &str, opens: bool) -> Route {
        Route(self.routes.lock().number(template, opens))
    }

    /// The numbers under which bots are counted, each given with the number that the configuration has for it.
    pub fn bots<'b>(&self, bots: impl Iterator<Item = (u32, &'b str)>) -> Bots {
        let mut names = self.bots.lock();
        Bots::of(bots.map(|(number, name)| (number, Bot(names.number(name, false)))))
    }

    /// Counts what was done to a session of `bot`, or to all of them. A bot that no configuration named is none.
    pub fn done(&self, deed: Deed, bot: Option<&str>) {
        let bot = Bot(bot.and_then(|name| self.bots.lock().find(name)).unwrap_or_default());
        *self.deeds.lock().entry((deed, bot)).or_default() += 1;
    }

    /// Counts a request that has ended.
    pub(super) fn count(&self, worker: usize, ended: &Ended) {
        self.worker(worker).shard.lock().count(ended);
    }

    /// Counts one more, or one less, that is open.
    pub(super) fn opens(&self, worker: usize, what: Open, more: i64) {
        self.worker(worker).open[what as usize].fetch_add(more, Ordering::Relaxed);
    }

    fn worker(&self, number: usize) -> &Worker {
        &self.workers[number % self.workers.len()]
    }

    fn open(&self, what: Open) -> i64 {
        self.workers.iter().map(|worker| worker.open[what as usize].load(Ordering::Relaxed)).sum()
    }

    /// Writes all that is counted here.
    pub fn write(&self, page: &mut Page) {
        let mut all = Shard::default();
        for worker in &self.workers {
            // Copied, not added up, while the worker could be waiting.
            let shard = worker.shard.lock().clone();
            all.add(&shard);
        }
        let (bots, routes) = (self.bots.lock().clone(), self.routes.lock().clone());
        write_calls(page, &all, &bots, &routes);
        write_faults(page, &all);
        page.each(&LIMITS_HIT, LIMITS.iter().zip(all.limits).map(|(limit, count)| ([*limit], count)));
        for (metric, what) in
            [(&OPEN_CALLS, Open::Call), (&OPEN_STREAMS, Open::Stream), (&OPEN_WEBSOCKETS, Open::Socket)]
        {
            page.one(metric, u64::try_from(self.open(what)).unwrap_or(0));
        }
        self.write_deeds(page, &all, &bots, &routes);
    }

    fn write_deeds(&self, page: &mut Page, all: &Shard, bots: &Names, routes: &Names) {
        let deeds = self.deeds.lock().clone();
        let mut mints: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for ((deed, bot), count) in &deeds {
            match deed {
                Deed::Opened => *mints.entry((bots.text(bot.0), "opened")).or_default() += count,
                Deed::Replayed => *mints.entry((bots.text(bot.0), "replayed")).or_default() += count,
                Deed::Renewed | Deed::Recognised | Deed::Ended(_) => {}
            }
        }
        for (series, counts) in all.series.iter().filter(|(series, _)| routes.opens(series.route.0)) {
            if let Some(code) = series.code {
                *mints.entry((bots.text(series.bot.0), code.name())).or_default() += counts.calls;
            }
        }
        page.each(&MINTS, mints.into_iter().map(|((bot, result), count)| ([bot, result], count)));
        for (metric, wanted) in [(&RENEWALS, Deed::Renewed), (&CONTACTS, Deed::Recognised)] {
            let of_kind = deeds.iter().filter(|((deed, _), _)| *deed == wanted);
            page.each(metric, of_kind.map(|((_, bot), count)| ([bots.text(bot.0)], *count)));
        }
        let ends = deeds.iter().filter_map(|((deed, bot), count)| match deed {
            Deed::Ended(scope) => Some(([bots.text(bot.0), *scope], *count)),
            Deed::Opened | Deed::Replayed | Deed::Renewed | Deed::Recognised => None,
        });
        page.each(&ENDS, ends);
    }
}

fn write_calls(page: &mut Page, all: &Shard, bots: &Names, routes: &Names) {
    let mut sums: BTreeMap<(&str, &str), Counts> = BTreeMap::new();
    let mut calls: Vec<([&str; 4], u64)> = Vec::with_capacity(all.series.len());
    for (series, counts) in &all.series {
        let (bot, route) = (bots.text(series.bot.0), routes.text(series.route.0));
        let class = CLASSES.get(usize::from(series.class)).copied().unwrap_or_default();
        calls.push(([bot, route, class, series.code.map_or("", Code::name)], counts.calls));
        sums.entry((bot, route)).or_default().add(counts);
    }
    calls.sort_unstable();
    page.each(&CALLS, calls.into_iter());
    let of_both = |pick: fn(&Counts) -> u64| sums.iter().map(move |((bot, route), sum)| ([*bot, *route], pick(sum)));
    page.each(&CUT_CALLS, of_both(|sum| sum.cut));
    page.each(&RECEIVED, of_both(|sum| sum.received));
    page.each(&SENT, of_both(|sum| sum.sent));
    let times = || all.times.iter().zip(0..).map(|(times, route)| (routes.text(route), times));
    page.histograms(&DURATION, times().map(|(route, times)| ([route], &times.duration)));
    page.histograms(&FIRST_BYTE, times().map(|(route, times)| ([route], &times.first_byte)));
}

/// All codes are there from the beginning: what appears with its first count has no rate.
fn write_faults(page: &mut Page, all: &Shard) {
    let mut sums: HashMap<Code, u64> = HashMap::new();
    for (series, counts) in &all.series {
        if let Some(code) = series.code {
            *sums.entry(code).or_default() += counts.calls;
        }
    }
    let count = |code: &Code| sums.get(code).copied().unwrap_or_default();
    page.each(&FAULTS, Code::ALL.iter().map(|code| ([code.name(), code.blame().name()], count(code))));
}

#[cfg(test)]
mod tests;

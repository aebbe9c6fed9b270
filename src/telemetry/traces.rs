//! Traces, as OpenTelemetry has them: what of a request took how long, told to a collector that others choose.
//!
//! A request has a [`Span`]; what it spends its time with has a [`Part`] of that. Which requests are traced is decided
//! once, when they come, and for all that comes after them. What is told is of closed lists: names, numbers, ids, the
//! template of the call; never a path, a query, a header, a body, a contact or a token. A span that ends is put into a
//! queue and nothing else: who cannot take it costs a call nothing, see [`Outlet`].

mod context;
mod outlet;
mod sample;
mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::HeaderMap;
use opentelemetry_proto::tonic::trace::v1::Span as Message;
use tokio::sync::mpsc;

pub use self::context::Context;
pub use self::outlet::{Batch, Outlet};
pub use self::sample::Sample;
use self::span::{Clocked, Inner};
pub use self::span::{Part, Served, Span};
use crate::clock::Timestamp;

/// Spans that wait for the collector at most. With a KiB each it is what a busy gateway has in a second.
const LONGEST_QUEUE: usize = 4096;

/// What is traced, and under which name.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which requests of those whose proxy has not decided it.
    pub sample: Sample,
    /// What the collector knows the gateway as.
    pub service: String,
}

/// Begins the spans of requests.
#[derive(Debug, Default)]
pub struct Traces {
    /// Nothing: nobody wants them.
    queue: Option<Queue>,
    sample: Sample,
}

/// Where spans wait that have ended.
#[derive(Clone, Debug)]
struct Queue {
    spans: mpsc::Sender<Message>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    /// Puts a span in; one too many is lost, and counted.
    fn put(&self, span: Message) {
        if self.spans.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Traces {
    /// Traces that nobody wants.
    pub fn off() -> Self {
        Self::default()
    }

    /// Traces, and where they come out.
    pub fn new(settings: &Settings) -> (Self, Outlet) {
        let (spans, receiver) = mpsc::channel(LONGEST_QUEUE);
        let lost = Arc::<AtomicU64>::default();
        let outlet = Outlet::new(receiver, Arc::clone(&lost), &settings.service);
        (Self { queue: Some(Queue { spans, lost }), sample: settings.sample }, outlet)
    }

    /// The span of a request that came at `at`. `trusted` are its headers where a proxy of ours has sent it: what that one
    /// says of the trace is followed. What anybody else says of it would have others' spans in one trace with theirs, and
    /// would decide what we spend on it.
    pub fn begin(&self, trusted: Option<&HeaderMap>, at: Timestamp) -> Span {
        if self.queue.is_none() && trusted.is_none() {
            return Span::none();
        }
        let remote = trusted.and_then(Context::of);
        let Some(queue) = &self.queue else {
            // Nobody here wants spans, but those before and behind us may.
            return remote.map_or_else(Span::none, Span::passing);
        };
        let parent = remote.as_ref().map(Context::span);
        let context = remote.map_or_else(|| self.decided(Context::new()), Context::child);
        let queue = context.is_sampled().then(|| queue.clone());
        let clock = Clocked { at, since: Instant::now() };
        Span::of(Inner { queue, context, parent, is_remote: true, clock, start: clock.since })
    }

    fn decided(&self, context: Context) -> Context {
        let is_sampled = self.sample.takes(&context);
        context.sampled(is_sampled)
    }
}

#[cfg(test)]
mod tests;

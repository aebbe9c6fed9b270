//! Where spans come out: gathered for a while, and given to whoever carries them to the collector.
//!
//! Nothing is repeated and nothing is kept: spans that the collector does not take are lost, counted, and that is said
//! once in a while. A call is never held up by it.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Message};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::fault::Causes;

/// For so long spans are gathered that go in one message.
const INTERVAL: Duration = Duration::from_secs(1);
/// So many are in a message at most.
const LARGEST: usize = 512;
/// How often it is said that spans are lost.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// Spans that are to be carried to the collector.
#[derive(Debug)]
pub struct Batch {
    /// How many.
    pub count: u64,
    /// They, as OTLP writes them (`application/x-protobuf`).
    pub message: Bytes,
}

/// Where spans come out.
#[derive(Debug)]
pub struct Outlet {
    spans: mpsc::Receiver<Message>,
    /// All that were lost, here and at the queue.
    lost: Arc<AtomicU64>,
    told: u64,
    told_at: Option<Instant>,
    resource: Resource,
}

impl Outlet {
    pub(super) fn new(spans: mpsc::Receiver<Message>, lost: Arc<AtomicU64>, service: &str) -> Self {
        let attribute = |name: &str, value: &str| KeyValue {
            key: name.to_owned(),
            value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
            ..KeyValue::default()
        };
        let version = env!("CARGO_PKG_VERSION");
        let attributes = vec![attribute("service.name", service), attribute("service.version", version)];
        let resource = Resource { attributes, ..Resource::default() };
        Self { spans, lost, told: 0, told_at: None, resource }
    }

    /// The next spans, gathered for a second or as many as a message takes; once it is `stopped`, what there is, and then
    /// nothing.
    pub async fn batch(&mut self, stopped: &CancellationToken) -> Option<Batch> {
        let mut spans = Vec::new();
        let mut until = None;
        while spans.len() < LARGEST {
            let room = LARGEST - spans.len();
            let late = until.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                received = self.spans.recv_many(&mut spans, room) => match received {
                    0 => break,
                    _ => until = until.or_else(|| Some(Instant::now() + INTERVAL)),
                },
                () = stopped.cancelled() => break,
                () = sleep_until(late), if until.is_some() => break,
            }
        }
        (!spans.is_empty()).then(|| self.written(spans))
    }

    fn written(&self, spans: Vec<Message>) -> Batch {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let name = env!("CARGO_PKG_NAME").to_owned();
        let scope = InstrumentationScope { name, ..InstrumentationScope::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource.clone());
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        Batch { count, message: ExportTraceServiceRequest { resource_spans }.encode_to_vec().into() }
    }

    /// The collector has them.
    pub fn arrived(&mut self) {
        self.tell(None);
    }

    /// It has not, and never will.
    pub fn lost(&mut self, count: u64, why: &(dyn Error + Send + Sync + 'static)) {
        self.lost.fetch_add(count, Ordering::Relaxed);
        self.tell(Some(why));
    }

    fn tell(&mut self, why: Option<&(dyn Error + Send + Sync + 'static)>) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost == self.told || self.told_at.is_some_and(|at| at.elapsed() < BETWEEN_WARNINGS) {
            return;
        }
        let spans = lost - self.told;
        (self.told, self.told_at) = (lost, Some(Instant::now()));
        match why {
            Some(error) => tracing::warn!(spans, "spans were lost{}", Causes(error)),
            None => tracing::warn!(spans, "spans were lost: there are more of them than the collector takes"),
        }
    }
}

//! A collector of traces (OTLP over HTTP, protobuf) that keeps what it was told.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

use crate::support::eventually;
use crate::support::vendor::{Seen, TestVendor, whole};

/// A collector.
pub(super) struct Collector {
    pub(super) vendor: TestVendor,
}

/// A span, as a person reads it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) trace: String,
    pub(super) id: String,
    /// Empty: it has none.
    pub(super) parent: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) is_error: bool,
    pub(super) starts: u64,
    pub(super) ends: u64,
}

impl Collector {
    /// One that takes everything.
    pub(super) fn start() -> Self {
        Self::answering(200)
    }

    /// One that answers this.
    pub(super) fn answering(status: u16) -> Self {
        Self { vendor: TestVendor::answering(move |_| whole(status, "application/x-protobuf", "")) }
    }

    /// The section of a configuration that sends it this share of all requests.
    pub(super) fn section(&self, sample: &str, more: &str) -> String {
        format!("[traces]\nendpoint = \"{}\"\nsample = \"{sample}\"\n{more}\n", self.vendor.url)
    }

    /// What it was sent.
    pub(super) fn messages(&self) -> Vec<Seen> {
        self.vendor.seen()
    }

    /// All spans, once there are so many.
    pub(super) async fn spans(&self, count: usize) -> Vec<Told> {
        eventually("the spans", || self.told().len() >= count).await;
        self.told()
    }

    /// The names of those that told them.
    pub(super) fn services(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .resources()
            .into_iter()
            .filter_map(|told| read(&told.resource.unwrap().attributes).remove("service.name"))
            .collect();
        names.dedup();
        names
    }

    fn told(&self) -> Vec<Told> {
        let scopes = self.resources().into_iter().flat_map(|told| told.scope_spans);
        scopes.flat_map(|scope| scope.spans).map(Told::of).collect()
    }

    fn resources(&self) -> Vec<ResourceSpans> {
        let decoded = |seen: Seen| {
            assert_eq!(seen.headers["content-type"], "application/x-protobuf");
            ExportTraceServiceRequest::decode(seen.body).unwrap().resource_spans
        };
        self.messages().into_iter().flat_map(decoded).collect()
    }
}

impl Told {
    fn of(span: Span) -> Self {
        let kind = ["unspecified", "internal", "server", "client"][usize::try_from(span.kind).unwrap()];
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        Self {
            kind,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: read(&span.attributes),
            is_error: span.status.is_some_and(|status| status.code == 2),
            starts: span.start_time_unix_nano,
            ends: span.end_time_unix_nano,
            name: span.name,
        }
    }

    /// The only one of this name.
    pub(super) fn one<'s>(spans: &'s [Self], name: &str) -> &'s Self {
        let found: Vec<&Self> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {spans:#?}");
        found[0]
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

//! What is queued of a request, and what becomes of it.

use std::io;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::time::advance;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fault::Code;
use crate::telemetry::tests::logged;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traces() -> (Traces, Outlet) {
    Traces::new(&Settings { sample: Sample::default(), service: "test".to_owned() })
}

fn from(parent: &str) -> HeaderMap {
    HeaderMap::from_iter([("traceparent".parse().unwrap(), HeaderValue::from_str(parent).unwrap())])
}

fn served() -> Served<'static> {
    Served {
        method: "OTHER",
        route: Some("GET /things/{thing}"),
        status: Some(StatusCode::BAD_GATEWAY),
        code: Some(Code::VendorFailed),
        bot: Some("support"),
        session: None,
        client: "192.0.2.1".parse().unwrap(),
        id: "abc",
    }
}

async fn sent(outlet: &mut Outlet) -> Vec<Message> {
    let stopped = CancellationToken::new();
    stopped.cancel();
    let mut spans = Vec::new();
    while let Some(batch) = outlet.batch(&stopped).await {
        let request = ExportTraceServiceRequest::decode(batch.message).unwrap();
        spans.extend(
            request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans),
        );
    }
    spans
}

#[tokio::test]
async fn a_request_and_its_parts_are_one_trace() {
    let (traces, mut outlet) = traces();
    let span = traces.begin(Some(&from(PARENT)), Timestamp::from_seconds(1_800_000_000));
    let mut headers = HeaderMap::new();
    let outer = span.part("mint");
    let mut call = outer.span().call("vendor", &mut headers);
    call.answered(StatusCode::IM_A_TEAPOT);
    drop((call, outer));
    span.served(&served());

    let [call, outer, request] = sent(&mut outlet).await.try_into().unwrap();
    assert!([&call, &outer, &request].iter().all(|span| span.trace_id == request.trace_id));
    assert_eq!(request.parent_span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert_eq!((&outer.parent_span_id, &call.parent_span_id), (&request.span_id, &outer.span_id));
    assert!(headers["traceparent"].to_str().unwrap().contains(&crate::id::hex(&call.span_id)), "{headers:?}");
    assert_eq!(
        (request.name.as_str(), request.status.unwrap().code, call.status.unwrap().code),
        ("GET /things/{thing}", 2, 2)
    );
    assert!(
        request.start_time_unix_nano >= 1_800_000_000_000_000_000
            && call.end_time_unix_nano <= outer.end_time_unix_nano
    );
    assert!(sent(&mut outlet).await.is_empty());
}

#[tokio::test]
async fn what_a_trusted_proxy_does_not_record_is_not_recorded_here_and_passed_on() {
    let (traces, mut outlet) = traces();
    let mut headers = HeaderMap::new();
    for traces in [traces, Traces::off()] {
        let span = traces.begin(Some(&from(&PARENT.replace("-01", "-00"))), Timestamp::default());
        drop(span.call("vendor", &mut headers));
        span.served(&served());
        let parent = headers["traceparent"].to_str().unwrap();
        assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && parent.ends_with("-00"), "{parent}");
    }
    assert!(sent(&mut outlet).await.is_empty());
}

#[test]
fn nothing_is_made_where_nobody_wants_to_know() {
    let mut headers = HeaderMap::new();
    for trusted in [None, Some(&HeaderMap::new()), Some(&from("none"))] {
        drop(Traces::off().begin(trusted, Timestamp::default()).call("vendor", &mut headers));
    }
    assert!(headers.is_empty(), "{headers:?}");
}

#[tokio::test]
async fn what_is_too_much_for_the_queue_is_counted_and_not_kept() {
    let (traces, mut outlet) = traces();
    for _ in 0..LONGEST_QUEUE + 10 {
        traces.begin(Some(&from(PARENT)), Timestamp::default()).served(&served());
    }
    assert_eq!(traces.queue.unwrap().lost.load(Ordering::Relaxed), 10);
    assert_eq!(sent(&mut outlet).await.len(), LONGEST_QUEUE);
}

#[test]
fn that_spans_are_lost_is_said_once_in_a_while() {
    let (_traces, mut outlet) = traces();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let text = logged("info", false, || {
        runtime.block_on(async {
            outlet.arrived();
            for _ in 0..10 {
                outlet.lost(5, &io::Error::other("it is away"));
            }
            advance(Duration::from_secs(61)).await;
            outlet.lost(5, &io::Error::other("it is still away"));
            outlet.arrived();
        });
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("\"spans\":5") && lines[0].contains("spans were lost: it is away"), "{text}");
    assert!(lines[1].contains("\"spans\":50") && lines[1].contains("still away"), "{text}");
}

//! The spans that reach an exporter, and the parent that the next message names.

use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use opentelemetry::{
    global::BoxedTracer,
    trace::{SpanId, SpanKind, Status, TracerProvider},
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use protocol::{Problem, TraceParent};
use trace::{Request, Span, TARGET};
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt;

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// The spans that `work` leads to, which gets the tracer for requests.
fn exported(sampler: Sampler, work: impl FnOnce(&BoxedTracer)) -> Vec<SpanData> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(TARGET))
        .with_context_activation(false);
    let tracer = BoxedTracer::new(Box::new(provider.tracer(TARGET)));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || work(&tracer));
    exporter
        .get_finished_spans()
        .expect("an exporter that was not shut down")
}

fn parent_based() -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::AlwaysOn))
}

fn span() -> tracing::Span {
    info_span!(target: TARGET, "work", otel.kind = "consumer")
}

fn id(span: &SpanData) -> u64 {
    u64::from_be_bytes(span.span_context.span_id().to_bytes())
}

#[test]
fn a_span_is_the_child_of_its_parent_and_the_parent_of_what_follows() {
    let sender: TraceParent = SAMPLED.parse().unwrap();
    let mut next = None;
    let spans = exported(parent_based(), |_| {
        next = Some(Span::of_message(sender, span).traceparent());
    });
    let ([span], Some(next)) = (&spans[..], next) else {
        panic!("{spans:?}");
    };
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(span.links[0].span_context.span_id(), span.parent_span_id);
    assert_eq!(span.span_kind, SpanKind::Consumer);
    assert_eq!(next.trace_id(), sender.trace_id());
    assert_eq!(next.parent_id().get(), id(span));
    assert!(next.is_sampled());
}

#[test]
fn a_trace_that_is_not_sampled_has_no_spans_and_is_handed_on() {
    let sender: TraceParent = NOT_SAMPLED.parse().unwrap();
    let spans = exported(parent_based(), |_| {
        let span = Span::within(sender, || panic!("a span was made"));
        assert_eq!(span.traceparent(), sender);
        trace::record_past(sender, 1, || -> (String, [_; 0]) {
            panic!("a span was made")
        });
    });
    assert!(spans.is_empty(), "{spans:?}");
}

#[test]
fn a_sampled_trace_is_handed_on_where_nothing_is_exported() {
    let sender: TraceParent = SAMPLED.parse().unwrap();
    assert_eq!(Span::within(sender, span).traceparent(), sender);
    assert_eq!(Request::begin(Some(sender)).traceparent(), sender);
    assert!(!Request::begin(None).traceparent().is_sampled());
}

#[test]
fn a_request_begins_a_trace_or_continues_the_one_of_its_sender() {
    let sender: TraceParent = SAMPLED.parse().unwrap();
    let mut parents = Vec::new();
    let spans = exported(parent_based(), |tracer| {
        for received in [None, Some(sender)] {
            parents.push(Request::begin_with(tracer, received).traceparent());
        }
    });
    let ([begun, continued], [begins, continues]) = (&parents[..], &spans[..]) else {
        panic!("{spans:?}");
    };
    assert_eq!(begins.parent_span_id, SpanId::INVALID);
    assert_eq!(begun.parent_id().get(), id(begins));
    assert_ne!(begun.trace_id(), sender.trace_id());
    assert_eq!(continues.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(continued.parent_id().get(), id(continues));
    assert_eq!(continued.trace_id(), sender.trace_id());
    assert!(spans.iter().all(|span| span.span_kind == SpanKind::Server));
}

#[test]
fn the_sampler_decides_where_the_trace_begins() {
    let sender: TraceParent = SAMPLED.parse().unwrap();
    let spans = exported(Sampler::AlwaysOff, |tracer| {
        for received in [None, Some(sender)] {
            let request = Request::begin_with(tracer, received).traceparent();
            assert!(!request.is_sampled());
            assert_eq!(request.trace_id() == sender.trace_id(), received.is_some());
        }
    });
    assert!(spans.is_empty(), "{spans:?}");
}

#[test]
fn an_answer_of_500_and_above_is_a_failure() {
    let spans = exported(parent_based(), |tracer| {
        for status in [StatusCode::BAD_REQUEST, StatusCode::SERVICE_UNAVAILABLE] {
            Request::begin_with(tracer, None).answer(&Problem::of_status(status).into());
        }
    });
    let failed: Vec<_> = spans
        .iter()
        .map(|span| matches!(span.status, Status::Error { .. }))
        .collect();
    assert_eq!(failed, [false, true]);
}

#[test]
fn a_wait_begins_in_the_past() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    opentelemetry::global::set_tracer_provider(provider);
    let accepted_us = 1_756_000_000_000_000;
    trace::record_past(SAMPLED.parse().unwrap(), accepted_us, || {
        let attributes = [("messaging.system", "nats".to_owned())];
        ("wait".to_owned(), attributes)
    });
    let spans = exporter.get_finished_spans().unwrap();
    let [span] = &spans[..] else {
        panic!("{spans:?}");
    };
    let accepted = UNIX_EPOCH + Duration::from_micros(accepted_us);
    assert_eq!(span.start_time, accepted);
    assert!(span.end_time > accepted);
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
}

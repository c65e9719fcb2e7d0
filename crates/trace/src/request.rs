//! The request that posts a job, which begins the job's trace.

use opentelemetry::{
    Context, KeyValue,
    global::{BoxedSpan, BoxedTracer},
    trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use protocol::{Response, TraceParent};

use crate::{
    exporter::{TRACER, is_exporting},
    span::{context_of, traceparent_of},
};

/// A `POST /fib`, from its arrival to its answer.
///
/// Every request asks the sampler, and few are sampled. OpenTelemetry makes nothing of the others, while
/// `tracing` would make a span of each first.
#[derive(Debug)]
pub struct Request {
    /// `None` if nothing is exported.
    span: Option<BoxedSpan>,
    traceparent: TraceParent,
}

impl Request {
    /// The name of the header of a response that names the trace of its request, as the
    /// [draft of W3C](https://w3c.github.io/trace-context/#traceresponse-header) has it.
    pub const RESPONSE_HEADER: &'static str = "traceresponse";

    /// Begins the request, in the trace that its sender named or in a new one. The sampler decides here
    /// whether the trace is sampled.
    #[must_use]
    pub fn begin(received: Option<TraceParent>) -> Self {
        if is_exporting() {
            return Self::begin_with(&TRACER, received);
        }
        Self {
            span: None,
            traceparent: received.unwrap_or_else(TraceParent::random),
        }
    }

    /// The same with a tracer other than that of the process.
    #[must_use]
    pub fn begin_with(tracer: &BoxedTracer, received: Option<TraceParent>) -> Self {
        let parent = received.map_or_else(Context::new, |received| {
            Context::new().with_remote_span_context(context_of(received))
        });
        let builder = SpanBuilder::from_name("POST /fib").with_kind(SpanKind::Server);
        let mut span = tracer.build_with_context(builder, &parent);
        if span.is_recording() {
            span.set_attributes([
                KeyValue::new("http.request.method", "POST"),
                KeyValue::new("http.route", "/fib"),
                KeyValue::new("url.path", "/fib"),
            ]);
        }
        let traceparent = traceparent_of(span.span_context())
            .or(received)
            .unwrap_or_else(TraceParent::random);
        Self {
            span: Some(span),
            traceparent,
        }
    }

    /// The parent of the job's next span.
    #[must_use]
    pub fn traceparent(&self) -> TraceParent {
        self.traceparent
    }

    /// Ends the request with its answer.
    pub fn answer(self, response: &Response) {
        let Some(mut span) = self.span.filter(BoxedSpan::is_recording) else {
            return;
        };
        let status = response.status;
        span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status.as_u16()),
        ));
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
    }
}

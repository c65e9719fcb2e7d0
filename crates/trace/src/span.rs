//! One unit of work in a job's trace.

use std::{
    error::Error,
    num::{NonZeroU64, NonZeroU128},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
        Tracer,
    },
};
use protocol::TraceParent;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::exporter::TRACER;

/// A unit of work, from when this is made until it is dropped. Nothing is recorded if the trace is not
/// sampled.
#[derive(Debug)]
pub struct Span {
    span: tracing::Span,
    traceparent: TraceParent,
}

impl Span {
    /// The span that `make` returns, as a child of `parent`.
    #[must_use]
    pub fn within(parent: TraceParent, make: impl FnOnce() -> tracing::Span) -> Self {
        if !parent.is_sampled() {
            return Self {
                span: tracing::Span::none(),
                traceparent: parent,
            };
        }
        let span = make();
        // This fails only if there is no exporter.
        span.set_parent(Context::new().with_remote_span_context(context_of(parent)))
            .ok();
        let traceparent = traceparent_of(span.context().span().span_context()).unwrap_or(parent);
        Self { span, traceparent }
    }

    /// The span that `make` returns, for the processing of a message. The span that sent the message is
    /// its parent, and is linked, because that is how OpenTelemetry relates a message's two ends.
    #[must_use]
    pub fn of_message(sender: TraceParent, make: impl FnOnce() -> tracing::Span) -> Self {
        Self::within(sender, || {
            let span = make();
            span.add_link(context_of(sender));
            span
        })
    }

    /// The parent of the spans and messages that this work leads to.
    #[must_use]
    pub fn traceparent(&self) -> TraceParent {
        self.traceparent
    }

    /// Records that the work failed.
    pub fn fail(&self, error: &dyn Error) {
        self.span.set_status(Status::error(error.to_string()));
    }
}

/// Records a span that begins at `start_us`, in microseconds since the Unix epoch, and ends now, with the
/// name and the attributes that `describe` returns. `tracing` has no spans that began in the past.
pub fn record_past<const N: usize>(
    parent: TraceParent,
    start_us: u64,
    describe: impl FnOnce() -> (String, [(&'static str, String); N]),
) {
    if !parent.is_sampled() {
        return;
    }
    let (name, attributes) = describe();
    let parent = Context::new().with_remote_span_context(context_of(parent));
    let attributes = attributes
        .into_iter()
        .map(|(key, value)| KeyValue::new(key, value));
    let now = SystemTime::now();
    // The clock of the process that accepted the job may be ahead of this one's.
    let start = (UNIX_EPOCH + Duration::from_micros(start_us)).min(now);
    TRACER
        .span_builder(name)
        .with_start_time(start)
        .with_attributes(attributes)
        .start_with_context(&*TRACER, &parent)
        .end_with_timestamp(now);
}

/// `value` as an attribute of a span, where integers are signed: another type is exported as text. A value
/// that is too large is left out.
#[must_use]
pub fn integer(value: impl TryInto<i64>) -> Option<i64> {
    value.try_into().ok()
}

pub(crate) fn context_of(parent: TraceParent) -> SpanContext {
    let flags = if parent.is_sampled() {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    SpanContext::new(
        TraceId::from_bytes(parent.trace_id().get().get().to_be_bytes()),
        SpanId::from_bytes(parent.parent_id().get().to_be_bytes()),
        flags,
        true,
        TraceState::default(),
    )
}

/// `None` if the span is not known to an exporter.
pub(crate) fn traceparent_of(span: &SpanContext) -> Option<TraceParent> {
    Some(TraceParent::new(
        NonZeroU128::new(u128::from_be_bytes(span.trace_id().to_bytes()))?,
        NonZeroU64::new(u64::from_be_bytes(span.span_id().to_bytes()))?,
        span.is_sampled(),
    ))
}

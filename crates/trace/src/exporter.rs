//! The connection to an exporter. Most spans are made with `tracing`. Two kinds are made with OpenTelemetry's own
//! interface: those that `tracing` cannot make, and those of which few are sampled.

use std::sync::LazyLock;

use opentelemetry::global::{self, BoxedTracer};

/// The target of every span. An exporter selects the spans by it.
pub const TARGET: &str = "fibwire::trace";

/// Makes spans without `tracing`. An exporter has to be started before the first use.
pub(crate) static TRACER: LazyLock<BoxedTracer> = LazyLock::new(|| global::tracer(TARGET));

/// Whether this process exports spans.
pub(crate) fn is_exporting() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

//! Spans of a job's trace: whether there is one, which span is its parent, and what it hands on. What a
//! span says is decided where the work is done; how spans are exported is decided in `daemon`.
//!
//! A trace is sampled where it begins, with the [`Request`] that posts the job. The decision travels in
//! the [`TraceParent`](protocol::TraceParent) of each message. In a trace that is not sampled nothing is
//! recorded, so that a span costs a test of one flag.

mod exporter;
mod request;
mod span;

pub use exporter::TARGET;
pub use request::Request;
pub use span::{Span, integer, record_past};

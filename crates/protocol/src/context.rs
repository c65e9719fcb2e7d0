//! The data that travels with a job and with each of its events, besides the payload.

use crate::{TraceParent, unix_us};

/// When a job was accepted, and the trace that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobContext {
    /// When the job was accepted, in microseconds since the Unix epoch.
    pub accepted_us: u64,
    /// The trace of the job, and the span that sent this message of it.
    pub traceparent: TraceParent,
}

impl JobContext {
    /// The name of the header that carries `accepted_us` with an event.
    pub const ACCEPTED_US_HEADER: &'static str = "Fibwire-Accepted-Us";

    /// The context of a job that is accepted now.
    #[must_use]
    pub fn now(traceparent: TraceParent) -> Self {
        Self {
            accepted_us: unix_us(),
            traceparent,
        }
    }
}

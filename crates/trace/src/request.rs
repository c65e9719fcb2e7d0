//! The request that posts a job, which begins the job's trace.

use protocol::{Response, TraceParent};

use crate::{span::Span, target::TARGET};

/// A `POST /fib`, from its arrival to its answer.
#[derive(Debug)]
pub struct Request(Span);

impl Request {
    /// The name of the header of a response that names the trace of its request, as the
    /// [draft of W3C](https://w3c.github.io/trace-context/#traceresponse-header) has it.
    pub const RESPONSE_HEADER: &'static str = "traceresponse";

    /// Begins the request, in the trace that its sender named or in a new one. The sampler decides here
    /// whether the trace is sampled.
    #[must_use]
    pub fn begin(received: Option<TraceParent>) -> Self {
        let span = tracing::info_span!(
            target: TARGET,
            "request",
            otel.name = "POST /fib",
            otel.kind = "server",
            http.request.method = "POST",
            http.route = "/fib",
            url.path = "/fib",
        );
        Self(Span::new(received, span))
    }

    /// What the job has as its parent.
    #[must_use]
    pub fn traceparent(&self) -> TraceParent {
        self.0.traceparent()
    }

    /// Ends the request with its answer.
    pub fn answer(self, response: &Response) {
        let status = response.status;
        self.0
            .set_attribute("http.response.status_code", status.as_u16().into());
        if status.is_server_error() {
            self.0.set_error(String::new());
        }
    }
}

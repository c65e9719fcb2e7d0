//! Counts the answers to posted jobs, for the web service and for the standalone binary.

use std::sync::Arc;

use axum::http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Counts the answers to `POST /fib` by their status. A server clones this for each request; all clones share
/// the counters.
#[derive(Debug, Clone)]
pub struct Submissions(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    answers: Family<Status, Counter>,
    /// The counter of 202s, which is looked up once and not for each job.
    accepted: Counter,
}

/// The label of a counter. Clients cannot choose the status, so there are only a few.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

impl Submissions {
    /// Counters that `registry` shows.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let answers = Family::<Status, Counter>::default();
        registry.register(
            "fibwire_submissions",
            "Answers to POST /fib by their HTTP status, without those that the proxy gave",
            answers.clone(),
        );
        // The count of 503s begins at 0. If the first 503 began it at 1, Prometheus would see no increase.
        let status = StatusCode::SERVICE_UNAVAILABLE.as_u16();
        drop(answers.get_or_create(&Status { status }));
        let status = StatusCode::ACCEPTED.as_u16();
        Self(Arc::new(Counters {
            accepted: answers.get_or_create_owned(&Status { status }),
            answers,
        }))
    }

    /// Counts an answer.
    pub fn count(&self, status: StatusCode) {
        if status == StatusCode::ACCEPTED {
            self.0.accepted.inc();
        } else {
            let status = status.as_u16();
            self.0.answers.get_or_create(&Status { status }).inc();
        }
    }
}

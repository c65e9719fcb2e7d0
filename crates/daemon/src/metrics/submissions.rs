//! How the posts of jobs were answered. Flask and the standalone binary both count them.

use std::sync::Arc;

use axum::http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Counts the answers to `POST /fib` by their status. Clones share the counters, and a server clones them
/// for each request.
#[derive(Debug, Clone)]
pub struct Submissions(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    answers: Family<Status, Counter>,
    /// The counter of 202s, which is looked up once and not for each job.
    accepted: Counter,
}

/// The program chooses the status, so there are only a few.
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
        // A rate of these is known from the first one on only if it follows a zero.
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

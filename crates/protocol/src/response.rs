//! The answer to a request, as a plain value that every web framework can turn into its own.

use http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use crate::{Job, Problem, json};

/// An HTTP response with a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    /// The media type of `body`.
    pub content_type: &'static str,
    /// The value of the header `Retry-After`, in seconds, if the response has one.
    pub retry_after_s: Option<u32>,
    /// The body, which is JSON.
    pub body: Vec<u8>,
}

impl Response {
    /// The answer to the client that asked for `job`, once the queue has taken or refused the job.
    #[must_use]
    pub fn to_submission<E: Into<Problem>>(job: &Job, outcome: Result<(), E>) -> Self {
        match outcome {
            Ok(()) => Self::accepted(job),
            Err(error) => error.into().into(),
        }
    }

    /// 202 with the job's id and n.
    fn accepted(job: &Job) -> Self {
        #[derive(Serialize)]
        struct Accepted {
            id: Uuid,
            n: u64,
        }
        Self {
            status: StatusCode::ACCEPTED,
            content_type: "application/json",
            retry_after_s: None,
            body: json::encode(&Accepted {
                id: job.id,
                n: job.n,
            }),
        }
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        Self {
            status: problem.status(),
            content_type: Problem::CONTENT_TYPE,
            retry_after_s: problem.retry_after(),
            body: problem.body(),
        }
    }
}

//! `POST /fib` without a web framework: from content type and body to an answer. Every HTTP face
//! calls this, so that they cannot differ.

use http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use crate::{Job, Problem, Queue, Submission, json};

/// The queue has the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// The job's id, which every event of it carries.
    pub id: Uuid,
    /// Which Fibonacci number is to come.
    pub n: u64,
}

/// An HTTP answer in the terms that every framework has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The media type of `body`.
    pub content_type: &'static str,
    /// The value of `Retry-After` in seconds, if that header belongs to the answer.
    pub retry_after_s: Option<u32>,
    /// The body, which is JSON.
    pub body: Vec<u8>,
}

/// Checks a body, queues its job, and answers when the queue has it, or within 2 seconds that it
/// has not.
pub async fn accept(queue: &Queue, content_type: Option<&str>, body: &[u8], max_n: u64) -> Reply {
    let job = match Submission::parse(content_type, body, max_n) {
        Ok(submission) => submission.into_job(),
        Err(problem) => return problem.into(),
    };
    match queue.submit(&job).await {
        Ok(()) => Accepted::from(&job).into(),
        Err(error) => {
            tracing::warn!(%error, id = %job.id, "job refused");
            Problem::from(error).into()
        }
    }
}

impl From<&Job> for Accepted {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id,
            n: job.n,
        }
    }
}

impl From<Accepted> for Reply {
    fn from(accepted: Accepted) -> Self {
        Self {
            status: StatusCode::ACCEPTED,
            content_type: "application/json",
            retry_after_s: None,
            body: json::encode(&accepted),
        }
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        Self {
            status: problem.status(),
            content_type: Problem::CONTENT_TYPE,
            retry_after_s: problem.retry_after(),
            body: problem.body(),
        }
    }
}

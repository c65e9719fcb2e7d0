//! The answer to a request, as a plain value that every web framework can turn into its own.

use http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use crate::{Job, Problem, json};

/// An HTTP response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    /// The media type of `body`.
    pub content_type: &'static str,
    /// The value of the header `Retry-After`, in seconds, if the response has one.
    pub retry_after_s: Option<u32>,
    /// The body: JSON, or a page for a browser without JavaScript.
    pub body: Vec<u8>,
}

impl Response {
    /// The answer to the client that asked for `job`, once the queue has taken or refused the job.
    /// `accept` is the request's header `Accept`.
    #[must_use]
    pub fn to_submission<E: Into<Problem>>(
        job: &Job,
        outcome: Result<(), E>,
        accept: Option<&str>,
    ) -> Self {
        match outcome {
            Ok(()) if asks_for_html(accept) => Self::accepted_page(job),
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

    /// 202 with a page that says where the result can be seen.
    fn accepted_page(job: &Job) -> Self {
        let page = format!(include_str!("accepted.html"), id = job.id, n = job.n);
        Self {
            status: StatusCode::ACCEPTED,
            content_type: "text/html; charset=utf-8",
            retry_after_s: None,
            body: page.into_bytes(),
        }
    }
}

/// Whether a browser sent the form by itself, because the page's JavaScript did not. It names HTML before any
/// other type; programs, and JavaScript in a browser, do not.
fn asks_for_html(accept: Option<&str>) -> bool {
    let first = accept.and_then(|types| types.split([',', ';']).next());
    first.is_some_and(|first| first.trim().eq_ignore_ascii_case("text/html"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobContext, MaxN, Submission};

    fn answer(accept: Option<&str>) -> Response {
        let form = Some("application/x-www-form-urlencoded");
        let submission = Submission::parse(form, b"n=10", MaxN::default()).unwrap();
        let job = submission.into_job(JobContext::now(crate::TraceParent::random()));
        Response::to_submission(&job, Ok::<_, Problem>(()), accept)
    }

    #[test]
    fn only_who_names_html_first_gets_a_page() {
        for (accept, content_type) in [
            (None, "application/json"),
            (Some(""), "application/json"),
            (Some("*/*"), "application/json"),
            (Some("application/json, text/html"), "application/json"),
            (Some("text/html"), "text/html; charset=utf-8"),
            (
                Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
                "text/html; charset=utf-8",
            ),
            (Some("Text/HTML;q=0.9"), "text/html; charset=utf-8"),
        ] {
            assert_eq!(answer(accept).content_type, content_type, "{accept:?}");
        }
    }
}

//! Refusals as RFC 9457 problem details: a status, and a sentence that says what to send instead.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;

use crate::json;

/// The seconds after which to try again if the queue did not take a job.
const QUEUE_RETRY_AFTER_S: u32 = 1;

/// Why a request is refused, in the words that its sender reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    retry_after_s: Option<u32>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// The media type of [`Problem::body`].
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// A problem with the given status. `detail` is a sentence for the sender of the request.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after_s: None,
        }
    }

    /// The same problem with the advice to try again after `seconds`.
    #[must_use]
    pub fn retry_after_s(self, seconds: u32) -> Self {
        Self {
            retry_after_s: Some(seconds),
            ..self
        }
    }

    /// The problem of a request that is refused because of its method, path or size, before its body
    /// is parsed.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::NOT_FOUND => "Use GET / for the page, or POST /fib for a number.",
            StatusCode::METHOD_NOT_ALLOWED => "Use GET for / and POST for /fib.",
            StatusCode::PAYLOAD_TOO_LARGE => "Send at most 1 KiB, as in n=10.",
            StatusCode::BAD_REQUEST => "Send a well-formed request, as in n=10.",
            _ => "Something went wrong here. Try again.",
        };
        Self::new(status, detail)
    }

    /// The queue holds as many jobs as it may.
    #[must_use]
    pub fn queue_full() -> Self {
        Self::unavailable("Too many jobs are waiting. Send it again in a moment.")
    }

    /// The queue did not confirm in time that it has the job, which it may or may not have.
    #[must_use]
    pub fn queue_unreachable() -> Self {
        Self::unavailable("The queue cannot be reached. Send it again in a moment.")
    }

    /// The disk on which the queue keeps its jobs has no room for another.
    #[must_use]
    pub fn disk_full() -> Self {
        Self::unavailable("The server's disk is full. Send it again when there is room.")
    }

    fn unavailable(detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_s(QUEUE_RETRY_AFTER_S)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The seconds after which to try again, if that can help.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.retry_after_s
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        json::encode(&body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_the_rfc_says() {
        let problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Send n as a whole number.",
        );
        let body: serde_json::Value = serde_json::from_slice(&problem.body()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "about:blank",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "Send n as a whole number.",
            })
        );
    }

    #[test]
    fn each_status_has_a_sentence_of_its_own() {
        let known = [
            StatusCode::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::BAD_REQUEST,
            StatusCode::INTERNAL_SERVER_ERROR,
        ];
        let details = known.map(|status| Problem::of_status(status).detail);
        let distinct: std::collections::HashSet<_> = details.iter().collect();
        assert_eq!(distinct.len(), known.len(), "{details:?}");
    }

    #[test]
    fn a_refusal_that_passes_says_when_to_come_back() {
        for problem in [
            Problem::queue_full(),
            Problem::queue_unreachable(),
            Problem::disk_full(),
        ] {
            assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(problem.retry_after(), Some(QUEUE_RETRY_AFTER_S));
        }
        assert_eq!(
            Problem::of_status(StatusCode::NOT_FOUND).retry_after(),
            None
        );
    }
}

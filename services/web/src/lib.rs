//! What Flask's two routes do, for Python: a thin face over `pipeline`.

use clap::Parser;
use http::StatusCode;
use pipeline::{BODY_LIMIT, JetStreamOptions, Problem, Queue, SubmissionLimits};
use pyo3::{
    exceptions::{PyOSError, PyValueError},
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyList},
};
use tokio::runtime::{self, Runtime};

/// How many threads carry the connection to the queue. Requests wait on their own threads.
const RUNTIME_THREADS: usize = 1;

/// What can be set, in the environment only: the server's command line is granian's.
#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    queue: JetStreamOptions,
    #[command(flatten)]
    submissions: SubmissionLimits,
}

/// Takes submissions to the queue, over one connection.
#[pyclass(frozen, module = "web._web")]
struct Intake {
    runtime: Runtime,
    queue: Queue,
    max_n: u64,
}

#[pymethods]
impl Intake {
    /// Connects in the background to the queue that the environment names. Threads do not outlive
    /// a fork, so this is for the process that serves.
    #[new]
    fn new() -> PyResult<Self> {
        let settings = Settings::try_parse_from(["web"])
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        daemon::init_logging();
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("queue")
            .enable_all()
            .build()
            .map_err(PyOSError::new_err)?;
        let queue = runtime
            .block_on(Queue::connect(&settings.queue, "web"))
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self {
            runtime,
            queue,
            max_n: settings.submissions.max_n,
        })
    }

    /// Checks the body of a `POST /fib` and queues its job. Answers within 2 seconds, and meanwhile
    /// lets other Python threads run.
    fn accept(&self, py: Python<'_>, content_type: Option<&str>, body: &[u8]) -> Reply {
        let accepted = || {
            self.runtime.block_on(pipeline::accept(
                &self.queue,
                content_type,
                body,
                self.max_n,
            ))
        };
        Reply::from(py.detach(accepted))
    }
}

/// The problem that a router has with a request, by its HTTP status, with the headers that belong to
/// it.
#[pyfunction]
fn problem(status: u16, headers: Vec<(String, String)>) -> PyResult<Reply> {
    let status =
        StatusCode::from_u16(status).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let mut reply = Reply::from(pipeline::Reply::from(Problem::of_status(status)));
    reply.headers.extend(headers);
    Ok(reply)
}

/// An HTTP answer, as a WSGI application: what a Flask view may return.
#[pyclass(frozen, module = "web._web")]
struct Reply {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

#[pymethods]
impl Reply {
    /// Gives the body in one piece, which the server then sends together with the headers.
    fn __call__<'py>(
        &self,
        environ: &Bound<'py, PyDict>,
        start_response: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = environ.py();
        let reason = self.status.canonical_reason().unwrap_or("Unknown");
        let status_line = format!("{} {reason}", self.status.as_u16());
        let headers = PyList::new(py, &self.headers)?;
        start_response.call1((status_line, headers))?;
        let method = environ.get_item(intern!(py, "REQUEST_METHOD"))?;
        let body = match method {
            Some(method) if method.eq(intern!(py, "HEAD"))? => None,
            _ => Some(PyBytes::new(py, &self.body)),
        };
        PyList::new(py, body)
    }
}

impl From<pipeline::Reply> for Reply {
    fn from(reply: pipeline::Reply) -> Self {
        let mut headers = vec![("Content-Type".to_owned(), reply.content_type.to_owned())];
        if let Some(seconds) = reply.retry_after_s {
            headers.push(("Retry-After".to_owned(), seconds.to_string()));
        }
        Self {
            status: reply.status,
            headers,
            body: reply.body,
        }
    }
}

#[pymodule]
mod _web {
    #[pymodule_export]
    const BODY_LIMIT: usize = super::BODY_LIMIT;
    #[pymodule_export]
    use super::{Intake, Reply, problem};
}

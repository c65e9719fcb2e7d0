//! The Rust side of Flask's two routes: a thin Python interface to `protocol` and `queue`.

use clap::Parser;
use http::StatusCode;
use protocol::{BODY_LIMIT, JobContext, MaxN, Origins, Problem, Response, Source, Submission};
use pyo3::{
    exceptions::{PyOSError, PyValueError},
    prelude::*,
    types::PyBytes,
};
use queue::{JetStreamOptions, Submitter};
use tokio::runtime::{self, Runtime};
use tokio_util::sync::{CancellationToken, DropGuard};
use trace::Request;

/// How many threads serve the connection to the queue. Requests wait on their own threads.
const RUNTIME_THREADS: usize = 1;

/// Environment variables of the web service. Its command line belongs to the HTTP server.
#[derive(Debug, Parser)]
struct Config {
    #[command(flatten)]
    queue: JetStreamOptions,
    /// The largest N that is accepted, up to 1000000000.
    #[arg(long, env = "MAX_N", value_name = "MAX_N", default_value_t)]
    max_n: MaxN,
    /// Origins of other sites whose pages may post jobs, as in `https://example.org`, separated by
    /// commas. A page from the server's own host always may.
    #[arg(
        long,
        env = "ALLOWED_ORIGINS",
        value_name = "ALLOWED_ORIGINS",
        default_value = ""
    )]
    allowed_origins: Origins,
    #[command(flatten)]
    metrics: daemon::metrics::Options,
}

/// Status, headers and body of an HTTP response.
type Answer<'py> = (u16, Vec<(&'static str, String)>, Bound<'py, PyBytes>);

/// Submits jobs to the queue, over one connection.
#[pyclass(frozen, module = "web._web")]
struct Submissions {
    /// Ends the driver of the submitter and the server of the metrics.
    _shutdown: DropGuard,
    runtime: Runtime,
    submitter: Submitter,
    counts: daemon::metrics::Submissions,
    traces: daemon::Traces,
    max_n: MaxN,
    allowed_origins: Origins,
}

#[pymethods]
impl Submissions {
    /// Connects in the background to the queue that the environment names. Call this in the process
    /// that serves requests, because threads do not survive a fork.
    #[new]
    fn new() -> PyResult<Self> {
        let config = Config::try_parse_from(["web"])
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let traces = daemon::Traces::start("web")
            .map_err(|error| PyValueError::new_err(format!("{error:#}")))?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("queue")
            .enable_all()
            .build()
            .map_err(PyOSError::new_err)?;
        let (submitter, driver) = runtime
            .block_on(Submitter::connect(&config.queue))
            .map_err(|error| PyValueError::new_err(format!("QUEUE_URL: {error}")))?;
        let listener = runtime
            .block_on(config.metrics.bind())
            .map_err(|error| PyOSError::new_err(format!("{error:#}")))?;
        let mut registry = daemon::metrics::registry();
        submitter.register(&mut registry);
        let counts = daemon::metrics::Submissions::new(&mut registry);
        let shutdown = CancellationToken::new();
        runtime.spawn(shutdown.clone().run_until_cancelled_owned(driver.run()));
        let metrics = daemon::metrics::serve(listener, registry, shutdown.clone());
        runtime.spawn(async {
            if let Err(error) = metrics.await {
                tracing::error!(error = format!("{error:#}"), "metrics are no longer served");
            }
        });
        Ok(Self {
            _shutdown: shutdown.drop_guard(),
            runtime,
            submitter,
            counts,
            traces,
            max_n: config.max_n,
            allowed_origins: config.allowed_origins,
        })
    }

    /// The largest n that is accepted.
    #[getter]
    fn max_n(&self) -> u64 {
        self.max_n.get()
    }

    /// Exports what was traced and not exported yet. Call this at the end of the process.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.traces.flush());
    }

    /// Checks a `POST /fib` and submits its job. The headers say what the body is, which answer its
    /// sender can show, and which page sent it. The job belongs to the trace that `traceparent` names, or else to a new one. Answers within 2
    /// seconds. Other Python threads run meanwhile.
    #[pyo3(signature = (body, *, content_type, accept, host, origin, sec_fetch_site, traceparent))]
    #[allow(
        clippy::too_many_arguments,
        reason = "they are keyword arguments to Python"
    )]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        body: &[u8],
        content_type: Option<&str>,
        accept: Option<&str>,
        host: Option<&str>,
        origin: Option<&str>,
        sec_fetch_site: Option<&str>,
        traceparent: Option<&str>,
    ) -> Answer<'py> {
        let source = Source {
            host,
            origin,
            fetch_site: sec_fetch_site,
        };
        let traceparent = traceparent.and_then(|text| text.parse().ok());
        let (response, traceparent) = py.detach(|| {
            let request = Request::begin(traceparent);
            let traceparent = request.traceparent();
            let response = match self.parse(&source, content_type, body) {
                Ok(submission) => {
                    let job = submission.into_job(JobContext::now(traceparent));
                    let outcome = self.runtime.block_on(self.submitter.submit(&job));
                    Response::to_submission(&job, outcome, accept)
                }
                Err(problem) => problem.into(),
            };
            request.answer(&response);
            (response, traceparent)
        });
        self.counts.count(response.status);
        let (status, mut headers, body) = answer(py, &response);
        headers.push((Request::RESPONSE_HEADER, traceparent.to_string()));
        (status, headers, body)
    }

    /// The problem of a `POST /fib` that is refused before it is read, because of its size.
    fn refuse<'py>(&self, py: Python<'py>, status: u16) -> PyResult<Answer<'py>> {
        let status = parse_status(status)?;
        self.counts.count(status);
        Ok(answer(py, &Problem::of_status(status).into()))
    }
}

impl Submissions {
    fn parse(
        &self,
        source: &Source<'_>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Submission, Problem> {
        self.allowed_origins.check(source)?;
        Submission::parse(content_type, body, self.max_n)
    }
}

/// The problem of a request that is refused because of its method or path.
#[pyfunction]
fn problem(py: Python<'_>, status: u16) -> PyResult<Answer<'_>> {
    Ok(answer(
        py,
        &Problem::of_status(parse_status(status)?).into(),
    ))
}

fn parse_status(status: u16) -> PyResult<StatusCode> {
    StatusCode::from_u16(status).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn answer<'py>(py: Python<'py>, response: &Response) -> Answer<'py> {
    let mut headers = vec![("Content-Type", response.content_type.to_owned())];
    if let Some(seconds) = response.retry_after_s {
        headers.push(("Retry-After", seconds.to_string()));
    }
    let body = PyBytes::new(py, &response.body);
    (response.status.as_u16(), headers, body)
}

#[pymodule]
mod _web {
    #[pymodule_export]
    const BODY_LIMIT: usize = super::BODY_LIMIT;
    #[pymodule_export]
    use super::{Submissions, problem};
}

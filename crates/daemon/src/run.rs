//! The life of a process: logging and traces, the work until a signal, and the last traces.

use tokio_util::sync::CancellationToken;

use crate::{Traces, termination::until_terminated};

/// Runs the future that `work` returns until it ends by itself, or until SIGTERM or SIGINT arrives and cancels
/// the token. Starts logging and the export of traces before, as the service of that name, and exports
/// the last spans after.
///
/// # Errors
///
/// The error of the future, that it took too long to end, or an invalid environment variable.
pub async fn run<F>(
    service: &'static str,
    work: impl FnOnce(CancellationToken) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let traces = Traces::start(service)?;
    let outcome = until_terminated(work).await;
    traces.flush();
    outcome
}

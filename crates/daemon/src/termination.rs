//! Ending when told to, in time.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinError,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// How long a process has to end after SIGTERM or SIGINT, 10 seconds less some room.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(9);

/// Runs what `run` makes until it ends by itself or a SIGTERM or SIGINT comes. The signal cancels
/// the token; what then still runs has 9 seconds.
///
/// # Errors
///
/// What `run` fails with, or that it took too long to end.
pub async fn until_terminated<F>(run: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut terminate = signal(SignalKind::terminate()).context("signal handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signal handler")?;
    let shutdown = CancellationToken::new();
    // A task, because what `block_on` polls itself has a thread beside those of the runtime, and
    // each time that it is woken costs a switch between them.
    let mut running = AbortOnDropHandle::new(tokio::spawn(run(shutdown.clone())));
    tokio::select! {
        outcome = &mut running => return ended(outcome),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("shutting down");
    shutdown.cancel();
    match timeout(SHUTDOWN_LIMIT, running).await {
        Ok(outcome) => ended(outcome),
        Err(_elapsed) => bail!("not ended {SHUTDOWN_LIMIT:?} after the signal"),
    }
}

/// The outcome of a task, whose panic is raised here.
fn ended(outcome: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    match outcome {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(error).context("main task"),
    }
}

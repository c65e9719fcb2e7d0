//! Ending in time when a signal comes.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinError,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// The time a process has to end after SIGTERM or SIGINT: less than the promised 10 seconds,
/// because the last traces are exported after that.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(8);

/// Runs the future that `run` returns until it ends by itself or SIGTERM or SIGINT arrives. The signal
/// cancels the token, and the future then has 8 seconds to end.
///
/// # Errors
///
/// The error of the future, or that it took too long to end.
pub(crate) async fn until_terminated<F>(
    run: impl FnOnce(CancellationToken) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut terminate = signal(SignalKind::terminate()).context("signal handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signal handler")?;
    let shutdown = CancellationToken::new();
    // A task of its own, because `block_on` polls its future on a thread outside the runtime, and
    // each time that it is woken would cost a switch between threads.
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

/// The outcome of a task. If the task panicked, this panics too.
fn ended(outcome: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    match outcome {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(error).context("main task"),
    }
}

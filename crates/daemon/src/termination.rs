//! Ending when told to, in time.

use std::{pin::pin, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

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
    F: Future<Output = anyhow::Result<()>>,
{
    let mut terminate = signal(SignalKind::terminate()).context("signal handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signal handler")?;
    let shutdown = CancellationToken::new();
    let mut running = pin!(run(shutdown.clone()));
    tokio::select! {
        outcome = &mut running => return outcome,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("shutting down");
    shutdown.cancel();
    match timeout(SHUTDOWN_LIMIT, running).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => bail!("not ended {SHUTDOWN_LIMIT:?} after the signal"),
    }
}

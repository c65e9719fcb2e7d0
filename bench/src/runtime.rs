//! The async runtime that measurements run on.

use anyhow::Context;

/// Runs a measurement on this thread only, because it shares the machine with what it measures.
pub(crate) fn on_this_thread<T>(
    measurement: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("async runtime")?
        .block_on(measurement)
}

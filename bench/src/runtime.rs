//! The async runtime that measurements run on.

use anyhow::Context;

/// Runs a measurement on the current thread only. More threads would take cores from what is measured.
pub(crate) fn on_this_thread<T>(
    measurement: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("async runtime")?
        .block_on(measurement)
}

//! How a process ends: 0 done, 1 failed (2, wrong usage, is the argument parser's).

use std::process::ExitCode;

/// The exit code of `outcome`; a failure is logged here and nowhere else.
#[must_use]
pub fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    }
}

//! Exit codes: 0 is success and 1 is failure. (2 is wrong usage; the argument parser returns it.)

use std::process::ExitCode;

/// The exit code for `outcome`. A failure is logged here and nowhere else.
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

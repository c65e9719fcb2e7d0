//! Logs on standard error: for people on a terminal, as JSON elsewhere.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Starts logging. `RUST_LOG` chooses what is logged, `info` by default.
pub fn init() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // Fails only if something else logs already, as a test may.
    if io::stderr().is_terminal() {
        log.try_init().ok();
    } else {
        log.json().flatten_event(true).try_init().ok();
    }
}

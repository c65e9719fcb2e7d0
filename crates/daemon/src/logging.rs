//! Logs on standard error: readable text on a terminal, JSON elsewhere.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Starts logging. `RUST_LOG` selects what is logged; the default is `info`.
pub fn init() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // This fails only if logging was started before, as by another test in the same process.
    if io::stderr().is_terminal() {
        log.try_init().ok();
    } else {
        log.json().flatten_event(true).try_init().ok();
    }
}

//! Logs on standard error: readable text on a terminal, JSON elsewhere.

use std::io::{self, IsTerminal};

use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Starts logging. `RUST_LOG` selects what is logged; the default is `info`.
pub fn init() {
    init_with(None::<tracing_subscriber::layer::Identity>);
}

/// The same, with what else happens to events and spans.
pub(crate) fn init_with(layer: Option<impl Layer<Registry> + Send + Sync>) {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy()
        // A line of the log names its trace as a field, also if the trace is not sampled and has no span.
        .and(filter_fn(|metadata| metadata.is_event()));
    let log = fmt::layer().with_writer(io::stderr);
    let log = if io::stderr().is_terminal() {
        log.with_filter(filter).boxed()
    } else {
        log.json().flatten_event(true).with_filter(filter).boxed()
    };
    // This fails only if logging was started before, as by another test in the same process.
    tracing_subscriber::registry()
        .with(layer)
        .with(log)
        .try_init()
        .ok();
}

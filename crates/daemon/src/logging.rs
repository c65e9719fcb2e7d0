//! Logs on standard error: readable text on a terminal, JSON elsewhere.

use std::io::{self, IsTerminal};

use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, filter_fn},
    fmt,
    layer::{Filter, SubscriberExt},
    util::SubscriberInitExt,
};

/// A layer of the subscriber, which gets all events and spans.
pub(crate) type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging. `RUST_LOG` selects what is logged; the default is `info`.
pub fn init() {
    init_with(None);
}

/// The same, with another layer next to the log.
pub(crate) fn init_with(layer: Option<BoxedLayer>) {
    let selected = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let filter = events(selected);
    let log = fmt::layer().with_writer(io::stderr);
    let log: BoxedLayer = if io::stderr().is_terminal() {
        log.with_filter(filter).boxed()
    } else {
        log.json().flatten_event(true).with_filter(filter).boxed()
    };
    // Not an optional layer: one that is absent would be interested in all spans, so that they would be made.
    let layers: Vec<BoxedLayer> = layer.into_iter().chain([log]).collect();
    // This fails only if logging was started before, as by another test in the same process.
    tracing_subscriber::registry().with(layers).try_init().ok();
}

/// The events of what is selected, without the spans: a line of the log names its trace as a field, also if
/// the trace is not sampled and has no span.
fn events<S>(selected: EnvFilter) -> impl Filter<S> {
    // Without the hint, the events of every level would be made, and most of them thrown away.
    selected.and(filter_fn(|metadata| metadata.is_event()).with_max_level_hint(LevelFilter::TRACE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_logged_is_not_looked_at() {
        for (selected, most) in [
            ("info", LevelFilter::INFO),
            ("queue=debug", LevelFilter::DEBUG),
        ] {
            let filter = events(EnvFilter::new(selected));
            assert_eq!(Filter::<Registry>::max_level_hint(&filter), Some(most));
        }
    }
}

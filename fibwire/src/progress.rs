//! A progress bar on standard error, if that is a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Work that takes less time than this shows no bar.
const SHOWN_AFTER: Duration = Duration::from_millis(300);
/// How many steps a bar has.
const STEPS: u64 = 1000;

/// Shows how far a computation is.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            bar: None,
        }
    }

    /// Shows the share of the work that is done, from 0 to 1.
    pub(crate) fn show(&mut self, fraction: f64) {
        if self.started.elapsed() < SHOWN_AFTER {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {eta} left");
            let bar = ProgressBar::new(STEPS);
            style.map(|style| bar.set_style(style)).ok();
            bar
        });
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "0 to 1000"
        )]
        bar.set_position((fraction * STEPS as f64) as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

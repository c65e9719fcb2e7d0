//! Waiting between attempts, until a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait that the server did not ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// How long to keep trying, and how long to wait in between.
#[derive(Debug)]
pub(super) struct Patience {
    deadline: Instant,
    failures: u32,
}

impl Patience {
    pub(super) fn of_seconds(seconds: u32) -> Self {
        Self {
            deadline: Instant::now() + Duration::from_secs(seconds.into()),
            failures: 0,
        }
    }

    /// The time that is left. Fails once the deadline has passed.
    pub(super) fn left(&self) -> anyhow::Result<Duration> {
        self.deadline
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
            .context("no result in time")
    }

    /// Waits before the next attempt: at least `retry_after`, and longer after each failure in a row,
    /// with jitter so that many clients do not come back at the same moment. Fails at once if the
    /// deadline would pass meanwhile.
    pub(super) fn wait(&mut self, retry_after: Option<Duration>) -> anyhow::Result<()> {
        let longest = FIRST_WAIT
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        let jittered = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        let wait = retry_after.map_or(jittered, |asked| asked.saturating_add(jittered / 2));
        ensure!(wait < self.left()?, "no result in time");
        thread::sleep(wait);
        Ok(())
    }

    /// Starts again from the shortest wait.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

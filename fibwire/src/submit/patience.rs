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
/// The number of failures in a row after which the wait is long enough for a restart of the server.
const FAILURES_OF_A_RESTART: u32 = 3;

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
        let jittered = delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        let wait = retry_after.map_or(jittered, |asked| asked.saturating_add(jittered / 2));
        ensure!(wait < self.left()?, "no result in time");
        thread::sleep(wait);
        Ok(())
    }

    /// The server is going away, and many clients with it. The next wait is as if some attempts had failed
    /// already, so that they do not all come back as soon as there is another server.
    pub(super) fn server_left(&mut self) {
        self.failures = self.failures.max(FAILURES_OF_A_RESTART);
    }

    /// Starts again from the shortest wait.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// The wait after `failures` failed attempts, in the upper half of its bound.
fn delay(failures: u32) -> Duration {
    let longest = FIRST_WAIT
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(LONGEST_WAIT);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_failed_together_do_not_come_back_together() {
        for (failures, bound_ms) in [(0, 250), (3, 2000), (4, 4000), (u32::MAX, 4000)] {
            let bound = Duration::from_millis(bound_ms);
            let mut waits: Vec<_> = (0..1000).map(|_| delay(failures)).collect();
            waits.sort_unstable();
            assert!(waits[0] >= bound / 2 && waits[999] <= bound, "{waits:?}");
            // A tenth of the clients comes back in about a tenth of the time.
            for tenth in waits.chunks(100) {
                let took = tenth[99] - tenth[0];
                assert!(took >= bound / 40, "{tenth:?}");
            }
        }
    }
}

//! Waiting longer after each failure, with jitter, so that many clients that failed at the same
//! moment do not come back at the same moment.

use std::time::Duration;

const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// The waits between the attempts at one task. Each is drawn at random between half of a bound and all of it.
/// The bound starts at 20 ms and doubles up to half a second.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Waits before the next attempt.
    pub(crate) async fn wait(&mut self) {
        let wait = delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        #[allow(clippy::disallowed_methods, reason = "this is the one back-off")]
        tokio::time::sleep(wait).await;
    }

    /// Waits before the next connection is used, if the work over the last one failed.
    pub(crate) async fn after<E: std::fmt::Display>(&mut self, failure: Option<E>) {
        match failure {
            None => self.reset(),
            Some(error) => {
                tracing::warn!(%error, "cannot use the queue, trying again");
                self.wait().await;
            }
        }
    }

    /// Starts again from the shortest wait.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The wait after `failures` failed attempts.
pub(crate) fn delay(failures: u32) -> Duration {
    let longest = FIRST_WAIT
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(LONGEST_WAIT);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_in_the_upper_half_of_its_bound() {
        for (failures, bound_ms) in [(0, 20), (1, 40), (4, 320), (5, 500), (u32::MAX, 500)] {
            let bound = Duration::from_millis(bound_ms);
            let wait = delay(failures);
            assert!(bound / 2 <= wait && wait <= bound, "{failures}: {wait:?}");
        }
    }
}

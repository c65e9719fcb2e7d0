//! Waiting longer after each failure, with jitter so that many who failed together do not come
//! back together.

use std::time::Duration;

const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// The waits between the attempts of one task. They start at 20 ms, double up to half a second,
/// and each is drawn from its upper half.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Waits as long as the failures so far call for.
    pub(crate) async fn wait(&mut self) {
        let wait = delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        #[allow(clippy::disallowed_methods, reason = "this is the one back-off")]
        tokio::time::sleep(wait).await;
    }

    /// Starts again from the shortest wait.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The wait after so many failures.
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

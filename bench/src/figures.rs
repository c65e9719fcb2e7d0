//! How times are collected, and the quantiles of them that a report contains.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Times up to this one can be recorded.
const LONGEST: Duration = Duration::from_secs(600);
/// How many decimal digits of a time are kept.
const SIGNIFICANT_DIGITS: u8 = 3;

/// How long things took.
#[derive(Debug)]
pub(crate) struct Times(Histogram<u64>);

/// The distribution of some times, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Quantiles {
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    max_us: f64,
}

impl Times {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, nanos(LONGEST), SIGNIFICANT_DIGITS)
            .expect("the bounds are valid constants");
        Self(histogram)
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.0.saturating_record(nanos(time));
    }

    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let at = |quantile| micros(Duration::from_nanos(self.0.value_at_quantile(quantile)));
        Quantiles {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: at(1.0),
        }
    }
}

/// A time in microseconds, to the nanosecond.
pub(crate) fn micros(time: Duration) -> f64 {
    #[allow(
        clippy::cast_precision_loss,
        reason = "exact up to 2^53 ns, which is over a hundred days"
    )]
    let nanos = nanos(time) as f64;
    nanos / 1e3
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "2^64 ns are over five hundred years"
)]
fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_recorded_times() {
        let mut times = Times::new();
        for ms in 1..=1000 {
            times.record(Duration::from_millis(ms));
        }
        let quantiles = times.quantiles();
        for (measured_us, ms) in [
            (quantiles.p50_us, 500.0),
            (quantiles.p90_us, 900.0),
            (quantiles.p99_us, 990.0),
            (quantiles.p99_9_us, 999.0),
            (quantiles.max_us, 1000.0),
        ] {
            assert!((measured_us / 1e3 / ms - 1.0).abs() < 2e-3, "{quantiles:?}");
        }
        assert_eq!(times.count(), 1000);
    }
}

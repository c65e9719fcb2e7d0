//! Times and their distribution, as they are printed.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest time that is told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(600);
/// How many digits of a time are kept.
const SIGNIFICANT_DIGITS: u8 = 3;
/// The quantiles of a table, and what they are called.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

/// How long things took.
#[derive(Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Self {
        match Histogram::new_with_bounds(1, nanos(LONGEST), SIGNIFICANT_DIGITS) {
            Ok(histogram) => Self(histogram),
            Err(error) => unreachable!("constant bounds: {error}"),
        }
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

    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }

    /// The name and the time of each quantile.
    pub(crate) fn quantiles(&self) -> [(&'static str, String); 5] {
        QUANTILES.map(|(name, at)| (name, time(self.quantile(at))))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A time with three digits and the unit that suits it.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = if seconds >= 1.0 {
        (seconds, "s")
    } else if seconds >= 1e-3 {
        (seconds * 1e3, "ms")
    } else {
        (seconds * 1e6, "µs")
    };
    format!("{} {unit}", significant(value))
}

/// A number with three digits, or all of those before the point.
pub(crate) fn significant(value: f64) -> String {
    let decimals = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}")
}

/// A row of a Markdown table.
pub(crate) fn row(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<_> = cells.into_iter().collect();
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        for (nanos, text) in [
            (950, "0.95 µs"),
            (12_340, "12.3 µs"),
            (234_000, "234 µs"),
            (1_400_000, "1.40 ms"),
            (2_500_000_000, "2.50 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut times = Times::new();
        for ms in 1..=1000 {
            times.record(Duration::from_millis(ms));
        }
        let close = |time: Duration, ms: f64| (time.as_secs_f64() * 1e3 / ms - 1.0).abs() < 2e-3;
        assert!(close(times.quantile(0.5), 500.0) && close(times.quantile(0.99), 990.0));
        assert!(close(times.quantile(1.0), 1000.0));
        assert_eq!(times.count(), 1000);
    }
}

//! Tests what the progress callback gets, and what happens when it returns `Break`. The values are
//! tested in `values.rs`.

use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use fibonacci::{Decimal, Error, Options};

const N: u64 = 20_000_000;

fn compute(
    n: u64,
    threads: usize,
    callback: impl FnMut(f64) -> ControlFlow<()>,
) -> Result<Decimal, Error> {
    Options::new()
        .threads(NonZeroUsize::new(threads).expect("at least one thread"))
        .on_progress(callback)
        .compute(n)
}

/// The fractions that the callback got, and when.
fn reports(threads: usize) -> Vec<(f64, Duration)> {
    let start = Instant::now();
    let mut reports = Vec::new();
    compute(N, threads, |fraction| {
        reports.push((fraction, start.elapsed()));
        ControlFlow::Continue(())
    })
    .unwrap_or_else(|error| panic!("F({N}): {error}"));
    reports
}

#[test]
fn progress_rises_to_one() {
    for threads in [1, 2, 5] {
        let fractions: Vec<_> = reports(threads).iter().map(|report| report.0).collect();
        assert!(fractions.is_sorted(), "{threads} threads: {fractions:?}");
        assert_eq!(fractions.last(), Some(&1.0), "{threads} threads");
    }
}

#[test]
fn progress_comes_in_small_steps_and_follows_the_clock() {
    // Other work on the machine disturbs the timing, so the least disturbed of some runs counts.
    let least = (0..5)
        .map(|_| {
            let reports = reports(1);
            assert!(reports[0].0 < 0.02, "{reports:?}");
            for pair in reports.windows(2) {
                assert!(pair[1].0 - pair[0].0 < 0.02, "{pair:?}");
            }
            let whole = reports[reports.len() - 1].1.as_secs_f64();
            reports
                .iter()
                .map(|(fraction, elapsed)| (elapsed.as_secs_f64() / whole - fraction).abs())
                .fold(0.0, f64::max)
        })
        .fold(f64::MAX, f64::min);
    assert!(least < 0.15, "off by {least} of the whole");
}

#[test]
fn a_break_ends_the_computation_at_once_at_any_stage() {
    for threads in [1, 2] {
        for limit in [0.0, 0.3, 0.6, 0.9, 0.99] {
            let late = (0..3).map(|_| lateness(threads, limit)).min().unwrap();
            assert!(late < Duration::from_millis(10), "{late:?} after {limit}");
        }
    }
}

/// How long the computation goes on after a break at this fraction.
fn lateness(threads: usize, limit: f64) -> Duration {
    let mut broken = None;
    let result = compute(N, threads, |fraction| {
        assert!(broken.is_none(), "called again after a break");
        if fraction < limit {
            return ControlFlow::Continue(());
        }
        broken = Some(Instant::now());
        ControlFlow::Break(())
    });
    assert_eq!(result, Err(Error::Cancelled));
    broken.map_or(Duration::MAX, |broken| broken.elapsed())
}

#[test]
fn a_small_number_can_be_cancelled_too() {
    for n in [0, 100, 1000, 100_000] {
        let mut calls = 0;
        let error = compute(n, 1, |_| {
            calls += 1;
            ControlFlow::Break(())
        })
        .unwrap_err();
        assert_eq!((error, calls), (Error::Cancelled, 1), "F({n})");
    }
}

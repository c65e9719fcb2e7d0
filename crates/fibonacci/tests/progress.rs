//! What the callback of `compute` is told, and what its answer does.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use fibonacci::{Error, compute};

const N: u64 = 20_000_000;

fn reports(threads: usize) -> Vec<(f64, Duration)> {
    let start = Instant::now();
    let mut reports = Vec::new();
    compute(N, threads, &mut |fraction| {
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
    // The machine does other things, too: the run that was disturbed least is looked at.
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
fn a_break_ends_the_work_at_once_wherever_it_is() {
    for threads in [1, 2] {
        for limit in [0.0, 0.3, 0.6, 0.9, 0.99] {
            let late = (0..3).map(|_| lateness(threads, limit)).min().unwrap();
            assert!(late < Duration::from_millis(10), "{late:?} after {limit}");
        }
    }
}

/// How long after a break at this fraction the work ended.
fn lateness(threads: usize, limit: f64) -> Duration {
    let mut broken = None;
    let result = compute(N, threads, &mut |fraction| {
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
fn a_short_number_is_cancelled_too() {
    for n in [0, 100, 1000, 100_000] {
        let mut calls = 0;
        let error = compute(n, 1, &mut |_| {
            calls += 1;
            ControlFlow::Break(())
        })
        .unwrap_err();
        assert_eq!((error, calls), (Error::Cancelled, 1), "F({n})");
    }
}

//! A simulation is worth its time if it repeats itself exactly, and if it finds bugs.

use simulation::{Bug, run};
use strum::IntoEnumIterator;

/// Within how many seeds a planted bug has to be found.
const SEEDS: u64 = 10_000;

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..100 {
        let first = run(seed, None, true);
        assert!(!first.trace.is_empty());
        let second = run(seed, None, true);
        let difference = first
            .trace
            .lines()
            .zip(second.trace.lines())
            .find(|(first, second)| first != second);
        assert!(first == second, "seed {seed}: {difference:?}");
    }
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(run(1, None, true).trace, run(2, None, true).trace);
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::iter() {
        let found = (0..SEEDS).find(|seed| !run(*seed, Some(bug), false).findings.is_empty());
        assert!(found.is_some(), "{bug:?} in {SEEDS} seeds");
    }
}

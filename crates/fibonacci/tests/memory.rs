//! Compares `memory_needed` with the peak memory of a process that only computes one number. Linux
//! only, since the peak comes from `/proc`.
#![cfg(target_os = "linux")]

use std::{env, fs, num::NonZeroUsize, process::Command};

use fibonacci::{Options, memory_needed};

/// The environment variable that tells the child process N and the number of threads.
const CHILD: &str = "FIBONACCI_MEMORY_OF";

#[test]
fn memory_needed_is_within_a_quarter_of_the_peak() {
    if let Ok(work) = env::var(CHILD) {
        let (n, threads) = work.split_once(' ').unwrap();
        let threads: NonZeroUsize = threads.parse().unwrap();
        let number = Options::new().threads(threads).compute(n.parse().unwrap());
        number.unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        println!("peak: {}", peak.unwrap().trim());
        return;
    }
    for (n, threads) in [
        (10_000_000, 1),
        (10_000_001, 1),
        (23_456_789, 2),
        (33_000_000, 1),
        (50_000_000, 4),
        (100_000_000, 1),
        (100_000_000, 2),
    ] {
        // Each in a process of its own, since the peak of a process never falls.
        let child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "memory_needed_is_within_a_quarter_of_the_peak",
                "--nocapture",
            ])
            .env(CHILD, format!("{n} {threads}"))
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        let peak: u64 = output
            .lines()
            .find_map(|line| line.strip_prefix("peak: ")?.strip_suffix(" kB"))
            .unwrap_or_else(|| panic!("no peak for {n} with {threads} threads: {output}"))
            .parse()
            .unwrap();
        let ratio = memory_needed(n) as f64 / (peak * 1024) as f64;
        assert!(
            (0.8..1.25).contains(&ratio),
            "{ratio} of the peak of {peak} KiB for {n} with {threads} threads"
        );
        assert!(peak < 400 * 1000, "{peak} KiB for {n}");
    }
}

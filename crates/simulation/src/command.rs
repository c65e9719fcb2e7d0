//! The command that runs many seeds, or replays one.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::Bug;

/// The number of failed seeds after which to stop.
const MAX_FAILURES: u64 = 10;

/// Simulates fibwire, each time as a seed decides.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Replay one seed and print its trace.
    #[arg(long, conflicts_with_all = ["seeds", "seconds"])]
    pub seed: Option<u64>,
    /// How many seeds to run.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    pub seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// How long to run, in seconds.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// How many threads to use. The default is the number of cores.
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
    /// A bug to plant.
    #[arg(long)]
    pub bug: Option<Bug>,
}

/// Runs the command. It fails if there is a finding.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let failures = match args.seed {
        Some(seed) => replay(seed, args.bug),
        None => search(args),
    };
    match failures {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            writeln!(io::stderr(), "simulation: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn replay(seed: u64, bug: Option<Bug>) -> io::Result<u64> {
    let outcome = crate::run(seed, bug, true);
    let mut out = io::stdout().lock();
    out.write_all(outcome.trace.as_bytes())?;
    for finding in &outcome.findings {
        writeln!(out, "seed {seed}: {finding}")?;
    }
    Ok(u64::from(!outcome.findings.is_empty()))
}

fn search(args: &Args) -> io::Result<u64> {
    let start = Instant::now();
    let limit = args.seconds.map(Duration::from_secs);
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let failures = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let threads = args
        .threads
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= args.seeds || limit.is_some_and(|limit| start.elapsed() >= limit) {
                        return;
                    }
                    let seed = args.from.wrapping_add(index);
                    let outcome = crate::run(seed, args.bug, false);
                    done.fetch_add(1, Ordering::Relaxed);
                    if outcome.findings.is_empty() {
                        continue;
                    }
                    let mut out = io::stdout().lock();
                    for finding in &outcome.findings {
                        writeln!(out, "seed {seed}: {finding}").ok();
                    }
                    if failures.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_FAILURES {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (done, failures) = (done.into_inner(), failures.into_inner());
    let seconds = start.elapsed().as_secs_f64();
    let rate = done as f64 / seconds;
    writeln!(
        io::stdout(),
        "{done} seeds from {} in {seconds:.0} s, {rate:.0} a second: {failures} with findings",
        args.from
    )?;
    Ok(failures)
}

//! Compares stores for the embedded queue: the same jobs and events, written in commits that are
//! synced, by each of them. It measures the stores alone, without the queue.
//!
//! `cargo run --release --package stores -- DIR`, with a directory on the disk to
//! measure. ADR 17 has the figures that decided.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints a table, and for which any error is the end"
)]

mod fjall;
mod redb;
mod sqlite;
mod store;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use store::{Commit, Store};

/// A job or a short event, in bytes.
const RECORD: usize = 220;
/// A part of a long result, in bytes.
const PART: usize = 512 * 1024;
/// How many parts F(100 000 000) has.
const PARTS: u64 = 40;
/// How many short events are kept; each commit removes as many from the front as it adds.
const KEPT: u64 = 50_000;
/// How many events are read on from a place.
const READ: usize = 10_000;

fn main() {
    let directory = PathBuf::from(std::env::args().nth(1).expect("a directory"));
    println!(
        "| store | 1 in a commit, p50 ms | 64, p50 ms | 64, jobs/s | CPU µs/job | parts, MB/s | reading, µs/event | disk, MB | open, ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for _ in 0..3 {
        measure::<sqlite::Sqlite>(&directory);
        measure::<fjall::Fjall>(&directory);
        measure::<redb::Redb>(&directory);
    }
}

fn measure<S: Store>(parent: &Path) {
    let directory = parent.join(format!("bench-store-{}", S::NAME));
    fs::remove_dir_all(&directory).ok();
    fs::create_dir_all(&directory).unwrap();
    let mut log = Log::new(S::open(&directory));
    log.jobs(64, 1500);
    let one = median(log.jobs(1, 2000));
    let (cpu, start) = (cpu_time(), Instant::now());
    let commits = 2000;
    let times = log.jobs(64, commits);
    let (cpu, elapsed) = (cpu_time() - cpu, start.elapsed());
    let jobs = f64::from(commits) * 64.0;
    let many = median(times);
    let read = log.read();
    let start = Instant::now();
    for _ in 0..5 {
        log.parts();
    }
    let parts = start.elapsed();
    let parts_mb = 5.0 * PARTS as f64 * PART as f64 / 1e6;
    drop(log);
    let disk = disk_bytes(&directory);
    let start = Instant::now();
    let store = S::open(&directory);
    let open = start.elapsed();
    drop(store);
    println!(
        "| {} | {:.2} | {:.2} | {:.0} | {:.1} | {:.0} | {:.2} | {:.0} | {:.1} |",
        S::NAME,
        one.as_secs_f64() * 1e3,
        many.as_secs_f64() * 1e3,
        jobs / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / jobs,
        parts_mb / parts.as_secs_f64(),
        read.as_secs_f64() * 1e6 / READ as f64,
        disk as f64 / 1e6,
        open.as_secs_f64() * 1e3,
    );
    fs::remove_dir_all(&directory).unwrap();
}

/// Jobs and events as the queue writes them.
struct Log<S> {
    store: S,
    job: u64,
    seq: u64,
    underway: Vec<u64>,
}

impl<S: Store> Log<S> {
    fn new(store: S) -> Self {
        Self {
            store,
            job: 0,
            seq: 0,
            underway: Vec::new(),
        }
    }

    /// Makes commits in which that many jobs arrive while the ones before them end. Returns how long
    /// each took.
    fn jobs(&mut self, together: u64, commits: u32) -> Vec<Duration> {
        (0..commits)
            .map(|_| {
                let done = std::mem::take(&mut self.underway);
                let events = done.iter().map(|_| self.event(RECORD)).collect();
                let jobs = (0..together).map(|_| self.new_job()).collect();
                self.commit(Commit {
                    jobs,
                    done,
                    events,
                    first: 0,
                })
            })
            .collect()
    }

    /// Writes the parts of one long result, a commit each.
    fn parts(&mut self) {
        for _ in 0..PARTS {
            let events = vec![self.event(PART)];
            self.commit(Commit {
                events,
                ..Commit::default()
            });
        }
    }

    fn read(&self) -> Duration {
        let start = Instant::now();
        let bytes = self.store.read(self.seq - KEPT / 2, READ);
        let elapsed = start.elapsed();
        assert_eq!(bytes, READ * RECORD, "all events are there");
        elapsed
    }

    fn commit(&mut self, mut commit: Commit) -> Duration {
        commit.first = self.seq.saturating_sub(KEPT);
        let start = Instant::now();
        self.store.commit(&commit);
        start.elapsed()
    }

    fn event(&mut self, bytes: usize) -> (u64, Vec<u8>) {
        self.seq += 1;
        (self.seq, noise(bytes))
    }

    fn new_job(&mut self) -> (u64, Vec<u8>) {
        self.job += 1;
        self.underway.push(self.job);
        (self.job, noise(RECORD))
    }
}

/// Digits, which are what results consist of.
fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| fastrand::u8(b'0'..=b'9')).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap()
}

/// The blocks that all files below `directory` take.
fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let metadata = entry.as_ref().unwrap().metadata().unwrap();
            if metadata.is_dir() {
                disk_bytes(&entry.unwrap().path())
            } else {
                metadata.blocks() * 512
            }
        })
        .sum()
}

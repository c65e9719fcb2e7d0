//! `bench fsync DIR`: how long one write to disk takes, which bounds the speed of a durable queue.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context;
use serde::Serialize;

use crate::figures::{Quantiles, Times};

/// The block that is written before each sync.
const BLOCK: [u8; 4096] = [0x5a; 4096];
/// The name of the temporary file.
const FILE: &str = "bench-fsync.tmp";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A directory on the disk to measure.
    dir: PathBuf,
    /// How many times to write.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    writes: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    writes: u64,
    #[serde(flatten)]
    times: Quantiles,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let path = args.dir.join(FILE);
    let times = measure(&path, args.writes);
    std::fs::remove_file(&path).ok();
    let times = times.with_context(|| path.display().to_string())?;
    Ok(Report {
        writes: times.count(),
        times: times.quantiles(),
    })
}

/// Appends and syncs, as a queue does.
fn measure(path: &Path, writes: u32) -> std::io::Result<Times> {
    let mut file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .open(path)?;
    let mut times = Times::new();
    for _ in 0..writes {
        let start = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_all()?;
        times.record(start.elapsed());
    }
    Ok(times)
}

//! `bench fsync DIR`: what a durable queue cannot be faster than.

use std::{fs::OpenOptions, io::Write, path::PathBuf, time::Instant};

use anyhow::Context;

use crate::figures::{self, Times};

/// How much is written at once, in bytes.
const BLOCK: [u8; 4096] = [0x5a; 4096];
/// What the file is called while it is there.
const FILE: &str = "bench-fsync.tmp";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory on the disk in question.
    dir: PathBuf,
    /// How many times to write.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    writes: u32,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> anyhow::Result<()> {
    let path = args.dir.join(FILE);
    let times = measure(&path, args.writes);
    std::fs::remove_file(&path).ok();
    let times = times.with_context(|| path.display().to_string())?;
    writeln!(
        out,
        "p50 {}, p99 {}",
        figures::time(times.quantile(0.5)),
        figures::time(times.quantile(0.99))
    )?;
    Ok(())
}

/// Appends and syncs, as a queue does.
fn measure(path: &std::path::Path, writes: u32) -> std::io::Result<Times> {
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

//! `fibwire compute N`: computes a number without a server.

use std::{num::NonZeroUsize, ops::ControlFlow, path::PathBuf, thread};

use anyhow::Context;

use crate::{output, progress::Progress};

/// How many digits are formatted at a time.
const PIECE_DIGITS: usize = 512 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which Fibonacci number: F(0) = 0, F(1) = 1.
    n: u64,
    /// Write the digits to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The most threads to use. The default is the number of cores.
    #[arg(long, env = "THREADS", value_name = "THREADS")]
    threads: Option<NonZeroUsize>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let threads = args
        .threads
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let mut progress = Progress::new();
    let number = fibonacci::Options::new()
        .threads(threads)
        .on_progress(|fraction| {
            progress.show(fraction);
            ControlFlow::Continue(())
        })
        .compute(args.n)
        .with_context(|| format!("F({})", args.n))?;
    drop(progress);
    output::write(args.out.as_deref(), number.pieces(PIECE_DIGITS))
}

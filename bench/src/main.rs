//! The benchmarks' binary. What it does is in the library beside it.

use std::{io::stdout, process::ExitCode};

use clap::Parser;

fn main() -> ExitCode {
    match bench::run(bench::Args::parse(), &mut stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

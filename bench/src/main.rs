//! The `bench` binary: parses the arguments and prints the error. The rest is in the library.

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

//! The standalone binary. What it does is in the library beside it.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match fibwire::run(fibwire::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fibwire: {error:#}");
            ExitCode::FAILURE
        }
    }
}

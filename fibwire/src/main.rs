//! The standalone binary. Everything but `main` is in the library.

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

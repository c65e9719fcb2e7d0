//! Runs simulations until the time is up or all seeds are done.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    simulation::command::run(&simulation::command::Args::parse())
}

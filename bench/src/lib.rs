//! Measures a running fibwire from outside, over HTTP and WebSocket alone: a module per command,
//! and below them what they share. It takes nothing from the crates that it measures.

mod fsync;
mod idle;
mod large;
mod load;

mod expected;
mod figures;
mod ledger;
mod message;
mod poster;
mod process;
mod target;

use std::io::Write;

use anyhow::Context;
use clap::{Parser, Subcommand};

pub use ledger::{Fault, Faults};

/// Measures a running fibwire.
///
/// Every value is checked and every job accounted for. Exit codes: 0 measured, 1 something was
/// wrong, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep so many jobs in flight and measure from POST to result
    Load(load::Args),
    /// Open many sockets and see what they cost the server in memory
    Idle(idle::Args),
    /// Ask for one long number and measure until all of its digits are here
    Large(large::Args),
    /// Measure what this machine needs to put 4 KiB on disk
    Fsync(fsync::Args),
}

/// Does what `args` say and writes what was measured to `out`.
///
/// # Errors
///
/// What went wrong, also when only a value was or an answer is missing.
pub fn run(args: Args, out: &mut impl Write) -> anyhow::Result<()> {
    match args.command {
        Command::Load(args) => alone(load::run(args, out)),
        Command::Idle(args) => alone(idle::run(args, out)),
        Command::Large(args) => alone(large::run(args, out)),
        Command::Fsync(args) => fsync::run(&args, out),
    }
}

/// Runs a measurement on this thread only, since it shares the machine with what it measures.
fn alone<T>(measurement: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("async runtime")?
        .block_on(measurement)
}

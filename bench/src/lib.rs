//! Measures a running fibwire from outside, over HTTP and WebSocket only. There is one module per
//! command, and the modules below those are what the commands have in common. It uses none of the
//! crates that it measures, so it cannot repeat their mistakes.

mod audit;
mod crowd;
mod fsync;
mod idle;
mod large;
mod load;
mod recover;

mod disk;
mod expected;
mod figures;
mod ledger;
mod message;
mod poster;
mod process;
mod runtime;
mod target;
mod trip;

use std::io::Write;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde::Serialize;

pub use audit::{Finding, Findings};
pub use ledger::{Fault, Faults};
use runtime::on_this_thread;

/// Measures a running fibwire.
///
/// Prints one JSON object, whose keys name their units (`audit` and `crowd`: one per line, the last of which is the
/// report). Every value is checked and every job accounted for. Exit codes: 0 measured, 1 something went wrong, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep a number of jobs in flight and measure each from POST to result
    Load(load::Args),
    /// Open many sockets and measure how much memory they take in the server
    Idle(idle::Args),
    /// Request one long number and measure the time until all of its digits have arrived
    Large(large::Args),
    /// Post jobs at a fixed rate, whatever happens to the server, and account for each
    Audit(audit::Args),
    /// Keep many sockets open, whatever happens to the server, and compare what they received
    Crowd(crowd::Args),
    /// Measure how long it takes until a new client gets a result
    Recover(recover::Args),
    /// Measure how long this machine takes to write 4 KiB to disk and sync
    Fsync(fsync::Args),
}

/// Runs the command and writes its figures to `out`, as one JSON object. An audit and a crowd write several.
///
/// # Errors
///
/// When something could not be measured, or a job did not end in exactly one right result. No figures
/// have been written to `out` then, unless by an audit, whose report says what it found.
pub fn run(args: Args, out: &mut impl Write) -> anyhow::Result<()> {
    match args.command {
        Command::Load(args) => write(&on_this_thread(load::run(args))?, out),
        Command::Idle(args) => write(&on_this_thread(idle::run(args))?, out),
        Command::Large(args) => write(&on_this_thread(large::run(args))?, out),
        Command::Audit(args) => on_this_thread(audit::run(args, out)),
        Command::Crowd(args) => on_this_thread(crowd::run(args, out)),
        Command::Recover(args) => write(&on_this_thread(recover::run(args))?, out),
        Command::Fsync(args) => write(&fsync::run(&args)?, out),
    }
}

fn write(report: &impl Serialize, out: &mut impl Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report).context("standard output")?;
    writeln!(out).context("standard output")
}

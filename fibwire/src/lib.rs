//! The standalone binary: the whole of fibwire in one process, and commands that compute a number
//! without a server or ask a running system for one.

mod compute;
mod inspect;
mod output;
mod progress;
mod serve;
mod site;
mod submit;

use std::io;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Fibonacci numbers over a queue and a WebSocket, in one process.
///
/// Without a command it serves the page. An accepted job is on disk, and after a restart jobs and the
/// results of the last ten minutes are there again.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compute F(N) without a server and print its decimal digits
    Compute(compute::Args),
    /// Ask a running fibwire for F(N) and print its decimal digits
    Submit(submit::Args),
    /// Say what is in the directory of a server that is not running
    Inspect(inspect::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Runs the command that `args` name.
///
/// # Errors
///
/// The error of the command, as a chain of causes.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        None => serve::run(args.serve),
        Some(Command::Compute(args)) => compute::run(&args),
        Some(Command::Submit(args)) => submit::run(&args),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Args::command(), "fibwire", &mut io::stdout());
            Ok(())
        }
    }
}

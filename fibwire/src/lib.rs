//! The whole of fibwire in one process: the page, `POST /fib`, `/ws` and the calculator over a
//! queue in memory; and commands that compute a number here or ask a running system for one.

mod compute;
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
/// Without a command it serves the page, and jobs die with the process.
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
    /// Work out F(N) here and print its decimal digits
    Compute(compute::Args),
    /// Have a running fibwire work out F(N) and print its decimal digits
    Submit(submit::Args),
    /// Print a script that completes this program's arguments in a shell
    Completions {
        /// The shell to complete in.
        shell: Shell,
    },
}

/// Does what `args` say.
///
/// # Errors
///
/// What went wrong, as a chain of causes.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        None => serve::run(args.serve),
        Some(Command::Compute(args)) => compute::run(&args),
        Some(Command::Submit(args)) => submit::run(&args),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Args::command(), "fibwire", &mut io::stdout());
            Ok(())
        }
    }
}

//! The calculator daemon, and its own health check.

use std::process::ExitCode;

use calculator::{Args, Command};
use clap::Parser;

// One thread waits for the queue and computes small numbers. Others are computed on threads of their own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    daemon::exit_code(match args.command {
        Some(Command::Healthcheck) => {
            daemon::init_logging();
            daemon::health::probe(args.health_listen)
        }
        None => daemon::run("calculator", |shutdown| calculator::serve(args, shutdown)).await,
    })
}

//! The websocket server, and its own health check.

use std::process::ExitCode;

use clap::Parser;
use websocket::{Args, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    daemon::exit_code(match args.command {
        Some(Command::Healthcheck) => {
            daemon::init_logging();
            daemon::health::probe(args.listen)
        }
        None => daemon::run("websocket", |shutdown| websocket::serve(args, shutdown)).await,
    })
}

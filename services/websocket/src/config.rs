//! What can be set.

use std::net::SocketAddr;

use pipeline::JetStreamOptions;

use crate::origin::Origin;

/// Sends the results of jobs to browsers as they come.
#[derive(Debug, clap::Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Args {
    /// What to do instead of being the server.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where to listen.
    #[arg(
        long,
        env = "LISTEN",
        value_name = "LISTEN",
        default_value = "127.0.0.1:8000"
    )]
    pub listen: SocketAddr,
    /// The queue.
    #[command(flatten)]
    pub queue: JetStreamOptions,
    /// Whom to serve.
    #[command(flatten)]
    pub limits: Limits,
}

/// What the binary does besides its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// Ask the server on this machine whether it is ready.
    Healthcheck,
}

/// Whom a websocket server serves.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Limits {
    /// Origins of other pages that may open a socket, as in `https://example.org`, separated by
    /// commas. A page from the server's own host always may.
    #[arg(
        long,
        env = "ALLOWED_ORIGINS",
        value_name = "ALLOWED_ORIGINS",
        value_delimiter = ','
    )]
    pub allowed_origins: Vec<Origin>,
    /// The most sockets at a time.
    #[arg(
        long,
        env = "MAX_SOCKETS",
        value_name = "MAX_SOCKETS",
        default_value_t = 20_000
    )]
    pub max_sockets: usize,
}

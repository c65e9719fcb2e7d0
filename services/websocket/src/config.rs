//! Flags and environment variables of the websocket server.

use std::net::SocketAddr;

use protocol::Origins;
use queue::JetStreamOptions;

/// Sends the results of jobs to browsers as they arrive.
#[derive(Debug, clap::Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Args {
    /// The task to do instead of running the server.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Address to listen on.
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
    /// Which sockets are accepted, and how they end.
    #[command(flatten)]
    pub config: Config,
    /// The address at which metrics are served.
    #[command(flatten)]
    pub metrics: daemon::metrics::Options,
}

/// The tasks of the binary besides running the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// Ask the server on this machine whether it is ready.
    Healthcheck,
}

/// Which sockets are accepted, and how they end.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Origins of other sites whose pages may open a socket or an event stream, as in
    /// `https://example.org`, separated by commas. A page from the server's own host always may.
    #[arg(
        long,
        env = "ALLOWED_ORIGINS",
        value_name = "ALLOWED_ORIGINS",
        default_value = ""
    )]
    pub allowed_origins: Origins,
    /// How many sockets and event streams together may be open at a time.
    #[arg(
        long,
        env = "MAX_SOCKETS",
        value_name = "MAX_SOCKETS",
        default_value_t = 20_000
    )]
    pub max_sockets: usize,
    /// Over how many seconds, up to 6, a server that shuts down sends its clients away, so that they do not
    /// all come back at once. If there are only a few clients, it takes less time.
    #[arg(
        long = "drain",
        env = "DRAIN",
        value_name = "DRAIN",
        default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(..=6)
    )]
    pub drain_s: u64,
}

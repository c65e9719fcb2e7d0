//! Flags and environment variables of the calculator.

use std::{net::SocketAddr, num::NonZeroUsize, thread};

use queue::JetStreamOptions;

/// Computes the Fibonacci numbers that jobs from the queue ask for.
#[derive(Debug, clap::Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Args {
    /// The task to do instead of running the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Address that answers health checks.
    #[arg(
        long,
        env = "HEALTH_LISTEN",
        value_name = "HEALTH_LISTEN",
        default_value = "127.0.0.1:8081"
    )]
    pub health_listen: SocketAddr,
    /// The queue.
    #[command(flatten)]
    pub queue: JetStreamOptions,
    /// How jobs are computed.
    #[command(flatten)]
    pub config: Config,
    /// The address at which metrics are served.
    #[command(flatten)]
    pub metrics: daemon::metrics::Options,
}

/// The tasks of the binary besides running the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// Ask the daemon on this machine whether it is ready.
    Healthcheck,
}

/// How jobs are computed.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub struct Config {
    /// How many small jobs to compute at once, and how many threads a large job may use. The default
    /// is the number of cores.
    #[arg(long, env = "THREADS", value_name = "THREADS", default_value_t = cores())]
    pub threads: NonZeroUsize,
    /// The most memory in MiB that one number may need.
    #[arg(
        long,
        env = "MEMORY_LIMIT_MIB",
        value_name = "MEMORY_LIMIT_MIB",
        default_value_t = 1024
    )]
    pub memory_limit_mib: u64,
}

fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

//! The default command: the whole system in this process.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use daemon::metrics::Submissions;
use protocol::{Hosts, MaxN};
use queue::Roles;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

use crate::site;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Address to listen on.
    #[arg(
        long,
        env = "LISTEN",
        value_name = "LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    listen: SocketAddr,
    /// Directory that jobs and results are kept in. It is created if it does not exist.
    #[arg(
        long,
        env = "DATA",
        value_name = "DIR",
        default_value = "./fibwire-data"
    )]
    data: PathBuf,
    /// Keep jobs and results in memory, so that they are gone when the process ends. DATA is not used.
    #[arg(long)]
    in_memory: bool,
    /// The largest N that is accepted, up to 1000000000.
    #[arg(long, env = "MAX_N", value_name = "MAX_N", default_value_t)]
    max_n: MaxN,
    /// The hosts that requests may be for, without ports, separated by commas. The default is
    /// localhost, 127.0.0.1, [::1] and the address to listen on.
    #[arg(long, env = "ALLOWED_HOSTS", value_name = "ALLOWED_HOSTS")]
    allowed_hosts: Option<Hosts>,
    /// How jobs are computed.
    #[command(flatten)]
    calculator: calculator::Config,
    /// Which sockets are accepted.
    #[command(flatten)]
    websocket: websocket::Config,
    /// The address at which metrics are served.
    #[command(flatten)]
    metrics: daemon::metrics::Options,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    Runtime::new()
        .context("async runtime")?
        .block_on(daemon::run("fibwire", |shutdown| serve(args, shutdown)))
}

async fn serve(args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let roles = if args.in_memory {
        Roles::in_memory()
    } else {
        Roles::on_disk(&args.data)?
    };
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("LISTEN {}", args.listen))?;
    let metrics_listener = args.metrics.bind().await?;
    let mut registry = daemon::metrics::registry();
    roles.register(&mut registry);
    let Roles {
        submitter,
        worker,
        reader,
        driver,
    } = roles;
    let address = listener.local_addr().context("address")?;
    eprintln!("fibwire is up: http://{address}");
    let rules = site::Rules {
        max_n: args.max_n,
        hosts: args
            .allowed_hosts
            .unwrap_or_else(|| Hosts::of_listener(address.ip())),
        origins: args.websocket.allowed_origins.clone(),
    };
    let routes = site::around(submitter, rules, Submissions::new(&mut registry));
    let sockets = websocket::run(
        listener,
        reader,
        args.websocket,
        websocket::Metrics::new(&mut registry),
        routes,
        shutdown.clone(),
    );
    let calculator = calculator::run(
        worker,
        args.calculator,
        calculator::Metrics::new(&mut registry),
        shutdown.clone(),
    );
    let metrics = daemon::metrics::serve(metrics_listener, registry, shutdown);
    tokio::select! {
        (served, (), metrics) = async { tokio::join!(sockets, calculator, metrics) } => served.and(metrics),
        stopped = driver.run() => Err(stopped.into()),
    }
}

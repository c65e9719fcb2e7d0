//! The default command: everything, in this process.

use std::net::SocketAddr;

use anyhow::Context;
use pipeline::{Queue, SubmissionLimits};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

use crate::site;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Where to listen.
    #[arg(
        long,
        env = "LISTEN",
        value_name = "LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    listen: SocketAddr,
    /// What to accept.
    #[command(flatten)]
    submissions: SubmissionLimits,
    /// How much to compute at once.
    #[command(flatten)]
    calculator: calculator::Limits,
    /// Whom to send results to.
    #[command(flatten)]
    websocket: websocket::Limits,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    daemon::init_logging();
    Runtime::new()
        .context("async runtime")?
        .block_on(daemon::until_terminated(|shutdown| serve(args, shutdown)))
}

async fn serve(args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let queue = Queue::in_process();
    let (log, feed) = queue.log();
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("LISTEN {}", args.listen))?;
    let address = listener.local_addr().context("address")?;
    eprintln!("fibwire is up: http://{address}");
    let routes = site::around(queue.clone(), args.submissions.max_n);
    let sockets = websocket::run(
        listener,
        log,
        feed,
        args.websocket,
        routes,
        shutdown.clone(),
    );
    let (served, ()) = tokio::join!(
        sockets,
        calculator::run(queue, args.calculator, shutdown.clone())
    );
    served
}

//! Sends events from the log to the browsers they are for. A socket is a cursor over the log, so a
//! slow reader delays only itself, and resuming is reading on. What an event says is not read here.

mod config;
mod origin;
mod request;
mod socket;
mod sockets;

use anyhow::Context;
use axum::Router;
use pipeline::{Feed, Log, Queue};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::{Args, Command, Limits};
use sockets::Sockets;

/// The most connections that are not sockets: health checks, pages, posts.
const MAX_OTHER_CONNECTIONS: usize = 1000;

/// The service: sockets on the queue that `args` name, with a health check.
///
/// # Errors
///
/// When the queue's address is none or the port cannot be listened on.
pub async fn serve(args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let queue = Queue::connect(&args.queue, "websocket")
        .await
        .context("queue")?;
    let listener = TcpListener::bind(args.listen).await.context("LISTEN")?;
    let (log, feed) = queue.log();
    let health = daemon::health::routes(move || queue.is_ready());
    tracing::info!(listen = %args.listen, "websocket server started");
    run(
        listener,
        log,
        feed,
        args.limits,
        |sockets| sockets.merge(health),
        shutdown,
    )
    .await
}

/// Serves `/ws` over `log`, and what `routes` puts around it, until `shutdown`; then closes every
/// socket and waits for it.
///
/// # Errors
///
/// When the listener cannot be served from.
pub async fn run(
    listener: TcpListener,
    log: Log,
    feed: Feed,
    limits: Limits,
    routes: impl FnOnce(Router) -> Router,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let max_connections = limits.max_sockets.saturating_add(MAX_OTHER_CONNECTIONS);
    let sockets = Sockets::new(log, limits, shutdown.clone());
    let routes = routes(sockets.routes());
    let served = tokio::select! {
        served = daemon::serve(listener, routes, max_connections, shutdown.clone()) => served,
        () = feed.run() => Ok(()),
    };
    shutdown.cancel();
    sockets.closed().await;
    served
}

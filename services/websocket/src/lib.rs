//! Sends events from the log to the clients that they are for, over WebSockets and as Server-Sent
//! Events. A client is a cursor over the log, so a slow reader delays only itself, and resuming is the
//! same as reading on. The content of an event is not parsed here.
//!
//! The service does not check which host a request is for. nginx, the only one that can reach it, has
//! done so, and the standalone binary does it for all its routes.

mod admission;
mod close;
mod config;
mod drain;
mod events;
mod frame_length;
mod metrics;
mod outgoing;
mod request;
mod routes;
mod socket;

use anyhow::Context;
use axum::{Router, http::StatusCode};
use protocol::Problem;
use queue::Reader;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::{Args, Command, Config};
pub use metrics::Metrics;
pub use routes::Sockets;

/// The most connections that are not sockets: health checks, pages, posts.
const MAX_OTHER_CONNECTIONS: usize = 1000;

/// Runs the service: sockets on the queue that `args` name, with a health check and metrics.
///
/// # Errors
///
/// If the queue's address is invalid or one of the addresses cannot be listened on.
pub async fn serve(args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (reader, driver) = Reader::connect(&args.queue).await.context("QUEUE_URL")?;
    let listener = TcpListener::bind(args.listen).await.context("LISTEN")?;
    let metrics_listener = args.metrics.bind().await?;
    let mut registry = daemon::metrics::registry();
    reader.register(&mut registry);
    let counts = Metrics::new(&mut registry);
    let readiness = driver.readiness();
    let health = daemon::health::routes(move || readiness.is_ready());
    let metrics = daemon::metrics::serve(metrics_listener, registry, shutdown.clone());
    tracing::info!(listen = %args.listen, "websocket server started");
    let served = run(
        listener,
        reader,
        args.config,
        counts,
        |sockets| {
            sockets.merge(health).method_not_allowed_fallback(async || {
                daemon::response(Problem::of_status(StatusCode::METHOD_NOT_ALLOWED).into())
            })
        },
        shutdown,
    );
    tokio::select! {
        (served, metrics) = async { tokio::join!(served, metrics) } => served.and(metrics),
        stopped = driver.run() => Err(stopped.into()),
    }
}

/// Serves `/ws` and `/events` over `reader`, and the routes that `routes` adds, until `shutdown`. Then it
/// accepts no more connections, closes the open ones one after the other, and returns when all are closed.
/// The caller runs the driver of `reader`.
///
/// # Errors
///
/// If the listener fails.
pub async fn run(
    listener: TcpListener,
    reader: Reader,
    config: Config,
    metrics: Metrics,
    routes: impl FnOnce(Router) -> Router,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let max_connections = config.max_sockets.saturating_add(MAX_OTHER_CONNECTIONS);
    let sockets = Sockets::new(reader, config, metrics, shutdown.clone());
    let routes = routes(sockets.routes());
    let served = daemon::serve(listener, routes, max_connections, shutdown.clone()).await;
    shutdown.cancel();
    sockets.closed().await;
    served
}

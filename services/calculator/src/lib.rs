//! Takes jobs from the queue, computes F(n), publishes what happens, and acknowledges each job once
//! all of that is stored. The arithmetic is in the crate `fibonacci`.

mod config;
mod job;
mod lane;
mod machine;
mod metrics;

use std::sync::Arc;

use anyhow::Context;
use protocol::Lane;
use queue::Worker;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::{Args, Command, Config};
use job::Calculator;
pub use machine::Machine;
pub use metrics::Metrics;

/// The most connections for health checks at a time.
const MAX_HEALTH_CONNECTIONS: usize = 4;

/// Runs the service: a calculator on the queue that `args` name, with a health check and metrics.
///
/// # Errors
///
/// If the queue's address is invalid or one of the other addresses cannot be listened on.
pub async fn serve(args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (worker, driver) = Worker::connect(&args.queue).await.context("QUEUE_URL")?;
    let listener = TcpListener::bind(args.health_listen)
        .await
        .context("HEALTH_LISTEN")?;
    let metrics_listener = args.metrics.bind().await?;
    let mut registry = daemon::metrics::registry();
    worker.register(&mut registry);
    let counts = Metrics::new(&mut registry);
    let readiness = driver.readiness();
    let health = daemon::serve(
        listener,
        daemon::health::routes(move || readiness.is_ready()),
        MAX_HEALTH_CONNECTIONS,
        shutdown.clone(),
    );
    let metrics = daemon::metrics::serve(metrics_listener, registry, shutdown.clone());
    tracing::info!("calculator started");
    let work = run(worker, args.config, counts, shutdown);
    tokio::select! {
        (health, metrics, ()) = async { tokio::join!(health, metrics, work) } => health.and(metrics),
        stopped = driver.run() => Err(stopped.into()),
    }
}

/// Works on jobs until `shutdown`, then gives back those that are not done. The caller runs the driver of
/// `worker`.
pub async fn run(worker: Worker, config: Config, metrics: Metrics, shutdown: CancellationToken) {
    run_on(Arc::new(machine::Local), worker, config, metrics, shutdown).await;
}

/// The same as [`run`], on a given machine.
pub async fn run_on(
    machine: Arc<dyn Machine>,
    worker: Worker,
    config: Config,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let calculator = Arc::new(Calculator::new(machine, worker, config, metrics));
    let lanes = [
        (Lane::Small, lane::MAX_SMALL_JOBS),
        (Lane::Large, lane::MAX_LARGE_JOBS),
    ];
    let [small, large] =
        lanes.map(|(lane, max_jobs)| lane::run(&calculator, lane, max_jobs, &shutdown));
    tokio::join!(small, large);
}

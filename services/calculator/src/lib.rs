//! Takes jobs from the queue, works out F(n), publishes what happens, and acknowledges the job
//! when all of that is stored. What a number is belongs to `fibonacci`, what a queue is to
//! `pipeline`.

mod computing;
mod config;
mod job;
mod lane;

use std::sync::Arc;

use anyhow::Context;
use pipeline::{Lane, Queue};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::{Args, Command, Limits};
use job::Worker;

/// The most connections of health checks at a time.
const MAX_HEALTH_CONNECTIONS: usize = 4;

/// The service: a calculator on the queue that `args` name, with a health check.
///
/// # Errors
///
/// When the queue's address is none or the health check has no port.
pub async fn serve(args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let queue = Queue::connect(&args.queue, "calculator")
        .await
        .context("queue")?;
    let listener = TcpListener::bind(args.health_listen)
        .await
        .context("HEALTH_LISTEN")?;
    let watched = queue.clone();
    let health = daemon::serve(
        listener,
        daemon::health::routes(move || watched.is_ready()),
        MAX_HEALTH_CONNECTIONS,
        shutdown.clone(),
    );
    tracing::info!("calculator started");
    let (health, ()) = tokio::join!(health, run(queue, args.limits, shutdown));
    health
}

/// Works at jobs until `shutdown`, then gives back those that are not done.
pub async fn run(queue: Queue, limits: Limits, shutdown: CancellationToken) {
    let worker = Arc::new(Worker::new(queue, limits));
    tokio::join!(
        lane::run(
            Arc::clone(&worker),
            Lane::Small,
            lane::SMALL_IN_HAND,
            &shutdown
        ),
        lane::run(
            Arc::clone(&worker),
            Lane::Large,
            lane::LARGE_IN_HAND,
            &shutdown
        ),
    );
}

//! One lane of jobs: takes as many as there is room for and works at each in a task of its own.

use std::{num::NonZeroUsize, sync::Arc};

use pipeline::Lane;
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::job::Worker;

/// The most small jobs in hand. More than there are cores, because most of a small job's time is
/// spent waiting until its result is on disk; how many are computed at once is another limit.
pub(crate) const SMALL_IN_HAND: usize = 64;
/// The most large jobs in hand.
pub(crate) const LARGE_IN_HAND: usize = 1;

/// Works at the jobs of `lane` until `shutdown`.
pub(crate) async fn run(
    worker: Arc<Worker>,
    lane: Lane,
    in_hand: usize,
    shutdown: &CancellationToken,
) {
    let mut jobs = worker.queue().jobs(lane);
    let room = Arc::new(Semaphore::new(in_hand));
    let mut tasks = JoinSet::new();
    loop {
        let taken = async {
            let place = Arc::clone(&room).acquire_owned().await.ok()?;
            let idle = NonZeroUsize::MIN.saturating_add(room.available_permits());
            Some((place, jobs.take(idle).await))
        };
        let (place, delivery) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = tasks.join_next() => {
                report(ended);
                continue;
            }
            Some(taken) = taken => taken,
        };
        let (worker, shutdown) = (Arc::clone(&worker), shutdown.clone());
        tasks.spawn(async move {
            worker.handle(delivery, &shutdown).await;
            drop(place);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        report(ended);
    }
}

/// A job whose task panicked was dropped, so that the queue delivers it again.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "job ended in a panic");
    }
}

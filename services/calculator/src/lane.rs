//! The loop over one lane of jobs: it takes as many as there is room for, and works on each in a task
//! of its own.

use std::{error::Error, num::NonZeroUsize, sync::Arc};

use protocol::Lane;
use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::job::Calculator;

/// The most small jobs at a time. There may be more of them than cores, because a small job spends most of
/// its time waiting until its result is on disk; how many are computed at once is limited separately.
pub(crate) const MAX_SMALL_JOBS: usize = 64;
/// The most large jobs at a time. A large job uses all threads by itself.
pub(crate) const MAX_LARGE_JOBS: usize = 1;

/// Works on the jobs of `lane` until `shutdown`.
pub(crate) async fn run(
    calculator: &Arc<Calculator>,
    lane: Lane,
    max_jobs: usize,
    shutdown: &CancellationToken,
) {
    let mut jobs = calculator.jobs(lane);
    let room = Arc::new(Semaphore::new(max_jobs));
    let mut tasks = JoinSet::new();
    loop {
        let taken = async {
            let permit = Arc::clone(&room)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            let idle = NonZeroUsize::MIN.saturating_add(room.available_permits());
            (permit, jobs.take(idle).await)
        };
        let (permit, delivery) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = tasks.join_next() => {
                report(ended);
                continue;
            }
            taken = taken => taken,
        };
        let (calculator, shutdown) = (Arc::clone(calculator), shutdown.clone());
        tasks.spawn(async move {
            calculator.handle(delivery, &shutdown).await;
            drop(permit);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        report(ended);
    }
}

/// Logs the panic of a job's task. The job was dropped without an ack, so the queue delivers it again.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = &error as &dyn Error, "the task of a job panicked");
    }
}

//! One job, from taken to acknowledged.

use std::{num::NonZeroUsize, ops::ControlFlow, pin::pin, time::Duration};

use fibonacci::{Decimal, Error};
use futures_util::{StreamExt, TryStreamExt, stream};
use pipeline::{
    Audience, Delivery, Event, Job, LONG_DIGITS, Lane, PART_DIGITS, PublishError, Queue, Timings,
    unix_us,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{Limits, computing::Computing};

/// How often the queue is told that a job is being worked at; it waits 10 seconds.
const IN_PROGRESS_INTERVAL: Duration = Duration::from_secs(3);
/// How many times a job may be tried. Delivered once more, it ends without a value.
const MAX_ATTEMPTS: u64 = 3;
/// Up to this n a number takes less time than handing it to another thread.
const INLINE_N: u64 = 10_000;
/// After how long a job is said to have started; a quick one has only its result.
const STARTED_AFTER: Duration = Duration::from_millis(50);
/// After how long progress is told.
const PROGRESS_AFTER: Duration = Duration::from_millis(200);
/// How often it is told, at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How many parts of a long number are on their way to the disk at a time.
const PARTS_IN_FLIGHT: usize = 4;

/// What works at jobs.
#[derive(Debug)]
pub(crate) struct Worker {
    queue: Queue,
    limits: Limits,
    /// One permit for each small job that is computed at this moment.
    computing: Semaphore,
}

/// How a job ended that was not given back.
enum Outcome {
    Value(Decimal),
    NoValue(String),
}

impl Worker {
    pub(crate) fn new(queue: Queue, limits: Limits) -> Self {
        Self {
            queue,
            limits,
            computing: Semaphore::new(limits.threads.get()),
        }
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Works at a job until all of its events are stored and it is acknowledged, or, at the
    /// shutdown, gives it back.
    pub(crate) async fn handle(&self, delivery: Delivery, shutdown: &CancellationToken) {
        let done = tokio::select! {
            biased;
            done = self.work(&delivery.job, delivery.attempt) => done,
            () = keep(&delivery) => return,
            () = shutdown.cancelled() => return delivery.nak().await,
        };
        match done {
            Ok(()) => delivery.ack().await,
            // Dropped, it comes again, and in the end it fails.
            Err(error) => tracing::error!(%error, id = %delivery.job.id, "event not published"),
        }
    }

    async fn work(&self, job: &Job, attempt: u64) -> Result<(), PublishError> {
        let queued_us = unix_us().saturating_sub(job.accepted_us);
        let taken = Instant::now();
        let outcome = self.outcome(job, attempt).await?;
        let computed_us = u64::try_from(taken.elapsed().as_micros()).unwrap_or(u64::MAX);
        match outcome {
            Outcome::Value(value) => {
                tracing::debug!(id = %job.id, n = job.n, attempt, queued_us, computed_us, "job done");
                self.publish_value(
                    job,
                    &value,
                    Timings {
                        queued_us,
                        computed_us,
                    },
                )
                .await
            }
            Outcome::NoValue(reason) => {
                tracing::warn!(id = %job.id, n = job.n, attempt, reason, "job failed");
                self.publish(
                    job,
                    Event::Failed {
                        id: job.id,
                        n: job.n,
                        reason,
                    },
                )
                .await
            }
        }
    }

    async fn outcome(&self, job: &Job, attempt: u64) -> Result<Outcome, PublishError> {
        if attempt > MAX_ATTEMPTS {
            return Ok(Outcome::NoValue(format!(
                "The calculator was interrupted {MAX_ATTEMPTS} times at this number. Send it again."
            )));
        }
        let (needed_mib, limit_mib) = (
            fibonacci::memory_needed(job.n).div_ceil(1024 * 1024),
            self.limits.memory_limit_mib,
        );
        if needed_mib > limit_mib {
            return Ok(Outcome::NoValue(format!(
                "F({}) needs {needed_mib} MiB of memory, and the calculator may use {limit_mib} MiB. Send a smaller n.",
                job.n
            )));
        }
        Ok(match self.compute(job, attempt).await? {
            Ok(value) => Outcome::Value(value),
            Err(error @ (Error::Inexact | Error::Cancelled)) => {
                tracing::error!(%error, id = %job.id, n = job.n, "no exact value");
                Outcome::NoValue("The value did not pass its check. Send it again.".into())
            }
        })
    }

    /// Works out the number, and meanwhile tells how far that is.
    async fn compute(
        &self,
        job: &Job,
        attempt: u64,
    ) -> Result<Result<Decimal, Error>, PublishError> {
        let &Job { id, n, .. } = job;
        if n <= INLINE_N {
            return Ok(fibonacci::compute(n, 1, &mut |_| ControlFlow::Continue(())));
        }
        let taken = Instant::now();
        let threads = match job.lane() {
            Lane::Small => NonZeroUsize::MIN,
            Lane::Large => self.limits.threads,
        };
        let _permit = match job.lane() {
            // The semaphore is never closed.
            Lane::Small => self.computing.acquire().await.ok(),
            // Its lane has but one at a time.
            Lane::Large => None,
        };
        let mut computing = Computing::start(n, threads);
        let preview = fibonacci::preview(n);
        if preview.digits > LONG_DIGITS as u64 {
            let fibonacci::Preview {
                digits,
                first,
                last,
            } = preview;
            self.publish(
                job,
                Event::Preview {
                    id,
                    n,
                    digits,
                    first,
                    last,
                },
            )
            .await?;
        }
        let mut start = pin!(sleep_until(taken + STARTED_AFTER));
        let mut started = false;
        let mut progress = interval_at(taken + PROGRESS_AFTER, PROGRESS_INTERVAL);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = 0.0;
        loop {
            tokio::select! {
                biased;
                number = computing.finished() => return Ok(number),
                () = &mut start, if !started => {
                    started = true;
                    self.publish(job, Event::Started { id, n, attempt }).await?;
                }
                _ = progress.tick() => {
                    let fraction = computing.fraction();
                    if fraction > told {
                        told = fraction;
                        self.publish(job, Event::Progress { id, n, fraction }).await?;
                    }
                }
            }
        }
    }

    async fn publish_value(
        &self,
        job: &Job,
        value: &Decimal,
        timings: Timings,
    ) -> Result<(), PublishError> {
        let &Job { id, n, .. } = job;
        let digits = value.digits();
        let (value, parts) = if digits > LONG_DIGITS {
            (None, Some(self.publish_parts(job, value).await?))
        } else {
            (Some(value.to_string()), None)
        };
        let digits = digits as u64;
        self.publish(
            job,
            Event::Result {
                id,
                n,
                digits,
                value,
                parts,
                timings,
            },
        )
        .await
    }

    /// Publishes a number's digits in parts, each formatted while those before it are on their way.
    async fn publish_parts(&self, job: &Job, value: &Decimal) -> Result<u32, PublishError> {
        let &Job { id, n, .. } = job;
        let pieces = value.pieces(PART_DIGITS);
        let parts = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        stream::iter((0..parts).zip(pieces))
            .map(|(index, value)| {
                self.publish(
                    job,
                    Event::Part {
                        id,
                        n,
                        index,
                        parts,
                        value,
                    },
                )
            })
            .buffered(PARTS_IN_FLIGHT)
            .try_collect::<()>()
            .await?;
        Ok(parts)
    }

    async fn publish(&self, job: &Job, event: Event) -> Result<(), PublishError> {
        self.queue
            .publish(&Audience::of(job.client.as_ref()), &event)
            .await
    }
}

/// Tells the queue, for ever, that the job is being worked at.
async fn keep(delivery: &Delivery) {
    let mut due = interval_at(Instant::now() + IN_PROGRESS_INTERVAL, IN_PROGRESS_INTERVAL);
    loop {
        due.tick().await;
        delivery.in_progress().await;
    }
}

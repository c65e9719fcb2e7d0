//! One job, from its delivery to its acknowledgement.

use std::{num::NonZeroUsize, pin::pin, sync::Arc, time::Duration};

use fibonacci::{Decimal, Error};
use futures_util::{StreamExt, TryStreamExt, stream};
use protocol::{
    Event, Job, Lane,
    event::{Body, LONG_DIGITS, PART_DIGITS, Timings},
};
use queue::{Delivery, Jobs, PublishError, Worker};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;
use trace::Span;
use tracing::info_span;

use crate::{Config, Machine, Metrics, metrics::End};

/// How many times a job may be attempted. If it is delivered once more, it ends without a value.
const MAX_ATTEMPTS: u64 = 3;
/// Up to this n, computing a number takes less time than handing it to another thread.
const INLINE_N: u64 = 10_000;
/// A job that takes this long is announced as `started`. A quicker job has only its result.
const STARTED_AFTER: Duration = Duration::from_millis(50);
/// The time until `progress` is published for the first time.
const PROGRESS_AFTER: Duration = Duration::from_millis(200);
/// The shortest time between two publications of `progress`.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How many parts of a long result are on their way to the disk at a time.
const PARTS_IN_FLIGHT: usize = 4;

/// Computes jobs and publishes their events.
#[derive(Debug)]
pub(crate) struct Calculator {
    worker: Worker,
    machine: Arc<dyn Machine>,
    config: Config,
    metrics: Metrics,
    /// One permit for each small job that may be computed at the same time.
    computing: Semaphore,
}

/// The end of a job.
enum Outcome {
    Value(Decimal),
    NoValue(String),
}

/// Why an attempt led to no outcome. The job is dropped, so the queue delivers it again.
#[derive(Debug, thiserror::Error)]
enum Unfinished {
    #[error("event not published")]
    NotPublished(#[from] PublishError),
    #[error("computation stopped")]
    Stopped(#[source] Error),
}

impl Calculator {
    pub(crate) fn new(
        machine: Arc<dyn Machine>,
        worker: Worker,
        config: Config,
        metrics: Metrics,
    ) -> Self {
        Self {
            worker,
            machine,
            config,
            metrics,
            computing: Semaphore::new(config.threads.get()),
        }
    }

    pub(crate) fn jobs(&self, lane: Lane) -> Jobs {
        self.worker.jobs(lane)
    }

    /// Works on a job until all of its events are stored, and acknowledges it. On shutdown it
    /// gives the job back instead.
    pub(crate) async fn handle(&self, mut delivery: Delivery, shutdown: &CancellationToken) {
        let lane = delivery.job.lane();
        let span = delivery.working();
        delivery.job.context.traceparent = span.traceparent();
        let done = tokio::select! {
            biased;
            done = self.work(&delivery.job, delivery.attempt) => done,
            never = delivery.keep_in_progress() => match never {},
            () = shutdown.cancelled() => {
                self.metrics.ended(lane, End::Released);
                return delivery.nak().await;
            }
        };
        match done {
            Ok(end) => {
                self.metrics.ended(lane, end);
                delivery.ack().await;
            }
            // The job is delivered again, and fails after the last attempt.
            Err(unfinished) => {
                self.metrics.ended(lane, End::Unfinished);
                span.fail(&unfinished);
                let trace_id = delivery.job.context.traceparent.trace_id();
                tracing::error!(error = &unfinished as &dyn std::error::Error, id = %delivery.job.id, %trace_id, "job not finished");
            }
        }
    }

    async fn work(&self, job: &Job, attempt: u64) -> Result<End, Unfinished> {
        let trace_id = job.context.traceparent.trace_id();
        let queued_us = self
            .machine
            .unix_us()
            .saturating_sub(job.context.accepted_us);
        self.metrics
            .taken(job.lane(), Duration::from_micros(queued_us));
        let taken = Instant::now();
        let outcome = self.outcome(job, attempt).await?;
        let computed = taken.elapsed();
        let computed_us =
            u64::try_from(computed.as_micros()).expect("64 bits last for 580 000 years");
        match outcome {
            Outcome::Value(value) => {
                self.metrics.computed(job.lane(), computed);
                tracing::debug!(id = %job.id, %trace_id, n = job.n, attempt, queued_us, computed_us, "job done");
                let timings = Timings {
                    queued_us,
                    computed_us,
                };
                self.publish_value(job, &value, timings).await?;
                Ok(End::Result)
            }
            Outcome::NoValue(reason) => {
                tracing::warn!(id = %job.id, %trace_id, n = job.n, attempt, reason, "job failed");
                self.publish(job, Body::Failed { reason }).await?;
                Ok(End::Failed)
            }
        }
    }

    async fn outcome(&self, job: &Job, attempt: u64) -> Result<Outcome, Unfinished> {
        if attempt > MAX_ATTEMPTS {
            return Ok(Outcome::NoValue(format!(
                "The calculator was interrupted {MAX_ATTEMPTS} times while computing this number. Send it again."
            )));
        }
        let needed_mib = fibonacci::memory_needed(job.n).div_ceil(1024 * 1024);
        let limit_mib = self.config.memory_limit_mib;
        if needed_mib > limit_mib {
            return Ok(Outcome::NoValue(format!(
                "F({}) needs {needed_mib} MiB of memory, and the calculator may use {limit_mib} MiB. Send a smaller n.",
                job.n
            )));
        }
        match self.compute(job, attempt).await? {
            Ok(value) => Ok(Outcome::Value(value)),
            Err(error @ Error::Inexact) => {
                let trace_id = job.context.traceparent.trace_id();
                tracing::error!(error = &error as &dyn std::error::Error, id = %job.id, %trace_id, n = job.n, "no exact value");
                Ok(Outcome::NoValue(
                    "The value did not pass its check. Send it again.".into(),
                ))
            }
            Err(error @ Error::Cancelled) => Err(Unfinished::Stopped(error)),
        }
    }

    /// Computes the number, and meanwhile publishes how far the computation has come.
    async fn compute(
        &self,
        job: &Job,
        attempt: u64,
    ) -> Result<Result<Decimal, Error>, PublishError> {
        let _span = Span::within(
            job.context.traceparent,
            || info_span!(target: trace::TARGET, "compute", fibwire.n = trace::integer(job.n)),
        );
        if job.n <= INLINE_N {
            return Ok(fibonacci::Options::new().compute(job.n));
        }
        let taken = Instant::now();
        let threads = match job.lane() {
            Lane::Small => NonZeroUsize::MIN,
            Lane::Large => self.config.threads,
        };
        let _permit = match job.lane() {
            Lane::Small => Some(
                self.computing
                    .acquire()
                    .await
                    .expect("the semaphore is never closed"),
            ),
            // The large lane has one job at a time.
            Lane::Large => None,
        };
        let (fraction, progress) = watch::channel(0.0);
        let mut computing = self.machine.compute(job.n, threads, fraction);
        let preview = fibonacci::preview(job.n);
        if preview.digits > LONG_DIGITS as u64 {
            let fibonacci::Preview {
                digits,
                first,
                last,
            } = preview;
            let preview = Body::Preview {
                digits,
                first,
                last,
            };
            self.publish(job, preview).await?;
        }
        let mut start = pin!(sleep_until(taken + STARTED_AFTER));
        let mut started = false;
        let mut progress_due = interval_at(taken + PROGRESS_AFTER, PROGRESS_INTERVAL);
        progress_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut published = 0.0;
        loop {
            tokio::select! {
                biased;
                number = &mut computing => return Ok(number),
                () = &mut start, if !started => {
                    started = true;
                    self.publish(job, Body::Started { attempt }).await?;
                }
                _ = progress_due.tick() => {
                    let fraction = *progress.borrow();
                    if fraction > published {
                        published = fraction;
                        self.publish(job, Body::Progress { fraction }).await?;
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
        let digits = value.digits();
        let (value, parts) = if digits > LONG_DIGITS {
            (None, Some(self.publish_parts(job, value).await?))
        } else {
            (Some(value.to_string()), None)
        };
        let result = Body::Result {
            digits: digits as u64,
            value,
            parts,
            timings,
        };
        self.publish(job, result).await
    }

    /// Publishes the digits of a number in parts. Each is formatted while earlier ones are on their
    /// way.
    async fn publish_parts(&self, job: &Job, value: &Decimal) -> Result<u32, PublishError> {
        let pieces = value.pieces(PART_DIGITS);
        let parts = u32::try_from(pieces.len()).expect("a number that fits into memory");
        stream::iter((0..parts).zip(pieces))
            .map(|(index, value)| {
                let part = Body::Part {
                    index,
                    parts,
                    value,
                };
                self.publish(job, part)
            })
            .buffered(PARTS_IN_FLIGHT)
            .try_collect::<()>()
            .await?;
        Ok(parts)
    }

    async fn publish(&self, job: &Job, body: Body) -> Result<(), PublishError> {
        let event = Event {
            id: job.id,
            n: job.n,
            body,
        };
        self.worker
            .publish(&job.audience(), &event, job.context)
            .await
    }
}

//! Submitting jobs to the stream JOBS.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use protocol::Job;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    headers,
    link::{self, Connections},
    options::JetStreamOptions,
    publisher::{Publisher, StoreError},
};
use crate::{Driver, error::SubmitError, stored::Stored, subjects};

/// How long a submission may take. Its sender is promised an answer within 2 seconds.
const SUBMIT_TIMEOUT: Duration = Duration::from_millis(1200);

/// How long a submission may try a queue that is known to be away.
const TRY_TIMEOUT: Duration = Duration::from_millis(300);

/// The queue is known to be away after this time without a connection.
const AWAY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Submitter {
    publisher: Publisher,
    /// Whether the last submission that ended got no answer from the queue.
    silent: AtomicBool,
    /// The turn to try a queue that is known to be away. Whoever has no turn is refused at once,
    /// because a submission that waits occupies a thread of the web service that others need.
    turn: Semaphore,
}

impl Submitter {
    pub(crate) async fn connect(
        options: &JetStreamOptions,
    ) -> Result<(Self, Driver), async_nats::ConnectError> {
        let (client, link) = link::connect(options, "web").await?;
        let driver = link.clone().driver();
        let submitter = Self {
            publisher: Publisher::new(client, link),
            silent: AtomicBool::new(false),
            turn: Semaphore::new(1),
        };
        Ok((submitter, driver))
    }

    pub(crate) fn connections(&self) -> Connections {
        Connections::of([self.publisher.link().clone()])
    }

    pub(crate) async fn submit(&self, job: &Job) -> Result<Stored, SubmitError> {
        let (_turn, timeout) = if self.is_away() {
            let turn = self.turn.try_acquire().map_err(|_taken| {
                SubmitError::Unreachable(Box::new(io::Error::from(io::ErrorKind::TimedOut)))
            })?;
            (Some(turn), TRY_TIMEOUT)
        } else {
            (None, SUBMIT_TIMEOUT)
        };
        let stored = self
            .publisher
            .store(
                subjects::of_lane(job.lane()),
                headers::of_job(job),
                &job.encode(),
                Some(Instant::now() + timeout),
            )
            .await;
        let silent = matches!(stored, Err(StoreError::TimedOut(_)));
        self.silent.store(silent, Ordering::Relaxed);
        stored.map_err(|error| match error {
            StoreError::Full => SubmitError::Full,
            StoreError::TooLong(cause) => SubmitError::TooLong(cause),
            StoreError::TimedOut(cause) => SubmitError::Unreachable(cause),
        })
    }

    /// Whether the queue is known not to answer.
    fn is_away(&self) -> bool {
        self.silent.load(Ordering::Relaxed) || self.publisher.link().is_away_for(AWAY_AFTER)
    }
}

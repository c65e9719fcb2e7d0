//! The queue: jobs go in on one side and out on the other, events go into a log. It comes in two
//! kinds that behave alike, JetStream between processes and one in memory within a process.

mod in_process;
pub(crate) mod jetstream;

use std::{num::NonZeroUsize, sync::Arc};

use http::StatusCode;

use crate::{Audience, Event, Feed, Job, Lane, Log, Problem};
use in_process::{InProcess, InProcessJobs};
use jetstream::{JetStream, JetStreamJobs};

pub use jetstream::JetStreamOptions;

/// The most jobs that wait or are worked at.
pub(crate) const JOBS_LIMIT: u32 = 100_000;

/// After how many seconds to try again when the queue did not take a job.
const RETRY_AFTER_S: u32 = 1;

/// A handle on the queue; clones share one connection.
#[derive(Debug, Clone)]
pub struct Queue(Kind);

#[derive(Debug, Clone)]
enum Kind {
    JetStream(Arc<JetStream>),
    InProcess(InProcess),
}

/// The queue did not take a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It holds as many jobs as it may.
    #[error("queue full")]
    Full,
    /// It did not say in time that it has the job, which it may or may not have.
    #[error("queue unreachable")]
    Unreachable,
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let detail = match error {
            SubmitError::Full => "Too many jobs are waiting. Send it again in a moment.",
            SubmitError::Unreachable => "The queue cannot be reached. Send it again in a moment.",
        };
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_s(RETRY_AFTER_S)
    }
}

/// An event that no attempt will get into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It is longer than the queue allows.
    #[error("event longer than the queue takes")]
    TooLong,
}

impl Queue {
    /// A queue that NATS carries, as its user of that name. Connects in the background and again
    /// whenever it has to.
    ///
    /// # Errors
    ///
    /// When `options` can never lead to a connection, such as an address that is none.
    pub async fn connect(
        options: &JetStreamOptions,
        user: &str,
    ) -> Result<Self, async_nats::ConnectError> {
        JetStream::connect(options, user)
            .await
            .map(|queue| Self(Kind::JetStream(Arc::new(queue))))
    }

    /// A queue in this process's memory, which dies with it.
    #[must_use]
    pub fn in_process() -> Self {
        Self(Kind::InProcess(InProcess::new()))
    }

    /// Whether all that this process needs of the queue is there now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.0 {
            Kind::JetStream(queue) => queue.is_ready(),
            Kind::InProcess(_) => true,
        }
    }

    /// Queues a job; returns when the queue has it on disk, or in memory if it has no disk. The
    /// same id again within two minutes queues nothing new and is no error.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], within 1.5 seconds.
    pub async fn submit(&self, job: &Job) -> Result<(), SubmitError> {
        match &self.0 {
            Kind::JetStream(queue) => queue.submit(job).await,
            Kind::InProcess(queue) => queue.submit(job),
        }
    }

    /// The jobs of one lane, for one worker loop.
    #[must_use]
    pub fn jobs(&self, lane: Lane) -> Jobs {
        Jobs(match &self.0 {
            Kind::JetStream(queue) => JobsKind::JetStream(Box::new(queue.jobs(lane))),
            Kind::InProcess(queue) => JobsKind::InProcess(queue.jobs(lane)),
        })
    }

    /// Puts an event into the log; returns when it is stored, however long that takes. Published
    /// twice it is stored once.
    ///
    /// # Errors
    ///
    /// [`PublishError`] when trying again cannot help.
    pub async fn publish(&self, audience: &Audience, event: &Event) -> Result<(), PublishError> {
        match &self.0 {
            Kind::JetStream(queue) => queue.publish(audience, event).await,
            Kind::InProcess(queue) => {
                queue.publish(audience, event);
                Ok(())
            }
        }
    }

    /// The log of events, and what must be run to feed it.
    #[must_use]
    pub fn log(&self) -> (Log, Feed) {
        match &self.0 {
            Kind::JetStream(queue) => queue.log(),
            Kind::InProcess(queue) => queue.log(),
        }
    }
}

/// The jobs of one lane.
#[derive(Debug)]
pub struct Jobs(JobsKind);

#[derive(Debug)]
enum JobsKind {
    JetStream(Box<JetStreamJobs>),
    InProcess(InProcessJobs),
}

impl Jobs {
    /// Takes the next job, waiting for as long as there is none. `idle` says how many jobs the
    /// worker could take now, this one included: so many may be asked for in one request.
    pub async fn take(&mut self, idle: NonZeroUsize) -> Delivery {
        match &mut self.0 {
            JobsKind::JetStream(jobs) => jobs.take(idle).await,
            JobsKind::InProcess(jobs) => jobs.take().await,
        }
    }
}

/// A job in the hands of a worker. Dropped without an ack or a nak, it is delivered again.
#[derive(Debug)]
pub struct Delivery {
    /// What to do.
    pub job: Job,
    /// How many times the job was delivered, this time included.
    pub attempt: u64,
    receipt: Receipt,
}

#[derive(Debug)]
enum Receipt {
    JetStream(Box<jetstream::Receipt>),
    InProcess(in_process::Receipt),
}

impl Delivery {
    /// Says that the job is done and all of its events are stored.
    pub async fn ack(self) {
        match self.receipt {
            Receipt::JetStream(receipt) => receipt.ack().await,
            Receipt::InProcess(receipt) => receipt.ack(),
        }
    }

    /// Says that the job is being worked at, so that nobody else is given it.
    pub async fn in_progress(&self) {
        match &self.receipt {
            Receipt::JetStream(receipt) => receipt.in_progress().await,
            Receipt::InProcess(_) => {}
        }
    }

    /// Gives the job back, for another worker.
    pub async fn nak(self) {
        match self.receipt {
            Receipt::JetStream(receipt) => receipt.nak().await,
            // Dropped is given back.
            Receipt::InProcess(_) => {}
        }
    }
}

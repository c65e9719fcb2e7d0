//! A kind of queue that another crate brings. The simulation does, to decide when each request arrives
//! and which are lost. No shipped build enables this.

use std::{convert::Infallible, fmt, num::NonZeroUsize, sync::Arc};

use protocol::{Audience, Event, Job, JobContext, Lane, event::InvalidEvent};

pub use crate::log::{Answer, Held, History, Next, Retention};
use crate::{
    Reader,
    error::{PublishError, SubmitError},
    log::{Entry, Log},
    spans::System,
    taken::Taken,
};

/// The operations of a queue that a submitter and a worker use. The methods behave as those of
/// [`Submitter`](crate::Submitter), [`Jobs`](crate::Jobs) and [`Worker`](crate::Worker) of the same
/// names.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Submits a job.
    fn submit<'a>(&'a self, job: &'a Job) -> Answer<'a, Result<(), SubmitError>>;

    /// Takes the next job of a lane.
    fn take(&self, lane: Lane, idle: NonZeroUsize) -> Answer<'_, TakenJob>;

    /// Publishes an event.
    fn publish<'a>(
        &'a self,
        audience: &'a Audience,
        event: &'a Event,
        context: JobContext,
    ) -> Answer<'a, Result<(), PublishError>>;
}

/// Acknowledges one job. The methods behave as those of [`Delivery`](crate::Delivery).
pub trait Acker: fmt::Debug + Send + Sync {
    /// Acknowledges the job.
    fn ack(self: Box<Self>) -> Answer<'static, ()>;

    /// Tells the queue at intervals that the job is still being worked on.
    fn keep_in_progress(&self) -> Answer<'_, Infallible>;

    /// Gives the job back.
    fn nak(self: Box<Self>) -> Answer<'static, ()>;
}

/// A job that was taken.
#[derive(Debug)]
pub struct TakenJob {
    /// The job.
    pub job: Job,
    /// How many times the job was delivered, this time included.
    pub attempt: u64,
    /// The means to acknowledge the job.
    pub acker: Box<dyn Acker>,
}

impl From<TakenJob> for Taken<Box<dyn Acker>> {
    fn from(taken: TakenJob) -> Self {
        Self {
            job: taken.job,
            attempt: taken.attempt,
            acker: taken.acker,
        }
    }
}

/// Appends events to the log of a reader.
#[derive(Debug, Clone)]
pub struct Feed(Log);

impl Feed {
    /// A reader whose newest events come from the feed, and whose older ones are read from `history`.
    /// It is ready after the first [`connect`](Self::connect).
    #[must_use]
    pub fn new(tail: Retention, history: Arc<dyn History>) -> (Self, Reader) {
        let log = Log::with_history(System::Embedded, tail, history);
        (Self(log.clone()), Reader::of(log))
    }

    /// Says which part of the log is held elsewhere, and returns the place after which events are to
    /// be appended: after the last that the reader has, or after `start`. `None` if `held` seems to lack the
    /// newest events, so that it has to be asked for again.
    #[must_use]
    pub fn connect(&self, held: Held, start: u64) -> Option<u64> {
        self.0.connect(held, start)
    }

    /// Appends an event as it was published, with its context if it has one.
    ///
    /// # Errors
    ///
    /// If the payload is not an event.
    pub fn append(
        &self,
        seq: u64,
        audience: Audience,
        context: Option<JobContext>,
        payload: &[u8],
    ) -> Result<(), InvalidEvent> {
        self.0
            .append(Entry::parse(seq, audience, context, payload)?);
        Ok(())
    }

    /// Evicts events that are too old, forever. Cancel safe.
    pub async fn expire(&self) -> Infallible {
        self.0.expire().await
    }
}

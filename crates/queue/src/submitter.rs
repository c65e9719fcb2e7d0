//! The role of the web service: it submits jobs and can do nothing else.

use std::{error::Error, sync::Arc};

use protocol::{Job, JobContext};

#[cfg(feature = "custom")]
use crate::custom;
#[cfg(feature = "embedded")]
use crate::embedded;
#[cfg(feature = "jetstream")]
use crate::{
    Driver,
    jetstream::{self, ConnectError, JetStreamOptions},
};
use crate::{
    error::SubmitError,
    spans::{self, System},
};

/// Submits jobs. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Submitter(Kind);

#[derive(Debug, Clone)]
enum Kind {
    #[cfg(feature = "jetstream")]
    JetStream(Arc<jetstream::Submitter>),
    #[cfg(feature = "embedded")]
    Embedded(embedded::Queue),
    #[cfg(feature = "custom")]
    Custom(Arc<dyn custom::Backend>),
}

impl Submitter {
    /// A submitter over JetStream, as the queue's user `web`. It connects in the background, and again
    /// whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// If `options` can never lead to a connection, such as an invalid address.
    #[cfg(feature = "jetstream")]
    pub async fn connect(options: &JetStreamOptions) -> Result<(Self, Driver), ConnectError> {
        let (submitter, driver) = jetstream::Submitter::connect(options).await?;
        Ok((Self(Kind::JetStream(Arc::new(submitter))), driver))
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn embedded(queue: embedded::Queue) -> Self {
        Self(Kind::Embedded(queue))
    }

    /// A submitter over a queue of another kind.
    #[cfg(feature = "custom")]
    #[must_use]
    pub fn custom(backend: Arc<dyn custom::Backend>) -> Self {
        Self(Kind::Custom(backend))
    }

    /// Submits a job and returns once the queue has it: on disk, unless it is a queue in memory.
    /// Submitting the same id again within two minutes queues nothing new and is not an error.
    ///
    /// Not cancel safe: if the future is dropped, the queue may or may not have the job. It is safe
    /// to submit the job again.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], within 1.5 seconds.
    pub async fn submit(&self, job: &Job) -> Result<(), SubmitError> {
        let span = spans::submit(self.system(), job);
        let job = &Job {
            context: JobContext {
                traceparent: span.traceparent(),
                ..job.context
            },
            ..job.clone()
        };
        let submitted = match &self.0 {
            #[cfg(feature = "jetstream")]
            Kind::JetStream(submitter) => submitter.submit(job).await,
            #[cfg(feature = "embedded")]
            Kind::Embedded(queue) => queue.submit(job).await,
            #[cfg(feature = "custom")]
            Kind::Custom(backend) => backend.submit(job).await,
        };
        if let Err(error) = &submitted {
            span.fail(error);
            let trace_id = job.context.traceparent.trace_id();
            tracing::warn!(error = error as &dyn Error, id = %job.id, %trace_id, "job refused");
        }
        submitted
    }

    fn system(&self) -> System {
        match self.0 {
            #[cfg(feature = "jetstream")]
            Kind::JetStream(_) => System::Nats,
            #[cfg(feature = "embedded")]
            Kind::Embedded(_) => System::Embedded,
            #[cfg(feature = "custom")]
            Kind::Custom(_) => System::Embedded,
        }
    }
}

//! The role of the web service: it submits jobs and can do nothing else.

use std::{error::Error, sync::Arc};

use prometheus_client::registry::Registry;
use protocol::{Job, JobContext};
use tokio::time::Instant;

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
    metrics::{self, Duplicates},
    spans::{self, System},
};

/// Submits jobs. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Submitter {
    kind: Kind,
    system: System,
    /// Shared, because a server clones the submitter for each request.
    pub(crate) metrics: Arc<metrics::SubmitterMetrics>,
}

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
    /// Cancel safe: it does not wait for the queue.
    ///
    /// # Errors
    ///
    /// If `options` can never lead to a connection, such as an invalid address.
    #[cfg(feature = "jetstream")]
    pub async fn connect(options: &JetStreamOptions) -> Result<(Self, Driver), ConnectError> {
        let (submitter, driver) = jetstream::Submitter::connect(options).await?;
        let kind = Kind::JetStream(Arc::new(submitter));
        Ok((Self::of(kind, System::Nats, &Duplicates::default()), driver))
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn embedded(queue: embedded::Queue, duplicates: &Duplicates) -> Self {
        Self::of(Kind::Embedded(queue), System::Embedded, duplicates)
    }

    /// A submitter over a queue of another kind.
    #[cfg(feature = "custom")]
    #[must_use]
    pub fn custom(backend: Arc<dyn custom::Backend>) -> Self {
        Self::of(
            Kind::Custom(backend),
            System::Embedded,
            &Duplicates::default(),
        )
    }

    fn of(kind: Kind, system: System, duplicates: &Duplicates) -> Self {
        let metrics = Arc::new(metrics::SubmitterMetrics::new(duplicates));
        Self {
            kind,
            system,
            metrics,
        }
    }

    /// Shows in `registry` what the submitter measures.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        self.metrics.duplicates.register(registry);
        match &self.kind {
            #[cfg(feature = "jetstream")]
            Kind::JetStream(submitter) => {
                registry.register_collector(Box::new(submitter.connections()));
            }
            #[cfg(feature = "embedded")]
            Kind::Embedded(_) => {}
            #[cfg(feature = "custom")]
            Kind::Custom(_) => {}
        }
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
        let span = spans::submit(self.system, job);
        let job = &Job {
            context: JobContext {
                traceparent: span.traceparent(),
                ..job.context
            },
            ..job.clone()
        };
        let start = Instant::now();
        let submitted = match &self.kind {
            #[cfg(feature = "jetstream")]
            Kind::JetStream(submitter) => submitter.submit(job).await,
            #[cfg(feature = "embedded")]
            Kind::Embedded(queue) => queue.submit(job).await,
            #[cfg(feature = "custom")]
            Kind::Custom(backend) => backend
                .submit(job)
                .await
                .map(|()| crate::stored::Stored::New),
        };
        match submitted {
            Ok(stored) => {
                self.metrics.submitted(start.elapsed(), stored);
                Ok(())
            }
            Err(error) => {
                span.fail(&error);
                let trace_id = job.context.traceparent.trace_id();
                tracing::warn!(error = &error as &dyn Error, id = %job.id, %trace_id, "job refused");
                Err(error)
            }
        }
    }
}

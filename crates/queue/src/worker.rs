//! The role of the calculator: it takes jobs, publishes their events and acknowledges them.

use std::{convert::Infallible, num::NonZeroUsize, sync::Arc};

use prometheus_client::registry::Registry;
use protocol::{Audience, Event, Job, JobContext, Lane};
use tokio::time::Instant;
use trace::Span;

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
    error::PublishError,
    metrics::{self, Duplicates, Shown},
    spans::{self, System},
    taken::Taken,
};

/// Takes jobs and publishes events. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Worker {
    kind: Kind,
    system: System,
    pub(crate) metrics: metrics::WorkerMetrics,
}

#[derive(Debug, Clone)]
enum Kind {
    #[cfg(feature = "jetstream")]
    JetStream(Arc<jetstream::Worker>),
    #[cfg(feature = "embedded")]
    Embedded(embedded::Queue),
    #[cfg(feature = "custom")]
    Custom(Arc<dyn custom::Backend>),
}

impl Worker {
    /// A worker over JetStream, as the queue's user `calculator`. It connects in the background, and
    /// again whenever the connection is lost.
    ///
    /// Cancel safe: it does not wait for the queue.
    ///
    /// # Errors
    ///
    /// If `options` can never lead to a connection, such as an invalid address.
    #[cfg(feature = "jetstream")]
    pub async fn connect(options: &JetStreamOptions) -> Result<(Self, Driver), ConnectError> {
        let metrics = metrics::WorkerMetrics::new(&Duplicates::default());
        let malformed_jobs = metrics.malformed_jobs.clone();
        let (worker, driver) = jetstream::Worker::connect(options, malformed_jobs).await?;
        let worker = Self {
            kind: Kind::JetStream(Arc::new(worker)),
            system: System::Nats,
            metrics,
        };
        Ok((worker, driver))
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn embedded(queue: embedded::Queue, duplicates: &Duplicates) -> Self {
        Self {
            kind: Kind::Embedded(queue),
            system: System::Embedded,
            metrics: metrics::WorkerMetrics::new(duplicates),
        }
    }

    /// A worker over a queue of another kind.
    #[cfg(feature = "custom")]
    #[must_use]
    pub fn custom(backend: Arc<dyn custom::Backend>) -> Self {
        Self {
            kind: Kind::Custom(backend),
            system: System::Embedded,
            metrics: metrics::WorkerMetrics::new(&Duplicates::default()),
        }
    }

    /// Shows in `registry` what the worker measures, and what the queue holds, as long as that is known.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        self.metrics.duplicates.register(registry);
        match &self.kind {
            #[cfg(feature = "jetstream")]
            Kind::JetStream(worker) => {
                registry.register_collector(Box::new(worker.connections()));
                registry.register_collector(Box::new(Shown(worker.holding())));
            }
            #[cfg(feature = "embedded")]
            Kind::Embedded(queue) => {
                registry.register_collector(Box::new(Shown(queue.holding())));
            }
            #[cfg(feature = "custom")]
            Kind::Custom(_) => {}
        }
    }

    /// The jobs of one lane, for one loop that takes them.
    #[must_use]
    pub fn jobs(&self, lane: Lane) -> Jobs {
        let kind = match &self.kind {
            #[cfg(feature = "jetstream")]
            Kind::JetStream(worker) => JobsKind::JetStream(Box::new(worker.jobs(lane))),
            #[cfg(feature = "embedded")]
            Kind::Embedded(queue) => JobsKind::Embedded(queue.jobs(lane)),
            #[cfg(feature = "custom")]
            Kind::Custom(backend) => JobsKind::Custom(Arc::clone(backend), lane),
        };
        Jobs {
            kind,
            system: self.system,
            metrics: self.metrics.clone(),
        }
    }

    /// Publishes an event and returns once the log has stored it, however long that takes. An event
    /// that is published twice is stored once. `context` travels with it to the readers.
    ///
    /// Not cancel safe: if the future is dropped, the event may or may not be stored. It is safe to
    /// publish it again.
    ///
    /// # Errors
    ///
    /// [`PublishError`] if trying again cannot help.
    pub async fn publish(
        &self,
        audience: &Audience,
        event: &Event,
        context: JobContext,
    ) -> Result<(), PublishError> {
        let span = spans::publish(self.system, audience, event, context);
        let context = JobContext {
            traceparent: span.traceparent(),
            ..context
        };
        let start = Instant::now();
        let published = match &self.kind {
            #[cfg(feature = "jetstream")]
            Kind::JetStream(worker) => worker.publish(audience, event, context).await,
            #[cfg(feature = "embedded")]
            Kind::Embedded(queue) => Ok(queue.publish(audience, event, context).await),
            #[cfg(feature = "custom")]
            Kind::Custom(backend) => backend
                .publish(audience, event, context)
                .await
                .map(|()| crate::stored::Stored::New),
        };
        match published {
            Ok(stored) => {
                self.metrics.published(start.elapsed(), stored);
                Ok(())
            }
            Err(error) => {
                span.fail(&error);
                Err(error)
            }
        }
    }
}

/// The jobs of one lane.
#[derive(Debug)]
pub struct Jobs {
    kind: JobsKind,
    system: System,
    metrics: metrics::WorkerMetrics,
}

#[derive(Debug)]
enum JobsKind {
    #[cfg(feature = "jetstream")]
    JetStream(Box<jetstream::Jobs>),
    #[cfg(feature = "embedded")]
    Embedded(embedded::Jobs),
    #[cfg(feature = "custom")]
    Custom(Arc<dyn custom::Backend>, Lane),
}

impl Jobs {
    /// Takes the next job, and waits until one arrives. `idle` says how many jobs the
    /// caller could take now, this one included: the queue is asked for at most that many.
    ///
    /// Cancel safe: if the future is dropped, no job is lost.
    pub async fn take(&mut self, idle: NonZeroUsize) -> Delivery {
        match &mut self.kind {
            #[cfg(feature = "jetstream")]
            JobsKind::JetStream(jobs) => {
                let taken = jobs.take(idle).await;
                self.deliver(taken, |acker| Acker::JetStream(Box::new(acker)))
            }
            #[cfg(feature = "embedded")]
            JobsKind::Embedded(jobs) => {
                let taken = jobs.take().await;
                self.deliver(taken, Acker::Embedded)
            }
            #[cfg(feature = "custom")]
            JobsKind::Custom(backend, lane) => {
                let taken = backend.take(*lane, idle).await.into();
                self.deliver(taken, Acker::Custom)
            }
        }
    }

    fn deliver<A>(&self, taken: Taken<A>, acker: impl FnOnce(A) -> Acker) -> Delivery {
        self.metrics.taken(taken.job.lane(), taken.attempt);
        Delivery {
            job: taken.job,
            attempt: taken.attempt,
            system: self.system,
            acker: acker(taken.acker),
        }
    }
}

/// A job that was taken and not acknowledged yet. If it is dropped without an ack, the queue delivers
/// the job again.
#[derive(Debug)]
pub struct Delivery {
    /// The job.
    pub job: Job,
    /// How many times the job was delivered, this time included.
    pub attempt: u64,
    system: System,
    acker: Acker,
}

#[derive(Debug)]
enum Acker {
    #[cfg(feature = "jetstream")]
    JetStream(Box<jetstream::Acker>),
    #[cfg(feature = "embedded")]
    Embedded(embedded::Acker),
    #[cfg(feature = "custom")]
    Custom(Box<dyn custom::Acker>),
}

impl Delivery {
    /// The span of the work on the job, which ends when it is dropped. That the job waited is recorded with
    /// it.
    #[must_use]
    pub fn working(&self) -> Span {
        spans::work(self.system, &self.job, self.attempt)
    }

    /// Acknowledges the job: it is done and all of its events are stored.
    ///
    /// Not cancel safe: if the future is dropped, the job may be delivered again. That does no harm.
    pub async fn ack(self) {
        match self.acker {
            #[cfg(feature = "jetstream")]
            Acker::JetStream(acker) => acker.ack().await,
            #[cfg(feature = "embedded")]
            Acker::Embedded(acker) => acker.ack().await,
            #[cfg(feature = "custom")]
            Acker::Custom(acker) => acker.ack().await,
        }
    }

    /// Tells the queue at intervals that the job is still being worked on, so that it is not delivered to
    /// anyone else.
    ///
    /// Cancel safe: it never ends by itself, and is ended by dropping the future.
    pub async fn keep_in_progress(&self) -> Infallible {
        match &self.acker {
            #[cfg(feature = "jetstream")]
            Acker::JetStream(acker) => acker.keep_in_progress().await,
            #[cfg(feature = "embedded")]
            Acker::Embedded(_) => std::future::pending().await,
            #[cfg(feature = "custom")]
            Acker::Custom(acker) => acker.keep_in_progress().await,
        }
    }

    /// Gives the job back, so that it is delivered again at once.
    ///
    /// Cancel safe: if the future is dropped, the job is still delivered again, perhaps later.
    pub async fn nak(self) {
        match self.acker {
            #[cfg(feature = "jetstream")]
            Acker::JetStream(acker) => acker.nak().await,
            #[cfg(feature = "embedded")]
            Acker::Embedded(acker) => drop(acker),
            #[cfg(feature = "custom")]
            Acker::Custom(acker) => acker.nak().await,
        }
    }
}

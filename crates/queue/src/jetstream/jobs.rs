//! Taking the jobs of one lane from the stream JOBS, and acknowledging them.

use std::{convert::Infallible, error::Error, num::NonZeroUsize, sync::Arc, time::Duration};

use async_nats::jetstream::{
    AckKind, Message,
    consumer::{self, pull},
};
use futures_util::StreamExt;
use prometheus_client::metrics::counter::Counter;
use protocol::{Audience, Event, Job, JobContext, Lane, TraceParent, event::Body};
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, interval_at, sleep_until},
};
use uuid::Uuid;

use super::{headers, link::Connection, publisher::Publisher};
use crate::{backoff::Backoff, error::PublishError, limits::SIGNS_OF_LIFE, taken::Taken};

/// The durable consumer of a lane.
pub(super) type Consumer = consumer::Consumer<pull::Config>;

/// How long the server keeps a request for jobs. The next request follows.
const REQUEST_EXPIRES: Duration = Duration::from_secs(2);
/// How long after that its end may take to arrive. Otherwise the request is lost: in a cluster, it waits at one
/// node, and that node may hang.
const REQUEST_OVERDUE: Duration = Duration::from_secs(1);

/// The jobs of one lane, over whatever connection there is.
pub(crate) struct Jobs {
    lane: Lane,
    consumer: watch::Receiver<Option<Consumer>>,
    /// The request for jobs that is under way.
    request: Option<Request>,
    backoff: Backoff,
    /// Publishes the failure of a job that cannot be read.
    publisher: Publisher,
    acks: Acks,
    malformed: Counter,
}

/// A request for jobs.
struct Request {
    jobs: pull::Batch,
    /// The request ends with its connection.
    connection: Connection,
    overdue_at: Instant,
}

/// The data that the ackers of one lane share.
#[derive(Debug, Clone)]
pub(super) struct Acks {
    /// A job is delivered again after this time without a sign of life.
    pub(super) wait: Duration,
    /// Notified of each ack.
    pub(super) acked: Arc<Notify>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs")
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

impl Jobs {
    pub(super) fn new(
        lane: Lane,
        consumer: watch::Receiver<Option<Consumer>>,
        publisher: Publisher,
        acks: Acks,
        malformed: Counter,
    ) -> Self {
        Self {
            lane,
            consumer,
            request: None,
            backoff: Backoff::default(),
            publisher,
            acks,
            malformed,
        }
    }

    pub(crate) async fn take(&mut self, idle: NonZeroUsize) -> Taken<Acker> {
        loop {
            match self.next(idle).await {
                Ok(Some(taken)) => {
                    self.backoff.reset();
                    return taken;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, lane = self.lane.name(), "cannot take jobs, trying again");
                    self.request = None;
                    self.backoff.wait().await;
                }
            }
        }
    }

    /// Takes one step towards the next job, and returns the job if it has come.
    async fn next(
        &mut self,
        idle: NonZeroUsize,
    ) -> Result<Option<Taken<Acker>>, async_nats::Error> {
        let request = match &mut self.request {
            Some(request) => request,
            None => {
                let consumer = self.declared().await;
                let connection = self.publisher.link().connected().await;
                let batch = consumer
                    .batch()
                    .max_messages(idle.get())
                    .expires(REQUEST_EXPIRES);
                self.request.insert(Request {
                    jobs: batch.messages().await?,
                    connection,
                    overdue_at: Instant::now() + REQUEST_EXPIRES + REQUEST_OVERDUE,
                })
            }
        };
        let message = tokio::select! {
            // A job that is here is taken, however long that took.
            biased;
            message = request.jobs.next() => message,
            () = request.connection.clone().lost() => None,
            () = sleep_until(request.overdue_at) => None,
        };
        match message {
            Some(message) => Ok(self.taken(message?).await),
            None => {
                self.request = None;
                Ok(None)
            }
        }
    }

    /// The lane's consumer, as soon as it has been declared. Over the next connection it is used before it is
    /// declared again, since that needs a leader of the whole cluster, and taking jobs does not.
    async fn declared(&mut self) -> Consumer {
        let declared = self.consumer.wait_for(Option::is_some).await;
        match declared.ok().and_then(|consumer| consumer.clone()) {
            Some(consumer) => consumer,
            // The driver is gone: the process is ending.
            None => std::future::pending().await,
        }
    }

    async fn taken(&self, message: Message) -> Option<Taken<Acker>> {
        let attempt = match message.info() {
            Ok(info) => u64::try_from(info.delivered).expect("the server counts from 1"),
            Err(error) => {
                tracing::error!(%error, "skipped job without delivery information");
                return None;
            }
        };
        let acker = Acker {
            message,
            acks: self.acks.clone(),
        };
        let headers = acker.message.headers.as_ref();
        let traceparent = headers
            .and_then(headers::traceparent)
            .unwrap_or_else(TraceParent::random);
        match Job::decode(&acker.message.payload, traceparent) {
            Ok(job) => Some(Taken {
                job,
                attempt,
                acker,
            }),
            Err(error) => {
                let trace_id = traceparent.trace_id();
                tracing::error!(%error, %trace_id, "discarded malformed job");
                self.malformed.inc();
                if let Some(malformed) = MalformedJob::parse(&acker.message.payload) {
                    // If even that cannot be published, the job has no end that a client could see.
                    if let Err(error) = malformed.fail(&self.publisher, traceparent).await {
                        tracing::error!(error = &error as &dyn Error, %trace_id, "failure not published");
                    }
                }
                acker.end(AckKind::Term).await;
                None
            }
        }
    }
}

/// The readable part of a malformed job.
#[derive(Debug)]
struct MalformedJob {
    id: Uuid,
    n: u64,
    audience: Audience,
}

impl MalformedJob {
    /// `None` if not even the id can be read. A channel or an n that cannot be read is left out.
    fn parse(payload: &[u8]) -> Option<Self> {
        let job: Value = serde_json::from_slice(payload).ok()?;
        let client = job["client"].as_str().and_then(|text| text.parse().ok());
        Some(Self {
            id: job["id"].as_str()?.parse().ok()?,
            n: job["n"].as_u64().unwrap_or_default(),
            audience: client.map_or(Audience::Public, Audience::Client),
        })
    }

    async fn fail(
        self,
        publisher: &Publisher,
        traceparent: TraceParent,
    ) -> Result<(), PublishError> {
        let reason = "The job could not be read. Send it again.".into();
        let event = Event {
            id: self.id,
            n: self.n,
            body: Body::Failed { reason },
        };
        let context = JobContext::now(traceparent);
        publisher.publish(&self.audience, &event, context).await?;
        Ok(())
    }
}

/// Acknowledges one delivery. It does no harm if an ack gets lost: the job is delivered again, and
/// its events are stored once.
#[derive(Debug)]
pub(crate) struct Acker {
    message: Message,
    acks: Acks,
}

impl Acker {
    pub(crate) async fn ack(self) {
        self.end(AckKind::Ack).await;
    }

    pub(crate) async fn keep_in_progress(&self) -> Infallible {
        let period = self.acks.wait / SIGNS_OF_LIFE;
        let mut due = interval_at(Instant::now() + period, period);
        loop {
            due.tick().await;
            self.send(AckKind::Progress).await;
        }
    }

    pub(crate) async fn nak(self) {
        self.send(AckKind::Nak(None)).await;
    }

    /// Tells the queue that the job must not be delivered again.
    async fn end(&self, kind: AckKind) {
        self.send(kind).await;
        self.acks.acked.notify_one();
    }

    async fn send(&self, kind: AckKind) {
        if let Err(error) = self.message.ack_with(kind).await {
            let trace_id = headers::trace_id(self.message.headers.as_ref());
            tracing::warn!(%error, ?kind, trace_id, "job not acknowledged");
        }
    }
}

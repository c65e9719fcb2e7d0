//! The JOBS stream: a work queue with two lanes.

use std::{num::NonZeroUsize, time::Duration};

use async_nats::jetstream::{
    self, AckKind, Message,
    consumer::{AckPolicy, Consumer, pull},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use futures_util::StreamExt;

use super::link::{Connection, Declaration, Link};
use crate::{
    Job, Lane,
    backoff::Backoff,
    queue::{Delivery, JOBS_LIMIT, Receipt as AnyReceipt},
    recent::DEDUPLICATION_WINDOW,
};

const STREAM: &str = "JOBS";

/// After how long without a word from its worker a job is delivered to another one.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// How long the server keeps a request for jobs. Nothing depends on it: the next one follows.
const REQUEST_EXPIRES: Duration = Duration::from_secs(30);

fn stream() -> Config {
    Config {
        name: STREAM.into(),
        subjects: [Lane::Small, Lane::Large]
            .map(|lane| lane.subject().into())
            .into(),
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_messages: JOBS_LIMIT.into(),
        duplicate_window: DEDUPLICATION_WINDOW,
        ..Config::default()
    }
}

fn consumer(lane: Lane) -> pull::Config {
    pull::Config {
        durable_name: Some(lane.name().into()),
        filter_subject: lane.subject().into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        // No limit of deliveries: a message over such a limit would stay in a work queue for ever.
        // The worker counts them and ends the job.
        max_ack_pending: -1,
        ..pull::Config::default()
    }
}

/// One lane, over whatever connection there is.
#[derive(Debug)]
pub(in crate::queue) struct JetStreamJobs {
    context: jetstream::Context,
    link: Link,
    lane: Lane,
    declaration: Declaration,
    backoff: Backoff,
    open: Option<Open>,
}

/// The lane as declared over one connection, and the request for jobs that is under way.
struct Open {
    connection: Connection,
    consumer: Consumer<pull::Config>,
    request: Option<pull::Batch>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl JetStreamJobs {
    pub(super) fn new(context: jetstream::Context, link: Link, lane: Lane) -> Self {
        let declaration = link.declaration();
        Self {
            context,
            link,
            lane,
            declaration,
            backoff: Backoff::default(),
            open: None,
        }
    }

    pub(in crate::queue) async fn take(&mut self, idle: NonZeroUsize) -> Delivery {
        loop {
            match self.next(idle).await {
                Ok(Some(delivery)) => {
                    self.backoff.reset();
                    return delivery;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, lane = self.lane.name(), "cannot take jobs, trying again");
                    self.close();
                    self.backoff.wait().await;
                }
            }
        }
    }

    /// The next message, if the step at hand leads to one.
    async fn next(&mut self, idle: NonZeroUsize) -> Result<Option<Delivery>, async_nats::Error> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let opened = self.declare().await?;
                self.declaration.set(true);
                self.open.insert(opened)
            }
        };
        let request = match &mut open.request {
            Some(request) => request,
            None => {
                let batch = open
                    .consumer
                    .batch()
                    .max_messages(idle.get())
                    .expires(REQUEST_EXPIRES);
                open.request.insert(batch.messages().await?)
            }
        };
        let message = tokio::select! {
            message = request.next() => message,
            // A request dies with its connection, and the server may have lost its disk.
            () = open.connection.clone().lost() => {
                self.close();
                return Ok(None);
            }
        };
        match message {
            Some(message) => Ok(delivery(message?).await),
            None => {
                open.request = None;
                Ok(None)
            }
        }
    }

    async fn declare(&self) -> Result<Open, async_nats::Error> {
        let connection = self.link.connected().await;
        self.context.create_or_update_stream(stream()).await?;
        let consumer = self
            .context
            .create_consumer_on_stream(consumer(self.lane), STREAM)
            .await?;
        Ok(Open {
            connection,
            consumer,
            request: None,
        })
    }

    fn close(&mut self) {
        self.open = None;
        self.declaration.set(false);
    }
}

async fn delivery(message: Message) -> Option<Delivery> {
    let attempt = match message.info() {
        Ok(info) => u64::try_from(info.delivered).unwrap_or(u64::MAX),
        Err(error) => {
            tracing::error!(%error, "job without delivery information passed over");
            return None;
        }
    };
    match serde_json::from_slice::<Job>(&message.payload) {
        Ok(job) => Some(Delivery {
            job,
            attempt,
            receipt: AnyReceipt::JetStream(Box::new(Receipt(message))),
        }),
        Err(error) => {
            tracing::error!(%error, "job that cannot be read thrown away");
            Receipt(message).send(AckKind::Term).await;
            None
        }
    }
}

/// What answers for one delivery. An answer that gets lost is harmless: the job comes again, and
/// its events are stored once.
#[derive(Debug)]
pub(in crate::queue) struct Receipt(Message);

impl Receipt {
    pub(in crate::queue) async fn ack(self) {
        self.send(AckKind::Ack).await;
    }

    pub(in crate::queue) async fn in_progress(&self) {
        self.send(AckKind::Progress).await;
    }

    pub(in crate::queue) async fn nak(self) {
        self.send(AckKind::Nak(None)).await;
    }

    async fn send(&self, kind: AckKind) {
        if let Err(error) = self.0.ack_with(kind).await {
            tracing::warn!(%error, ?kind, "job not acknowledged");
        }
    }
}

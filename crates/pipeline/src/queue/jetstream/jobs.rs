//! The JOBS stream: a work queue with two lanes.
//!
//! To JetStream it is a stream of limits, from which the jobs that are done are swept many at a
//! time. Its own work queues remove each message with its ack, and where an ack means on disk every
//! removal is one more write to wait for (docs/adr/0013).

use std::{convert::Infallible, num::NonZeroUsize, pin::Pin, sync::Arc, time::Duration};

use async_nats::jetstream::{
    self, AckKind, Message,
    consumer::{AckPolicy, Consumer, pull},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use futures_util::StreamExt;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

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

/// How long a job that is done stays in the stream, while its lane is being taken from.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How long the server keeps a request for jobs. Nothing depends on it: the next one follows.
const REQUEST_EXPIRES: Duration = Duration::from_secs(30);

fn stream() -> Config {
    Config {
        name: STREAM.into(),
        subjects: [Lane::Small, Lane::Large]
            .map(|lane| lane.subject().into())
            .into(),
        retention: RetentionPolicy::Limits,
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
        // No limit of deliveries: a message over such a limit would stay in the stream for ever.
        // The worker counts them and ends the job.
        max_ack_pending: -1,
        ..pull::Config::default()
    }
}

/// One lane, over whatever connection there is.
pub(in crate::queue) struct JetStreamJobs {
    context: jetstream::Context,
    link: Link,
    lane: Lane,
    declaration: Declaration,
    backoff: Backoff,
    open: Option<Open>,
    /// Told of each ack.
    acked: Arc<Notify>,
    /// Removes what is done. Kept here and not begun anew by each call, which may be dropped.
    sweeping: Pin<Box<dyn Future<Output = Infallible> + Send>>,
}

/// The lane as declared over one connection, and the request for jobs that is under way.
struct Open {
    connection: Connection,
    consumer: Consumer<pull::Config>,
    request: Option<pull::Batch>,
}

impl std::fmt::Debug for JetStreamJobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JetStreamJobs")
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

impl JetStreamJobs {
    pub(super) fn new(context: jetstream::Context, link: Link, lane: Lane) -> Self {
        let declaration = link.declaration();
        let acked = Arc::new(Notify::new());
        // What the process before this one did and had no time to sweep.
        acked.notify_one();
        Self {
            sweeping: Box::pin(sweep(
                context.clone(),
                link.clone(),
                lane,
                Arc::clone(&acked),
            )),
            context,
            link,
            lane,
            declaration,
            backoff: Backoff::default(),
            open: None,
            acked,
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
            never = &mut self.sweeping => match never {},
        };
        match message {
            Some(message) => Ok(delivery(message?, &self.acked).await),
            None => {
                open.request = None;
                Ok(None)
            }
        }
    }

    async fn declare(&mut self) -> Result<Open, async_nats::Error> {
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

/// Removes the jobs of `lane` that are done from the stream, for ever.
async fn sweep(
    context: jetstream::Context,
    link: Link,
    lane: Lane,
    acked: Arc<Notify>,
) -> Infallible {
    loop {
        acked.notified().await;
        sleep_until(Instant::now() + SWEEP_INTERVAL).await;
        let connection = link.connected().await;
        let swept = tokio::select! {
            swept = sweep_once(&context, lane) => swept,
            () = connection.lost() => Err("connection lost".into()),
        };
        if let Err(error) = swept {
            tracing::debug!(%error, lane = lane.name(), "cannot sweep, trying again");
            acked.notify_one();
        }
    }
}

async fn sweep_once(context: &jetstream::Context, lane: Lane) -> Result<(), async_nats::Error> {
    let stream = context.get_stream_no_info(STREAM).await?;
    let consumer: Consumer<pull::Config> = stream.get_consumer(lane.name()).await?;
    // All of the lane's jobs up to here are acknowledged, by whichever calculator had them.
    let floor = consumer.cached_info().ack_floor.stream_sequence;
    // A purge ends before the sequence that it is given.
    stream
        .purge()
        .filter(lane.subject())
        .sequence(floor + 1)
        .await?;
    Ok(())
}

async fn delivery(message: Message, acked: &Arc<Notify>) -> Option<Delivery> {
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
            receipt: AnyReceipt::JetStream(Box::new(Receipt {
                message,
                acked: Arc::clone(acked),
            })),
        }),
        Err(error) => {
            tracing::error!(%error, "job that cannot be read thrown away");
            Receipt {
                message,
                acked: Arc::clone(acked),
            }
            .end(AckKind::Term)
            .await;
            None
        }
    }
}

/// What answers for one delivery. An answer that gets lost is harmless: the job comes again, and
/// its events are stored once.
#[derive(Debug)]
pub(in crate::queue) struct Receipt {
    message: Message,
    acked: Arc<Notify>,
}

impl Receipt {
    pub(in crate::queue) async fn ack(self) {
        self.end(AckKind::Ack).await;
    }

    pub(in crate::queue) async fn in_progress(&self) {
        self.send(AckKind::Progress).await;
    }

    pub(in crate::queue) async fn nak(self) {
        self.send(AckKind::Nak(None)).await;
    }

    /// Says that the job will not come again.
    async fn end(&self, kind: AckKind) {
        self.send(kind).await;
        self.acked.notify_one();
    }

    async fn send(&self, kind: AckKind) {
        if let Err(error) = self.message.ack_with(kind).await {
            tracing::warn!(%error, ?kind, "job not acknowledged");
        }
    }
}

//! Working on jobs: declaring the stream JOBS, and publishing events to the stream RESULTS.

use std::{convert::Infallible, sync::Arc};

use async_nats::jetstream::{
    self,
    consumer::{self, AckPolicy, pull},
    stream::{Config, DirectGetErrorKind, DiscardPolicy, RetentionPolicy, StorageType},
};
use prometheus_client::metrics::counter::Counter;
use protocol::{Audience, Event, JobContext, Lane};
use tokio::{
    sync::{Notify, watch},
    time::Duration,
};

use super::{
    jobs::{Acks, Consumer, Jobs},
    link::{self, Connections},
    options::JetStreamOptions,
    publisher::Publisher,
    sampled::Sampled,
    sweeper,
};
use crate::{
    Driver,
    backoff::Backoff,
    error::PublishError,
    limits::{JOB_ID_WINDOW, MAX_JOBS_PER_LANE},
    metrics::{self, Holding},
    stored::Stored,
    subjects,
};

const STREAM: &str = "JOBS";

/// The most messages of one lane.
const MAX_MESSAGES_PER_LANE: i64 = MAX_JOBS_PER_LANE as i64 + sweeper::MAX_DONE_JOBS.cast_signed();

/// The stream of jobs. Its retention policy is `Limits`, and done jobs are swept from it many at a time.
/// JetStream's own work queues remove each message with its ack, and if an ack means "on disk", every
/// removal is one more write to wait for (docs/adr/0013).
fn stream(replicas: u8) -> Config {
    Config {
        name: STREAM.into(),
        subjects: Lane::ALL.map(|lane| subjects::of_lane(lane).into()).into(),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        // Each lane has its own limit, of jobs that wait and of those that are kept after they are done.
        max_messages_per_subject: MAX_MESSAGES_PER_LANE,
        discard_new_per_subject: true,
        duplicate_window: JOB_ID_WINDOW,
        // The oldest job is read by a direct get, for its age.
        allow_direct: true,
        num_replicas: replicas.into(),
        ..Config::default()
    }
}

fn consumer(lane: Lane, ack_wait: Duration) -> pull::Config {
    pull::Config {
        durable_name: Some(lane.name().into()),
        filter_subject: subjects::of_lane(lane).into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait,
        // There is no limit of deliveries: a message beyond such a limit would stay in the stream
        // forever. The calculator counts the deliveries and ends the job.
        max_ack_pending: -1,
        ..pull::Config::default()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Worker {
    publisher: Publisher,
    lanes: Lanes,
    replicas: u8,
    job_id_window: Duration,
    ack_wait: Duration,
    malformed: Counter,
}

/// The state of each lane, which the driver and the takers of jobs share.
#[derive(Debug, Clone)]
pub(crate) struct Lanes {
    small: LaneState,
    large: LaneState,
}

#[derive(Debug, Clone)]
struct LaneState {
    /// The lane's consumer, once it has been declared.
    consumer: watch::Sender<Option<Consumer>>,
    /// Notified of each ack.
    acked: Arc<Notify>,
    /// The jobs in the lane.
    holding: Sampled<Holding>,
}

impl LaneState {
    fn new() -> Self {
        let acked = Arc::new(Notify::new());
        // The process before this one may have left done jobs that were not swept.
        acked.notify_one();
        Self {
            consumer: watch::Sender::new(None),
            acked,
            holding: Sampled::unknown(),
        }
    }
}

impl Lanes {
    fn get(&self, lane: Lane) -> &LaneState {
        match lane {
            Lane::Small => &self.small,
            Lane::Large => &self.large,
        }
    }
}

impl metrics::Lanes for Lanes {
    fn holding(&self, lane: Lane) -> Option<Holding> {
        self.get(lane).holding.latest()
    }
}

impl Worker {
    pub(crate) async fn connect(
        options: &JetStreamOptions,
        malformed: Counter,
    ) -> Result<(Self, Driver), async_nats::ConnectError> {
        let (client, link) = link::connect(options, "calculator").await?;
        let worker = Self {
            publisher: Publisher::new(client, link),
            lanes: Lanes {
                small: LaneState::new(),
                large: LaneState::new(),
            },
            replicas: options.replicas,
            job_id_window: options.job_id_window,
            ack_wait: options.ack_wait,
            malformed,
        };
        let driver = worker.clone().driver();
        Ok((worker, driver))
    }

    /// A driver that declares what the role needs, and sweeps.
    fn driver(self) -> Driver {
        Driver::new(async move |ready| self.drive(&ready).await)
    }

    pub(crate) fn connections(&self) -> Connections {
        Connections::of([self.publisher.link().clone()])
    }

    /// The jobs in each lane, for as long as the worker is connected.
    pub(crate) fn holding(&self) -> Lanes {
        self.lanes.clone()
    }

    pub(crate) fn jobs(&self, lane: Lane) -> Jobs {
        let state = self.lanes.get(lane);
        Jobs::new(
            lane,
            state.consumer.subscribe(),
            self.publisher.clone(),
            Acks {
                wait: self.ack_wait,
                acked: Arc::clone(&state.acked),
            },
            self.malformed.clone(),
        )
    }

    pub(crate) async fn publish(
        &self,
        audience: &Audience,
        event: &Event,
        context: JobContext,
    ) -> Result<Stored, PublishError> {
        self.publisher.publish(audience, event, context).await
    }

    /// Declares the stream and its consumers over every connection, and sweeps.
    async fn drive(&self, ready: &watch::Sender<bool>) -> Infallible {
        let mut backoff = Backoff::default();
        loop {
            let connection = self.publisher.link().connected().await;
            let failure = tokio::select! {
                failed = self.declare_and_sweep(ready) => failed.err(),
                // The server may come back without its disk, so everything is declared again.
                () = connection.lost() => None,
            };
            ready.send_replace(false);
            backoff.after(failure).await;
        }
    }

    async fn declare_and_sweep(
        &self,
        ready: &watch::Sender<bool>,
    ) -> Result<Infallible, async_nats::Error> {
        let context = self.publisher.context();
        link::check_server(&context.client())?;
        context
            .create_or_update_stream(stream(self.replicas))
            .await?;
        for lane in Lane::ALL {
            let consumer = context
                .create_consumer_on_stream(consumer(lane, self.ack_wait), STREAM)
                .await?;
            self.lanes.get(lane).consumer.send_replace(Some(consumer));
        }
        ready.send_replace(true);
        let sweep = |lane| self.sweep(context, lane);
        let sample = |lane| self.sample(context, lane);
        tokio::select! {
            failed = sweep(Lane::Small) => failed,
            failed = sweep(Lane::Large) => failed,
            never = sample(Lane::Small) => match never {},
            never = sample(Lane::Large) => match never {},
        }
    }

    async fn sweep(
        &self,
        context: &jetstream::Context,
        lane: Lane,
    ) -> Result<Infallible, async_nats::Error> {
        let acked = &self.lanes.get(lane).acked;
        sweeper::sweep(context, STREAM, lane, self.job_id_window, acked).await
    }

    /// Follows what the lane holds, forever.
    async fn sample(&self, context: &jetstream::Context, lane: Lane) -> Infallible {
        let holding = &self.lanes.get(lane).holding;
        holding.follow(|| holding_of(context, lane)).await
    }
}

async fn holding_of(
    context: &jetstream::Context,
    lane: Lane,
) -> Result<Holding, async_nats::Error> {
    let stream = context.get_stream_no_info(STREAM).await?;
    let consumer: consumer::Consumer<pull::Config> = stream.get_consumer(lane.name()).await?;
    let info = consumer.cached_info();
    let in_progress = u64::try_from(info.num_ack_pending)?;
    let oldest_us = if info.num_pending + in_progress == 0 {
        None
    } else {
        let oldest = stream
            .direct_get_builder()
            .sequence(info.ack_floor.stream_sequence + 1)
            .next_by_subject(subjects::of_lane(lane))
            .send()
            .await;
        match oldest {
            Ok(job) => Some(u64::try_from(job.time.unix_timestamp_nanos() / 1000)?),
            // It was done meanwhile.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        }
    };
    Ok(Holding {
        waiting: info.num_pending,
        in_progress,
        oldest_us,
    })
}

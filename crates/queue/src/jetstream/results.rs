//! Reading the stream RESULTS: the log of events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{
        self,
        context::{CreateStreamError, CreateStreamErrorKind},
        message::StreamMessage,
        stream::{
            self, Config, DirectGetErrorKind, DiscardPolicy, RawMessageErrorKind, RetentionPolicy,
            StorageType, Stream,
        },
    },
};
use futures_util::future::try_join_all;
use protocol::{Audience, unix_us};
use tokio::sync::{Semaphore, watch};

use super::{
    headers,
    link::{self, Connections, Link},
    options::JetStreamOptions,
    ordered_consumer::OrderedConsumer,
    sampled::Sampled,
};
use crate::{
    Driver,
    backoff::Backoff,
    log::{Answer, Entry, Held, History, Log, MAX_AGE, MAX_BYTES, Next, Retention},
    spans::System,
    subjects,
};

const STREAM: &str = "RESULTS";

/// The queue's user that reads the stream.
const USER: &str = "websocket";

/// How many bytes of events a process that starts reads into its tail, if they are of average size.
/// Sockets that come back to it then find their events in the tail.
const PRELOADED_BYTES: u64 = 48 * 1024 * 1024;

/// How many events are read from the stream at the same time, each for a socket that is behind the
/// tail. An event may be 1 MiB long.
const MAX_READS: usize = 32;

/// For how long a node that led the stream, and was then frozen or cut off, may not know that others have
/// gone on without it. They do so after 4 to 9 s, and tell it as soon as they can reach it.
const STALENESS: Duration = Duration::from_secs(15);

fn config(replicas: u8) -> Config {
    Config {
        name: STREAM.into(),
        subjects: vec![subjects::RESULTS.into()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_age: MAX_AGE,
        max_bytes: i64::try_from(MAX_BYTES).expect("512 MiB"),
        allow_direct: true,
        duplicate_window: MAX_AGE,
        num_replicas: replicas.into(),
        ..Config::default()
    }
}

/// The log behind the stream, its connections, and the driver that follows it.
pub(crate) async fn read(
    options: &JetStreamOptions,
) -> Result<(Log, Connections, Driver), async_nats::ConnectError> {
    let (client, link) = link::connect(options, USER).await?;
    let bytes = Sampled::unknown();
    let feed = Feed {
        context: jetstream::new(client),
        link,
        bytes: bytes.clone(),
        replicas: options.replicas,
    };
    // Sockets that are behind read over a connection of their own, so that they do not delay the feed.
    let (client, link) = link::connect(options, USER).await?;
    let results = Results {
        context: jetstream::new(client),
        link,
        bytes,
        reads: Semaphore::new(MAX_READS),
        staleness: staleness(options.replicas),
    };
    let connections = Connections::of([feed.link.clone(), results.link.clone()]);
    let log = Log::with_history(System::Nats, Retention::TAIL, Arc::new(results));
    let driver = driver(feed, log.clone());
    Ok((log, connections, driver))
}

/// A driver that feeds the log and removes from it what is too old.
fn driver(feed: Feed, log: Log) -> Driver {
    Driver::new(async move |ready| {
        tokio::select! {
            never = feed.run(&log, &ready) => never,
            never = log.expire() => never,
        }
    })
}

/// The stream behind a log, for what the tail no longer holds.
#[derive(Debug)]
struct Results {
    context: jetstream::Context,
    link: Link,
    /// The size of the stream.
    bytes: Sampled<u64>,
    reads: Semaphore,
    staleness: Duration,
}

/// One node knows all that it has stored.
fn staleness(replicas: u8) -> Duration {
    if replicas > 1 {
        STALENESS
    } else {
        Duration::ZERO
    }
}

impl History for Results {
    fn next_after<'a>(&'a self, audiences: &'a [Audience], position: u64) -> Answer<'a, Next> {
        Box::pin(self.until_answered(move |stream| next_after(stream, audiences, position)))
    }

    fn held(&self) -> Answer<'_, Held> {
        Box::pin(self.until_answered(held))
    }

    fn staleness(&self) -> Duration {
        self.staleness
    }

    fn bytes(&self) -> Option<u64> {
        self.bytes.latest()
    }
}

impl Results {
    async fn until_answered<T, F: Future<Output = Result<T, async_nats::Error>>>(
        &self,
        ask: impl Fn(Stream<()>) -> F,
    ) -> T {
        let _permit = self
            .reads
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let mut backoff = Backoff::default();
        loop {
            let connection = self.link.connected().await;
            let asked = async { ask(self.context.get_stream_no_info(STREAM).await?).await };
            tokio::select! {
                answer = asked => match answer {
                    Ok(answer) => return answer,
                    Err(error) => tracing::warn!(%error, "cannot read the log, trying again"),
                },
                () = connection.lost() => continue,
            }
            backoff.wait().await;
        }
    }
}

/// Feeds the tail of a log.
#[derive(Debug)]
struct Feed {
    context: jetstream::Context,
    link: Link,
    bytes: Sampled<u64>,
    replicas: u8,
}

impl Feed {
    /// Feeds the tail of `log` from the stream, forever.
    async fn run(&self, log: &Log, ready: &watch::Sender<bool>) -> Infallible {
        let mut backoff = Backoff::default();
        loop {
            let connection = self.link.connected().await;
            let failure = tokio::select! {
                failed = self.follow(log, ready) => failed.err(),
                never = self.bytes.follow(|| self.ask_bytes()) => match never {},
                // The server may come back without its disk, so the stream is declared again.
                () = connection.lost() => None,
            };
            ready.send_replace(false);
            backoff.after(failure).await;
        }
    }

    async fn ask_bytes(&self) -> Result<u64, async_nats::Error> {
        let stream = self.context.get_stream_no_info(STREAM).await?;
        Ok(stream.get_info().await?.state.bytes)
    }

    async fn follow(
        &self,
        log: &Log,
        ready: &watch::Sender<bool>,
    ) -> Result<Infallible, async_nats::Error> {
        link::check_server(&self.context.client())?;
        let state = self.declare().await?;
        let held = Held {
            first: state.first_sequence,
            last: state.last_sequence,
        };
        let Some(position) = log.connect(held, preload_position(&state)) else {
            return Err("the node that answered does not have the newest events".into());
        };
        let mut consumer = OrderedConsumer::after(&self.context, STREAM, position).await?;
        ready.send_replace(true);
        loop {
            let message = consumer.next().await?;
            let seq = message.info()?.stream_sequence;
            if let Some(entry) = entry(
                seq,
                &message.subject,
                message.headers.as_ref(),
                &message.payload,
            ) {
                log.append(entry);
            }
        }
    }

    /// Declares the stream. A new one begins at the current time, so that every place in a log that was
    /// lost lies before it: a reader that comes back with such a place is told of a gap.
    async fn declare(&self) -> Result<stream::State, CreateStreamError> {
        let config = config(self.replicas);
        match self.context.update_stream(config.clone()).await {
            Ok(info) => Ok(info.state),
            Err(error) if error.kind() == CreateStreamErrorKind::NotFound => {
                let config = Config {
                    first_sequence: Some(unix_us()),
                    ..config
                };
                let stream = self.context.create_stream(config).await?;
                Ok(stream.cached_info().state.clone())
            }
            Err(error) => Err(error),
        }
    }
}

/// The place after which a process that starts reads events into its tail.
fn preload_position(state: &stream::State) -> u64 {
    let average = state.bytes.checked_div(state.messages).unwrap_or(0).max(1);
    let held_before = state.first_sequence.saturating_sub(1);
    state
        .last_sequence
        .saturating_sub(PRELOADED_BYTES / average)
        .max(held_before)
        .min(state.last_sequence)
}

async fn held(stream: Stream<()>) -> Result<Held, async_nats::Error> {
    let state = stream.get_info().await?.state;
    Ok(Held {
        first: state.first_sequence,
        last: state.last_sequence,
    })
}

async fn next_after(
    stream: Stream<()>,
    audiences: &[Audience],
    position: u64,
) -> Result<Next, async_nats::Error> {
    let next = audiences
        .iter()
        .map(|audience| next_for(&stream, audience, position));
    let entry = try_join_all(next)
        .await?
        .into_iter()
        .flatten()
        .min_by_key(|entry| entry.seq);
    // If the very next event was found, nothing before it is missing.
    let first = match &entry {
        Some(entry) if entry.seq == position + 1 => entry.seq,
        // Ask for this afterwards: if the event after `position` is still held now, it was held
        // before, too.
        _ => held(stream).await?.first,
    };
    Ok(Next { entry, first })
}

async fn next_for(
    stream: &Stream<()>,
    audience: &Audience,
    position: u64,
) -> Result<Option<Entry>, async_nats::Error> {
    let next = stream
        .direct_get_builder()
        .sequence(position.saturating_add(1))
        .next_by_subject(subjects::of_audience(audience))
        .send()
        .await;
    match next {
        Ok(StreamMessage {
            sequence,
            subject,
            headers,
            payload,
            ..
        }) => Ok(entry(sequence, &subject, Some(&headers), &payload)),
        // Any replica may answer a direct get, even one that is behind. Only the leader knows whether there
        // is no such event.
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => {
            next_from_leader(stream, audience, position).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn next_from_leader(
    stream: &Stream<()>,
    audience: &Audience,
    position: u64,
) -> Result<Option<Entry>, async_nats::Error> {
    let next = stream
        .raw_message_builder()
        .sequence(position.saturating_add(1))
        .next_by_subject(subjects::of_audience(audience))
        .send()
        .await;
    match next {
        Ok(message) => Ok(entry(
            message.sequence,
            &message.subject,
            Some(&message.headers),
            &message.payload,
        )),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A message of the stream as an entry, or `None` if it is malformed.
fn entry(seq: u64, subject: &str, headers: Option<&HeaderMap>, payload: &[u8]) -> Option<Entry> {
    let Some(audience) = subjects::audience(subject) else {
        tracing::error!(seq, "skipped event on an unknown subject");
        return None;
    };
    let context = headers.and_then(headers::context);
    match Entry::parse(seq, audience, context, payload) {
        Ok(entry) => Some(entry),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                seq,
                trace_id = headers::trace_id(headers),
                "skipped malformed event"
            );
            None
        }
    }
}

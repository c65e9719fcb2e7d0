//! Reading the stream RESULTS: the log of events.

use std::{convert::Infallible, sync::Arc};

use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, push},
    message::StreamMessage,
    stream::{
        Config, DirectGetError, DirectGetErrorKind, DiscardPolicy, RetentionPolicy, StorageType,
        Stream,
    },
};
use futures_util::{StreamExt, future::try_join_all};
use protocol::Audience;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    link::{self, Link},
    options::JetStreamOptions,
    subjects,
};
use crate::{
    Driver,
    backoff::Backoff,
    limits::DEDUPLICATION_WINDOW,
    log::{Answer, Entry, Held, History, Log, MAX_AGE, MAX_BYTES, Next, Retention},
};

const STREAM: &str = "RESULTS";

/// The newest events, which a process holds in memory.
const TAIL: Retention = Retention {
    bytes: 64 * 1024 * 1024,
    age: MAX_AGE,
};

fn stream() -> Config {
    Config {
        name: STREAM.into(),
        subjects: vec![subjects::RESULTS.into()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_age: MAX_AGE,
        max_bytes: i64::try_from(MAX_BYTES).expect("512 MiB"),
        allow_direct: true,
        duplicate_window: DEDUPLICATION_WINDOW,
        ..Config::default()
    }
}

/// The log behind the stream, and the driver that follows it.
pub(crate) async fn read(
    options: &JetStreamOptions,
) -> Result<(Log, Driver), async_nats::ConnectError> {
    let (client, link) = link::connect(options, "websocket").await?;
    let results = Results {
        context: jetstream::new(client),
        link,
    };
    let log = Log::with_history(TAIL, Arc::new(results.clone()));
    let followed = log.clone();
    let driver = Driver::new(async move |ready| {
        tokio::select! {
            never = results.feed(&followed, &ready) => never,
            never = followed.expire() => never,
        }
    });
    Ok((log, driver))
}

/// The stream behind a log.
#[derive(Debug, Clone)]
struct Results {
    context: jetstream::Context,
    link: Link,
}

impl History for Results {
    fn next_after<'a>(&'a self, audiences: &'a [Audience], position: u64) -> Answer<'a, Next> {
        Box::pin(self.until_answered(move |stream| next_after(stream, audiences, position)))
    }

    fn held(&self) -> Answer<'_, Held> {
        Box::pin(self.until_answered(held))
    }
}

impl Results {
    async fn until_answered<T, F: Future<Output = Result<T, async_nats::Error>>>(
        &self,
        ask: impl Fn(Stream<()>) -> F,
    ) -> T {
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

    /// Feeds the tail of `log` from the stream, forever.
    async fn feed(&self, log: &Log, ready: &watch::Sender<bool>) -> Infallible {
        let mut backoff = Backoff::default();
        loop {
            let connection = self.link.connected().await;
            let failure = tokio::select! {
                failed = self.follow(log, ready) => failed.err(),
                // The server may come back without its disk, so the stream is declared again.
                () = connection.lost() => None,
            };
            ready.send_replace(false);
            backoff.after(failure).await;
        }
    }

    async fn follow(
        &self,
        log: &Log,
        ready: &watch::Sender<bool>,
    ) -> Result<Infallible, async_nats::Error> {
        let end = self
            .context
            .create_or_update_stream(stream())
            .await?
            .state
            .last_sequence;
        let head = match log.head() {
            Some(head) if head <= end => head,
            // This is the log's first connection, or the server lost its disk.
            _ => {
                log.begin(end);
                end
            }
        };
        let consumer = push::OrderedConfig {
            // Without a name of its own it would need the permission to create any consumer.
            name: Some(format!("tail-{}", Uuid::new_v4().simple())),
            deliver_subject: self.context.client().new_inbox(),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: head + 1,
            },
            ..push::OrderedConfig::default()
        };
        let consumer = self
            .context
            .create_consumer_on_stream(consumer, STREAM)
            .await?;
        let mut messages = consumer.messages().await?;
        ready.send_replace(true);
        while let Some(message) = messages.next().await {
            let message = match message {
                Ok(message) => message,
                // The client makes a new consumer and goes on.
                Err(error) if error.kind() == push::OrderedErrorKind::MissingHeartbeat => continue,
                Err(error) => return Err(error.into()),
            };
            let seq = message.info()?.stream_sequence;
            if let Some(entry) = entry(seq, &message.subject, &message.payload) {
                log.append(entry);
            }
        }
        Err("the consumer of the log ended".into())
    }
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
    // Ask for this afterwards: if the event after `position` is still held now, it was held before,
    // too.
    let first = held(stream).await?.first;
    Ok(Next { entry, first })
}

async fn next_for(
    stream: &Stream<()>,
    audience: &Audience,
    position: u64,
) -> Result<Option<Entry>, DirectGetError> {
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
            payload,
            ..
        }) => Ok(entry(sequence, &subject, &payload)),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A message of the stream as an entry, or `None` if it is malformed.
fn entry(seq: u64, subject: &str, payload: &[u8]) -> Option<Entry> {
    let Some(audience) = subjects::audience(subject) else {
        tracing::error!(seq, "skipped event on an unknown subject");
        return None;
    };
    match Entry::parse(seq, audience, payload) {
        Ok(entry) => Some(entry),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                seq,
                "skipped malformed event"
            );
            None
        }
    }
}

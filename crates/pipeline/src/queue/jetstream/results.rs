//! The RESULTS stream: the log of events.

use std::time::Duration;

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

use uuid::Uuid;

use super::link::Link;
use crate::{Audience, Log, backoff::Backoff, log::Entry, recent::DEDUPLICATION_WINDOW};

const STREAM: &str = "RESULTS";

/// How long an event is held.
pub(super) const MAX_AGE: Duration = Duration::from_secs(600);

/// The most bytes of events that are held.
const MAX_BYTES: i64 = 512 * 1024 * 1024;

fn stream() -> Config {
    Config {
        name: STREAM.into(),
        subjects: vec!["results.>".into()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_age: MAX_AGE,
        max_bytes: MAX_BYTES,
        allow_direct: true,
        duplicate_window: DEDUPLICATION_WINDOW,
        ..Config::default()
    }
}

/// The stream behind a log.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    context: jetstream::Context,
    link: Link,
}

/// What the stream holds after some place.
pub(crate) struct Read {
    /// The next event, if there is one.
    pub(crate) entry: Option<Entry>,
    /// The oldest place that is still held.
    pub(crate) first: u64,
}

impl Results {
    pub(super) fn new(context: jetstream::Context, link: Link) -> Self {
        Self { context, link }
    }

    /// The next event after `position` for one of `audiences`. Tries until the queue answers.
    pub(crate) async fn next_after(&self, audiences: &[Audience], position: u64) -> Read {
        self.until_answered(|stream| async move {
            let next = audiences
                .iter()
                .map(|audience| next_for(&stream, audience, position));
            let entry = try_join_all(next)
                .await?
                .into_iter()
                .flatten()
                .min_by_key(|entry| entry.seq);
            // Asked for afterwards: if what follows `position` is still held now, it was then.
            let first = stream.get_info().await?.state.first_sequence;
            Ok(Read { entry, first })
        })
        .await
    }

    /// The places of the first event that is held and of the last. Tries until the queue answers.
    pub(crate) async fn bounds(&self) -> (u64, u64) {
        self.until_answered(|stream| async move {
            let state = stream.get_info().await?.state;
            Ok((state.first_sequence, state.last_sequence))
        })
        .await
    }

    async fn until_answered<T, F: Future<Output = Result<T, async_nats::Error>>>(
        &self,
        ask: impl Fn(Stream<()>) -> F,
    ) -> T {
        let mut backoff = Backoff::default();
        loop {
            let connection = self.link.connected().await;
            tokio::select! {
                answer = async { ask(self.context.get_stream_no_info(STREAM).await?).await } => match answer {
                    Ok(answer) => return answer,
                    Err(error) => tracing::warn!(%error, "cannot read the log, trying again"),
                },
                () = connection.lost() => continue,
            }
            backoff.wait().await;
        }
    }

    /// Feeds the tail of `log` from the stream, for ever.
    pub(crate) async fn feed(&self, log: &Log) {
        let mut declaration = self.link.declaration();
        let mut backoff = Backoff::default();
        loop {
            let connection = self.link.connected().await;
            let followed = tokio::select! {
                followed = self.follow(log, || declaration.set(true)) => followed,
                // The server may come back without its disk, so all begins with a declaration.
                () = connection.lost() => Ok(()),
            };
            declaration.set(false);
            match followed {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(%error, "cannot follow the log, trying again");
                    backoff.wait().await;
                }
            }
        }
    }

    async fn follow(&self, log: &Log, mut ready: impl FnMut()) -> Result<(), async_nats::Error> {
        let end = self
            .context
            .create_or_update_stream(stream())
            .await?
            .state
            .last_sequence;
        let head = match log.head() {
            Some(head) if head <= end => head,
            // The log's first connection, or the server lost its disk.
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
        ready();
        while let Some(message) = messages.next().await {
            let message = match message {
                Ok(message) => message,
                // The consumer makes itself anew and goes on.
                Err(error) if error.kind() == push::OrderedErrorKind::MissingHeartbeat => continue,
                Err(error) => return Err(error.into()),
            };
            let seq = message.info()?.stream_sequence;
            match entry(seq, &message.subject, &message.payload) {
                Some(entry) => log.append(entry),
                None => tracing::error!(seq, "what is no event was passed over in the log"),
            }
        }
        Ok(())
    }
}

async fn next_for(
    stream: &Stream<()>,
    audience: &Audience,
    position: u64,
) -> Result<Option<Entry>, DirectGetError> {
    let next = stream
        .direct_get_builder()
        .sequence(position.saturating_add(1))
        .next_by_subject(audience.subject())
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

fn entry(seq: u64, subject: &str, payload: &[u8]) -> Option<Entry> {
    Entry::parse(seq, Audience::of_subject(subject)?, payload)
}

//! The queue on NATS JetStream.
//!
//! Two streams: JOBS, a work queue, and RESULTS, a log. Whoever reads a stream declares it, after
//! every connect anew, so that any service may start first and a queue that lost its disk heals.

mod jobs;
mod link;
mod results;

use std::{error::Error, path::PathBuf, time::Duration};

use async_nats::{
    ConnectError,
    jetstream::{
        self, ErrorCode,
        context::{self, PublishErrorKind},
        message::PublishMessage,
    },
};
use bytes::Bytes;
use futures_util::TryFutureExt;
use tokio::time::timeout;

use super::{PublishError, SubmitError};
use crate::{Audience, Event, Feed, Job, Lane, Log, backoff::Backoff, json, log::Limits};
use link::Link;

pub(super) use jobs::{JetStreamJobs, Receipt};
pub(crate) use results::Results;

/// How long a submission may take. Its caller is promised an answer within 2 seconds.
const SUBMIT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long it may take when the queue has been away for `AWAY_AFTER`: who waits holds a thread of the
/// web service, which the page needs too.
const AWAY_TIMEOUT: Duration = Duration::from_millis(200);

/// After how long without a connection the queue counts as away.
const AWAY_AFTER: Duration = Duration::from_secs(1);

/// How long to wait for the ack of a publish before it is sent again.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// How many messages are on their way to the disk at a time. A stream stores all that it finds
/// waiting, one after the other, and only then acknowledges and delivers any of it: with more, the
/// two streams take turns and not work side by side; with fewer, each message costs more.
const IN_FLIGHT: usize = 24;

/// The newest events that a websocket process holds, at most.
const TAIL_LIMITS: Limits = Limits {
    bytes: 64 * 1024 * 1024,
    age: results::MAX_AGE,
};

/// Where the queue is, and what proves who asks.
#[derive(Debug, Clone, clap::Args)]
pub struct JetStreamOptions {
    /// Address of the NATS server.
    #[arg(
        long = "queue-url",
        env = "QUEUE_URL",
        value_name = "QUEUE_URL",
        default_value = "nats://127.0.0.1:4222"
    )]
    pub url: async_nats::ServerAddr,
    /// File with the password of the service's queue user. Read at each attempt to connect, so it may appear later and
    /// may change.
    #[arg(
        long = "queue-password-file",
        env = "QUEUE_PASSWORD_FILE",
        value_name = "QUEUE_PASSWORD_FILE"
    )]
    pub password_file: PathBuf,
}

#[derive(Debug)]
pub(super) struct JetStream {
    context: jetstream::Context,
    link: Link,
}

impl JetStream {
    pub(super) async fn connect(
        options: &JetStreamOptions,
        user: &str,
    ) -> Result<Self, ConnectError> {
        let (client, link) = link::connect(options, user).await?;
        let context = jetstream::ContextBuilder::new()
            .timeout(ACK_TIMEOUT)
            .max_ack_inflight(IN_FLIGHT)
            .build(client);
        Ok(Self { context, link })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.link.is_ready()
    }

    pub(super) async fn submit(&self, job: &Job) -> Result<(), SubmitError> {
        let stored = self.store(
            job.lane().subject(),
            job.id.to_string(),
            json::encode(job).into(),
        );
        let limit = if self.link.is_away_for(AWAY_AFTER) {
            AWAY_TIMEOUT
        } else {
            SUBMIT_TIMEOUT
        };
        match timeout(limit, stored).await {
            Ok(stored) => stored.map_err(|refusal| match refusal {
                Refusal::Full => SubmitError::Full,
                Refusal::TooLong => SubmitError::Unreachable,
            }),
            Err(_elapsed) => Err(SubmitError::Unreachable),
        }
    }

    pub(super) fn jobs(&self, lane: Lane) -> JetStreamJobs {
        JetStreamJobs::new(self.context.clone(), self.link.clone(), lane)
    }

    pub(super) async fn publish(
        &self,
        audience: &Audience,
        event: &Event,
    ) -> Result<(), PublishError> {
        let subject = audience.subject();
        let mut backoff = Backoff::default();
        loop {
            match self
                .store(&subject, event.name().to_string(), event.encode())
                .await
            {
                Ok(()) => return Ok(()),
                Err(Refusal::TooLong) => return Err(PublishError::TooLong),
                Err(Refusal::Full) => backoff.wait().await,
            }
        }
    }

    pub(super) fn log(&self) -> (Log, Feed) {
        let log = Log::of_stream(
            TAIL_LIMITS,
            Results::new(self.context.clone(), self.link.clone()),
        );
        (log.clone(), Feed(log))
    }

    /// Publishes until a stream has the message on disk. An attempt that failed may have been
    /// stored all the same; the message's id lets the stream see that the next one is the same.
    async fn store(&self, subject: &str, id: String, payload: Bytes) -> Result<(), Refusal> {
        let mut backoff = Backoff::default();
        loop {
            let connection = self.link.connected().await;
            let message = PublishMessage::build()
                .payload(payload.clone())
                .message_id(&id);
            let acked = self
                .context
                .send_publish(subject.to_owned(), message)
                .and_then(IntoFuture::into_future);
            let failure = tokio::select! {
                acked = acked => match acked {
                    Ok(_stored_or_duplicate) => return Ok(()),
                    Err(error) => error,
                },
                // What was under way when the connection went will not be acknowledged.
                () = connection.lost() => continue,
            };
            if failure.kind() == PublishErrorKind::MaxPayloadExceeded {
                return Err(Refusal::TooLong);
            }
            if is_full(&failure) {
                return Err(Refusal::Full);
            }
            // Only the subject's first part: the rest can be a client's token.
            let stream = subject.split('.').next();
            tracing::debug!(error = %failure, stream, "publish failed, trying again");
            backoff.wait().await;
        }
    }
}

/// Why a stream will not have a message.
enum Refusal {
    Full,
    TooLong,
}

/// A stream that is full and discards what is new says that it cannot store a message.
fn is_full(error: &context::PublishError) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<jetstream::Error>());
    cause.is_some_and(|cause| cause.error_code() == ErrorCode::STREAM_STORE_FAILED)
}

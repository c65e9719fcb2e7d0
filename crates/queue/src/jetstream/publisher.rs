//! Publishing a message until a stream has stored it.

use std::{error::Error, io};

use async_nats::{
    HeaderMap,
    jetstream::{
        self, ErrorCode,
        context::{self, PublishErrorKind},
        message::PublishMessage,
    },
};
use bytes::Bytes;
use futures_util::TryFutureExt;
use protocol::{Audience, Event, JobContext};
use tokio::time::{Instant, sleep_until};

use super::{headers, link::Link};
use crate::{backoff::Backoff, error::PublishError, stored::Stored, subjects};

/// How many messages may be on their way to the disk at a time. A stream stores all the messages that
/// it finds waiting, one after the other, and only then acknowledges and delivers any of them. With
/// more messages in flight the two streams take turns instead of working at the same time; with fewer,
/// each message costs more.
const MAX_IN_FLIGHT: usize = 24;

/// Publishes messages and waits for their acks.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    context: jetstream::Context,
    link: Link,
}

/// Why a message was not stored.
#[derive(Debug)]
pub(super) enum StoreError {
    /// The stream is full.
    Full,
    /// The message is longer than the server allows.
    TooLong(Box<dyn Error + Send + Sync>),
    /// The stream had not confirmed the message at the deadline.
    TimedOut(Box<dyn Error + Send + Sync>),
}

impl Publisher {
    pub(super) fn new(client: async_nats::Client, link: Link) -> Self {
        let context = jetstream::ContextBuilder::new()
            // A message without an ack is sent again.
            .timeout(client.timeout().expect("link sets it"))
            .max_ack_inflight(MAX_IN_FLIGHT)
            .build(client);
        Self { context, link }
    }

    pub(super) fn context(&self) -> &jetstream::Context {
        &self.context
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Publishes a message until a stream has stored it, or until `deadline`.
    ///
    /// The stream may have stored the message even though an attempt failed. It recognises the next
    /// attempt by the message's id, which is in `headers`.
    pub(super) async fn store(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: &Bytes,
        deadline: Option<Instant>,
    ) -> Result<Stored, StoreError> {
        let mut last_failure: Box<dyn Error + Send + Sync> =
            Box::new(io::Error::from(io::ErrorKind::NotConnected));
        let store = async {
            let mut backoff = Backoff::default();
            loop {
                let connection = self.link.connected().await;
                let failure = tokio::select! {
                    stored = self.attempt(subject, &headers, payload) => match stored {
                        Ok(stored) => return Ok(stored),
                        Err(failure) => failure,
                    },
                    // A message that was in flight when the connection was lost gets no ack.
                    () = connection.lost() => continue,
                };
                if failure.kind() == PublishErrorKind::MaxPayloadExceeded {
                    return Err(StoreError::TooLong(Box::new(failure)));
                }
                if is_full(&failure) {
                    return Err(StoreError::Full);
                }
                // Only the first part of the subject: the rest may be a client's token.
                let stream = subject.split('.').next();
                tracing::debug!(
                    error = &failure as &dyn Error,
                    stream,
                    trace_id = headers::trace_id(Some(&headers)),
                    "publish failed, trying again"
                );
                last_failure = Box::new(failure);
                backoff.wait().await;
            }
        };
        let expired = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stored = store => return stored,
            () = expired => {}
        }
        Err(StoreError::TimedOut(last_failure))
    }

    /// Publishes an event until the log has stored it.
    pub(super) async fn publish(
        &self,
        audience: &Audience,
        event: &Event,
        context: JobContext,
    ) -> Result<Stored, PublishError> {
        let subject = subjects::of_audience(audience);
        let (headers, payload) = (headers::of_event(event, context), event.encode());
        let mut backoff = Backoff::default();
        loop {
            match self.store(&subject, headers.clone(), &payload, None).await {
                Ok(stored) => return Ok(stored),
                Err(StoreError::TooLong(cause)) => return Err(PublishError::TooLong(cause)),
                Err(StoreError::Full | StoreError::TimedOut(_)) => backoff.wait().await,
            }
        }
    }

    async fn attempt(
        &self,
        subject: &str,
        headers: &HeaderMap,
        payload: &Bytes,
    ) -> Result<Stored, context::PublishError> {
        let message = PublishMessage::build()
            .payload(payload.clone())
            .headers(headers.clone());
        self.context
            .send_publish(subject.to_owned(), message)
            .and_then(IntoFuture::into_future)
            .await
            .map(|ack| {
                if ack.duplicate {
                    Stored::Before
                } else {
                    Stored::New
                }
            })
    }
}

/// Whether the stream is full: it discards new messages and says that it cannot store one.
fn is_full(error: &context::PublishError) -> bool {
    error
        .source()
        .and_then(|cause| cause.downcast_ref::<jetstream::Error>())
        .is_some_and(|cause| cause.error_code() == ErrorCode::STREAM_STORE_FAILED)
}

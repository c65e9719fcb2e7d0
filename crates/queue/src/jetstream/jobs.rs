//! Taking the jobs of one lane from the stream JOBS, and acknowledging them.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use async_nats::jetstream::{
    AckKind, Message,
    consumer::{self, pull},
};
use futures_util::StreamExt;
use protocol::{Job, Lane};
use tokio::sync::{Notify, watch};

use crate::{backoff::Backoff, taken::Taken};

/// The durable consumer of a lane.
pub(super) type Consumer = consumer::Consumer<pull::Config>;

/// How long the server keeps a request for jobs. Nothing depends on it, because another one follows.
const REQUEST_EXPIRES: Duration = Duration::from_secs(30);

/// The jobs of one lane, over whatever connection there is.
pub(crate) struct Jobs {
    lane: Lane,
    consumer: watch::Receiver<Option<Consumer>>,
    /// The request for jobs that is under way.
    request: Option<pull::Batch>,
    backoff: Backoff,
    acked: Arc<Notify>,
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
        acked: Arc<Notify>,
    ) -> Self {
        Self {
            lane,
            consumer,
            request: None,
            backoff: Backoff::default(),
            acked,
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

    /// Makes one step: the next job, if the step leads to one.
    async fn next(
        &mut self,
        idle: NonZeroUsize,
    ) -> Result<Option<Taken<Acker>>, async_nats::Error> {
        let request = match &mut self.request {
            Some(request) => request,
            None => {
                let consumer = self.declared().await;
                let batch = consumer
                    .batch()
                    .max_messages(idle.get())
                    .expires(REQUEST_EXPIRES);
                self.request.insert(batch.messages().await?)
            }
        };
        let message = tokio::select! {
            message = request.next() => message,
            // A request ends with its connection, and the server may have lost its disk.
            _ = self.consumer.changed() => None,
        };
        match message {
            Some(message) => Ok(taken(message?, &self.acked).await),
            None => {
                self.request = None;
                Ok(None)
            }
        }
    }

    /// The lane's consumer, as soon as it is declared over the current connection.
    async fn declared(&mut self) -> Consumer {
        let declared = self.consumer.wait_for(Option::is_some).await;
        match declared.ok().and_then(|consumer| consumer.clone()) {
            Some(consumer) => consumer,
            // The driver is gone: the process is ending.
            None => std::future::pending().await,
        }
    }
}

async fn taken(message: Message, acked: &Arc<Notify>) -> Option<Taken<Acker>> {
    let attempt = match message.info() {
        Ok(info) => u64::try_from(info.delivered).expect("the server counts from 1"),
        Err(error) => {
            tracing::error!(%error, "skipped job without delivery information");
            return None;
        }
    };
    let acker = Acker {
        message,
        acked: Arc::clone(acked),
    };
    match serde_json::from_slice::<Job>(&acker.message.payload) {
        Ok(job) => Some(Taken {
            job,
            attempt,
            acker,
        }),
        Err(error) => {
            tracing::error!(%error, "discarded malformed job");
            acker.end(AckKind::Term).await;
            None
        }
    }
}

/// Acknowledges one delivery. It does no harm if an ack gets lost: the job is delivered again, and
/// its events are stored once.
#[derive(Debug)]
pub(crate) struct Acker {
    message: Message,
    acked: Arc<Notify>,
}

impl Acker {
    pub(crate) async fn ack(self) {
        self.end(AckKind::Ack).await;
    }

    pub(crate) async fn in_progress(&self) {
        self.send(AckKind::Progress).await;
    }

    pub(crate) async fn nak(self) {
        self.send(AckKind::Nak(None)).await;
    }

    /// Tells the queue that the job must not be delivered again.
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

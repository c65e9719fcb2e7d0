//! Whether a request gets a place in the log, and what it holds while it has one. Sockets and event
//! streams follow the same rules.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use protocol::{Origins, Problem, Source, unix_us};
use queue::{Cursor, Item, NotReady, Reader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trace::Span;

use crate::{
    Config, Metrics,
    metrics::{Kind, Open},
    request::Request,
};

/// The seconds after which to try again while the log cannot be read.
const RETRY_AFTER_S: u32 = 1;

/// Admits requests up to a limit.
#[derive(Debug, Clone)]
pub(crate) struct Admissions {
    reader: Reader,
    allowed_origins: Arc<Origins>,
    permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// The resources that a socket or an event stream holds while it is open.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The reader's place in the log.
    pub(crate) cursor: Cursor,
    /// Whether the reader is told of gaps. The broadcast has no message for one.
    tells_gaps: bool,
    open: Open,
    /// The reader's place among those that may be connected.
    _permit: OwnedSemaphorePermit,
}

/// The records that are made once a message has been sent, begun when it is taken from the log.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// The span of sending it, if its trace is sampled.
    span: Option<Span>,
    /// If the message ends a job that the reader was waiting for: when that job was accepted, in
    /// microseconds since the Unix epoch.
    awaited_since: Option<u64>,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    OriginNotAllowed,
    BadRequest,
    TooMany,
    NotReady,
}

impl Admissions {
    pub(crate) fn new(reader: Reader, config: Config, metrics: Arc<Metrics>) -> Self {
        metrics.limit(config.max_sockets);
        Self {
            reader,
            allowed_origins: Arc::new(config.allowed_origins),
            permits: Arc::new(Semaphore::new(config.max_sockets)),
            metrics,
        }
    }

    /// Admits a request with these headers, or says why not. `kind` is what the client opens. `request` is
    /// what it asks for, or `None` if that is invalid.
    pub(crate) fn admit(
        &self,
        kind: Kind,
        headers: &HeaderMap,
        request: Option<Request>,
    ) -> Result<Admission, Refusal> {
        if !self.allowed_origins.allow(&Source::of(headers)) {
            return Err(Refusal::OriginNotAllowed);
        }
        let request = request.ok_or(Refusal::BadRequest)?;
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| Refusal::TooMany)?;
        let cursor = self
            .reader
            .cursor(&request.audiences(), request.wanted(), request.since)?;
        Ok(Admission {
            cursor,
            tells_gaps: !request.is_bare(),
            open: Open::new(Arc::clone(&self.metrics), kind),
            _permit: permit,
        })
    }
}

impl Admission {
    /// The JSON message that tells the reader about `item`. It shares its memory with the log. `None` if
    /// the reader is not told.
    pub(crate) fn message(&self, item: &Item) -> Option<Bytes> {
        match item {
            Item::Entry(entry) => Some(entry.message.clone()),
            Item::Gap(seq) => {
                self.open.gap();
                self.tells_gaps
                    .then(|| format!(r#"{{"type":"gap","seq":{seq}}}"#).into())
            }
        }
    }

    /// The records of sending `item`, which [`delivered`](Self::delivered) completes.
    pub(crate) fn sending(&self, item: &Item) -> Sending {
        match item {
            Item::Entry(entry) => Sending {
                span: self.cursor.sending(entry),
                awaited_since: entry
                    .context
                    .filter(|_| entry.kind.is_end() && self.cursor.is_news(entry))
                    .map(|context| context.accepted_us),
            },
            Item::Gap(_) => Sending::default(),
        }
    }

    /// Records that so many bytes of messages are being sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.open.sent(bytes);
    }

    /// Records that a message was sent whole.
    pub(crate) fn delivered(&self, sending: Sending) {
        drop(sending.span);
        if let Some(accepted_us) = sending.awaited_since {
            let took = unix_us().saturating_sub(accepted_us);
            self.open.delivered(Duration::from_micros(took));
        }
    }
}

impl From<NotReady> for Refusal {
    fn from(_: NotReady) -> Self {
        Self::NotReady
    }
}

/// The answer to a request that was made before the log could be read.
pub(crate) fn not_ready() -> Response {
    unavailable("The results cannot be read yet. Connect again in a moment.")
}

/// 503, with the advice to try again soon.
pub(crate) fn unavailable(detail: &'static str) -> Response {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    daemon::response(problem.retry_after_s(RETRY_AFTER_S).into())
}

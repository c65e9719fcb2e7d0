//! Whether a request gets a place in the log, and what it holds while it has one. Sockets and event
//! streams follow the same rules.

use std::sync::Arc;

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use protocol::{Origins, Problem, Source};
use queue::{Cursor, Item, NotReady, Reader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trace::Span;

use crate::{Config, request::Request};

/// After how many seconds to try again while the log cannot be read.
const RETRY_AFTER_S: u32 = 1;

/// Admits requests up to a limit.
#[derive(Debug, Clone)]
pub(crate) struct Admissions {
    reader: Reader,
    allowed_origins: Arc<Origins>,
    permits: Arc<Semaphore>,
}

/// What a socket or an event stream holds while it is open.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The reader's place in the log.
    pub(crate) cursor: Cursor,
    /// Whether the reader is told of gaps. The broadcast has no message for one.
    tells_gaps: bool,
    /// Counts the reader as connected.
    _permit: OwnedSemaphorePermit,
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
    pub(crate) fn new(reader: Reader, config: Config) -> Self {
        Self {
            reader,
            allowed_origins: Arc::new(config.allowed_origins),
            permits: Arc::new(Semaphore::new(config.max_sockets)),
        }
    }

    /// Admits the request with these headers, or says why not. `request` is what it asks for; `None` if
    /// that is invalid.
    pub(crate) fn admit(
        &self,
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
            _permit: permit,
        })
    }
}

impl Admission {
    /// The JSON message that tells the reader of `item`, which shares its memory with the log. `None` if
    /// the reader is not told.
    pub(crate) fn message(&self, item: &Item) -> Option<Bytes> {
        match item {
            Item::Entry(entry) => Some(entry.message.clone()),
            Item::Gap(seq) => self
                .tells_gaps
                .then(|| format!(r#"{{"type":"gap","seq":{seq}}}"#).into()),
        }
    }

    /// The span of sending `item`, if it is an event.
    pub(crate) fn sending(&self, item: &Item) -> Option<Span> {
        match item {
            Item::Entry(entry) => self.cursor.sending(entry),
            Item::Gap(_) => None,
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

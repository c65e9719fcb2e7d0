//! How much of the log is kept.

use std::time::Duration;

/// How long an event is kept, and how long its id is remembered, so that publishing it again stores
/// nothing new. A job that is delivered again after an outage of up to this time therefore still has one
/// end.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(600);

/// How many bytes of events are kept.
pub(crate) const MAX_BYTES: usize = 512 * 1024 * 1024;

/// How much of the log is kept in one place. The oldest events go first.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// The most bytes of messages.
    pub bytes: usize,
    /// The greatest age of an event.
    pub age: Duration,
}

impl Retention {
    /// The retention of the whole log, wherever it is stored.
    pub(crate) const LOG: Self = Self {
        bytes: MAX_BYTES,
        age: MAX_AGE,
    };

    /// The part of a log stored elsewhere that a process keeps in memory: the newest events.
    pub(crate) const TAIL: Self = Self {
        bytes: 64 * 1024 * 1024,
        age: MAX_AGE,
    };
}

//! The part of the log that the tail no longer holds.

use std::{fmt, pin::Pin, time::Duration};

use protocol::Audience;

use super::entry::Entry;

/// Reads what the tail no longer holds. Each method tries until it gets an answer, and may be dropped
/// at any time.
pub trait History: fmt::Debug + Send + Sync {
    /// The next event after `position` that is for one of `audiences`.
    fn next_after<'a>(&'a self, audiences: &'a [Audience], position: u64) -> Answer<'a, Next>;

    /// Which part of the log is held.
    fn held(&self) -> Answer<'_, Held>;

    /// For how long an answer may lack events that have been stored.
    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    /// How many bytes of events the whole log holds, as far as is known at this moment.
    fn bytes(&self) -> Option<u64> {
        None
    }
}

/// The future of an answer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The answer to [`History::next_after`].
#[derive(Debug)]
pub struct Next {
    /// The next event, if there is one.
    pub entry: Option<Entry>,
    /// The first place that is still held.
    pub first: u64,
}

/// The places that a log holds.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// The place of the first event that is held.
    pub first: u64,
    /// The place of the last event.
    pub last: u64,
}

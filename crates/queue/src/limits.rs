//! How much the queue holds, whichever kind it is.

use std::time::Duration;

/// The most jobs of one lane that wait or are worked on.
pub(crate) const MAX_JOBS_PER_LANE: u32 = 100_000;

/// How long the id of a job or an event is remembered, so that sending it again has no effect.
pub(crate) const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(120);

//! How much the queue holds, whichever kind it is.

use std::time::Duration;

/// The most jobs of one lane that wait or are worked on.
pub(crate) const MAX_JOBS_PER_LANE: u32 = 100_000;

/// How long the id of a job is remembered, so that submitting it again queues nothing new.
pub(crate) const JOB_ID_WINDOW: Duration = Duration::from_secs(120);

/// How long the id of an event is remembered, so that publishing it again stores nothing new: for as
/// long as the log holds the event. A job that is delivered again after an outage of up to this time
/// therefore still has one end.
pub(crate) const EVENT_ID_WINDOW: Duration = Duration::from_secs(600);

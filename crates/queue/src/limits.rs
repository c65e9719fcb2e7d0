//! How much the queue holds, whichever kind it is.

use std::time::Duration;

/// The most jobs of one lane that wait or are worked on.
pub(crate) const MAX_JOBS_PER_LANE: u32 = 100_000;

/// A job is delivered to another worker once its own has given no sign of life for this long.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(10);

/// How many signs of life a worker gives in that time, so that losing one does no harm.
pub(crate) const SIGNS_OF_LIFE: u32 = 3;

/// How long the id of a job is remembered, so that submitting it again queues nothing new.
pub(crate) const JOB_ID_WINDOW: Duration = Duration::from_secs(120);

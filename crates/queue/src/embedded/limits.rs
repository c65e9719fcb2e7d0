//! How much the embedded queue remembers.

use std::time::Duration;

use super::load::Keep;
use crate::log::{MAX_AGE, Retention};

/// The shortest time for which the id of a job or an event is remembered, so that sending it again has no
/// effect: for as long as the log holds the event.
pub(super) const REMEMBERED_FOR: Duration = MAX_AGE;

/// The most ids of jobs, and of events, that are remembered. The oldest make room. The id of a job
/// takes 19 to 39 bytes of memory, and that of an event 38 to 75.
pub(super) const MAX_REMEMBERED_IDS: usize = 4 * 1024 * 1024;

/// The limits of a log on disk, and of the ids that are remembered from it.
pub(super) const KEEP: Keep = Keep {
    log: Retention::LOG,
    tail_bytes: Retention::TAIL.bytes,
    remembered_for: REMEMBERED_FOR,
    max_ids: MAX_REMEMBERED_IDS,
};

//! How much the embedded queue remembers.

use std::time::Duration;

use super::load::Keep;
use crate::log::{MAX_AGE, Retention};

/// For how long at least the id of a job or an event is remembered, so that sending it again has no
/// effect.
pub(super) const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// The most ids of jobs, and of events, that are remembered. The oldest make room. The id of a job
/// takes 19 to 39 bytes of memory, and that of an event 38 to 75.
pub(super) const MAX_REMEMBERED_IDS: usize = 4 * 1024 * 1024;

/// The newest events of a log on disk, which are in memory as well.
pub(super) const TAIL: Retention = Retention {
    bytes: 64 * 1024 * 1024,
    age: MAX_AGE,
};

/// What is kept of a log on disk, and remembered of what was in it.
pub(super) const KEEP: Keep = Keep {
    log: Retention::LOG,
    tail_bytes: TAIL.bytes,
    remembered_for: REMEMBERED_FOR,
    max_ids: MAX_REMEMBERED_IDS,
};

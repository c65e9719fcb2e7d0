//! The jobs that were not acknowledged yet: they wait in their lanes, or are worked on.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU32, Ordering},
};

use parking_lot::Mutex;
use protocol::{Job, Lane as Name};
use tokio::sync::Notify;

use crate::limits::MAX_JOBS_PER_LANE;

/// The jobs of both lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    small: Lane,
    large: Lane,
}

/// The jobs of one lane.
#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: Mutex<VecDeque<Attempted>>,
    arrived: Notify,
    /// How many jobs are not acknowledged, whether they wait or are worked on.
    unacknowledged: AtomicU32,
}

/// A job and how many times it was delivered.
#[derive(Debug)]
pub(super) struct Attempted {
    pub(super) job: Job,
    /// Which job this is, in the order in which they were submitted.
    pub(super) number: u64,
    pub(super) attempts: u64,
}

impl Lanes {
    pub(super) fn lane(&self, name: Name) -> &Lane {
        match name {
            Name::Small => &self.small,
            Name::Large => &self.large,
        }
    }
}

impl Lane {
    /// Counts one more job. Returns `false` if that is one too many.
    pub(super) fn admit(&self) -> bool {
        self.unacknowledged
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < MAX_JOBS_PER_LANE).then_some(count + 1)
            })
            .is_ok()
    }

    /// Counts one job less.
    pub(super) fn leave(&self) {
        self.unacknowledged.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds a job that was admitted.
    pub(super) fn push(&self, attempted: Attempted) {
        self.waiting.lock().push_back(attempted);
        self.arrived.notify_one();
    }

    /// Gives a job back: it is the next one.
    pub(super) fn give_back(&self, attempted: Attempted) {
        self.waiting.lock().push_front(attempted);
        self.arrived.notify_one();
    }

    /// The next job. Cancel safe.
    pub(super) async fn next(&self) -> Attempted {
        loop {
            let (next, more) = {
                let mut waiting = self.waiting.lock();
                (waiting.pop_front(), !waiting.is_empty())
            };
            if let Some(attempted) = next {
                if more {
                    // Several jobs may have arrived and woken only one taker.
                    self.arrived.notify_one();
                }
                return attempted;
            }
            self.arrived.notified().await;
        }
    }
}

//! The jobs that were not acknowledged yet: they wait in their lanes, or are worked on.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use parking_lot::Mutex;
use protocol::{Job, Lane as Name};
use tokio::sync::Notify;

use crate::{
    limits::MAX_JOBS_PER_LANE,
    metrics::{self, Holding},
};

/// The jobs of both lanes.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    small: Lane,
    large: Lane,
}

/// The jobs of one lane.
#[derive(Debug, Default)]
pub(super) struct Lane {
    jobs: Mutex<Jobs>,
    arrived: Notify,
    /// How many jobs are not acknowledged, whether they wait or are worked on.
    unacknowledged: AtomicU32,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Attempted>,
    /// When the jobs that are worked on were accepted, in no order. There are few of them.
    taken: Vec<u64>,
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

impl metrics::Lanes for Arc<Lanes> {
    fn holding(&self, lane: Name) -> Option<Holding> {
        let jobs = self.lane(lane).jobs.lock();
        let first = jobs.waiting.front();
        Some(Holding {
            waiting: jobs.waiting.len() as u64,
            in_progress: jobs.taken.len() as u64,
            oldest_us: first
                .map(|attempted| attempted.job.context.accepted_us)
                .into_iter()
                .chain(jobs.taken.iter().copied())
                .min(),
        })
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

    /// Counts one job less. It was admitted, and is not in the lane.
    pub(super) fn leave(&self) {
        self.unacknowledged.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends a job that was taken.
    pub(super) fn end(&self, attempted: &Attempted) {
        self.jobs.lock().end(attempted);
        self.leave();
    }

    /// Adds a job that was admitted.
    pub(super) fn push(&self, attempted: Attempted) {
        self.jobs.lock().waiting.push_back(attempted);
        self.arrived.notify_one();
    }

    /// Gives a job back: it is the next one.
    pub(super) fn give_back(&self, attempted: Attempted) {
        {
            let mut jobs = self.jobs.lock();
            jobs.end(&attempted);
            jobs.waiting.push_front(attempted);
        }
        self.arrived.notify_one();
    }

    /// The next job. Cancel safe.
    pub(super) async fn next(&self) -> Attempted {
        loop {
            let (next, more) = {
                let mut jobs = self.jobs.lock();
                (jobs.take(), !jobs.waiting.is_empty())
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

impl Jobs {
    fn take(&mut self) -> Option<Attempted> {
        let attempted = self.waiting.pop_front()?;
        self.taken.push(attempted.job.context.accepted_us);
        Some(attempted)
    }

    /// A job that was taken is no longer worked on.
    fn end(&mut self, attempted: &Attempted) {
        let accepted_us = attempted.job.context.accepted_us;
        if let Some(index) = self.taken.iter().position(|&taken| taken == accepted_us) {
            self.taken.swap_remove(index);
        }
    }
}

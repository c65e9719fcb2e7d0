//! The queue in memory: the same behaviour as the one on JetStream, without its disk.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::{Delivery, JOBS_LIMIT, Receipt as AnyReceipt, SubmitError};
use crate::{
    Audience, Event, Feed, Job, Lane, Log,
    event::Name,
    job::unix_us,
    log::{Entry, Limits},
    recent::Recent,
};

/// What the log holds: as much as the RESULTS stream.
const LOG_LIMITS: Limits = Limits {
    bytes: 512 * 1024 * 1024,
    age: Duration::from_secs(600),
};

/// The most names of jobs, and of events, to remember against duplicates.
const NAMES_LIMIT: usize = 2 * 1024 * 1024;

#[derive(Debug, Clone)]
pub(super) struct InProcess(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    jobs: Mutex<Waiting>,
    small_arrived: Notify,
    large_arrived: Notify,
    events: Mutex<Recent<Name>>,
    log: Log,
}

#[derive(Debug)]
struct Waiting {
    small: VecDeque<Attempted>,
    large: VecDeque<Attempted>,
    /// How many jobs are not acknowledged, in the hands of workers or not.
    unacknowledged: u32,
    submitted: Recent<Uuid>,
}

/// A job and how many times it was delivered.
#[derive(Debug)]
struct Attempted {
    job: Job,
    attempts: u64,
}

impl Waiting {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Attempted> {
        match lane {
            Lane::Small => &mut self.small,
            Lane::Large => &mut self.large,
        }
    }
}

impl Shared {
    fn arrived(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Small => &self.small_arrived,
            Lane::Large => &self.large_arrived,
        }
    }
}

impl InProcess {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            jobs: Mutex::new(Waiting {
                small: VecDeque::new(),
                large: VecDeque::new(),
                unacknowledged: 0,
                submitted: Recent::new(NAMES_LIMIT),
            }),
            small_arrived: Notify::new(),
            large_arrived: Notify::new(),
            events: Mutex::new(Recent::new(NAMES_LIMIT)),
            // The log begins at the time of its birth, so that a place in an earlier log is always
            // before this one's beginning: a reader who comes back with it is told of a gap.
            log: Log::in_memory(LOG_LIMITS, unix_us()),
        }))
    }

    pub(super) fn submit(&self, job: &Job) -> Result<(), SubmitError> {
        let lane = job.lane();
        {
            let now = Instant::now();
            let mut jobs = self.0.jobs.lock();
            if jobs.submitted.contains(&job.id, now) {
                return Ok(());
            }
            if jobs.unacknowledged >= JOBS_LIMIT {
                return Err(SubmitError::Full);
            }
            jobs.unacknowledged += 1;
            jobs.submitted.insert(job.id, now);
            jobs.lane(lane).push_back(Attempted {
                job: job.clone(),
                attempts: 0,
            });
        }
        self.0.arrived(lane).notify_one();
        Ok(())
    }

    pub(super) fn jobs(&self, lane: Lane) -> InProcessJobs {
        InProcessJobs {
            queue: Arc::clone(&self.0),
            lane,
        }
    }

    pub(super) fn publish(&self, audience: &Audience, event: &Event) {
        if self.0.events.lock().insert(event.name(), Instant::now()) {
            let payload = event.encode();
            self.0
                .log
                .append_next(|seq| Entry::parse(seq, audience.clone(), &payload));
        }
    }

    pub(super) fn log(&self) -> (Log, Feed) {
        (self.0.log.clone(), Feed(self.0.log.clone()))
    }
}

#[derive(Debug)]
pub(super) struct InProcessJobs {
    queue: Arc<Shared>,
    lane: Lane,
}

impl InProcessJobs {
    pub(super) async fn take(&mut self) -> Delivery {
        loop {
            let (next, more) = {
                let mut jobs = self.queue.jobs.lock();
                let lane = jobs.lane(self.lane);
                (lane.pop_front(), !lane.is_empty())
            };
            let Some(Attempted { job, attempts }) = next else {
                self.queue.arrived(self.lane).notified().await;
                continue;
            };
            if more {
                // One arrival wakes one worker, however many jobs came since.
                self.queue.arrived(self.lane).notify_one();
            }
            let attempt = attempts + 1;
            let held = Some(Attempted {
                job: job.clone(),
                attempts: attempt,
            });
            let receipt = Receipt {
                queue: Arc::clone(&self.queue),
                held,
            };
            return Delivery {
                job,
                attempt,
                receipt: AnyReceipt::InProcess(receipt),
            };
        }
    }
}

/// Gives its job back unless it is acknowledged.
#[derive(Debug)]
pub(super) struct Receipt {
    queue: Arc<Shared>,
    held: Option<Attempted>,
}

impl Receipt {
    pub(super) fn ack(mut self) {
        self.held = None;
        self.queue.jobs.lock().unacknowledged -= 1;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let lane = held.job.lane();
            self.queue.jobs.lock().lane(lane).push_front(held);
            self.queue.arrived(lane).notify_one();
        }
    }
}

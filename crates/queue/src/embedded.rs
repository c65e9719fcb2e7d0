//! The embedded queue: jobs and events within one process, in memory.

mod recent;

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use protocol::{Audience, Event, Job, Lane, event::MessageId, unix_us};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use crate::{
    Driver,
    error::SubmitError,
    limits::{EVENT_ID_WINDOW, JOB_ID_WINDOW, MAX_JOBS_PER_LANE},
    log::{Entry, Log, Retention},
    taken::Taken,
};
use recent::Recent;

/// The most ids of jobs, and of events, that are remembered against duplicates.
const MAX_REMEMBERED_IDS: usize = 2 * 1024 * 1024;

/// A handle to the queue. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Queue(Arc<State>);

#[derive(Debug)]
struct State {
    jobs: Mutex<Waiting>,
    small_arrived: Notify,
    large_arrived: Notify,
    published: Mutex<Recent<MessageId>>,
    log: Log,
}

/// The jobs that were not acknowledged yet.
#[derive(Debug)]
struct Waiting {
    small: LaneState,
    large: LaneState,
    submitted: Recent<Uuid>,
}

#[derive(Debug, Default)]
struct LaneState {
    /// The jobs that wait to be taken.
    waiting: VecDeque<Attempted>,
    /// How many jobs are not acknowledged, whether they wait or are worked on.
    unacknowledged: u32,
}

/// A job and how many times it was delivered.
#[derive(Debug)]
struct Attempted {
    job: Job,
    attempts: u64,
}

impl Waiting {
    fn lane(&mut self, lane: Lane) -> &mut LaneState {
        match lane {
            Lane::Small => &mut self.small,
            Lane::Large => &mut self.large,
        }
    }
}

impl State {
    fn arrived(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Small => &self.small_arrived,
            Lane::Large => &self.large_arrived,
        }
    }
}

impl Queue {
    pub(crate) fn in_memory() -> (Self, Driver) {
        // The log begins at the current time. A place in an earlier log therefore lies before this
        // one's beginning, and a reader that comes back with it is told of a gap.
        Self::in_memory_within(Retention::LOG, unix_us())
    }

    /// A queue whose log begins after `seq` and is kept within `retention`.
    pub(crate) fn in_memory_within(retention: Retention, seq: u64) -> (Self, Driver) {
        let queue = Self(Arc::new(State {
            jobs: Mutex::new(Waiting {
                small: LaneState::default(),
                large: LaneState::default(),
                submitted: Recent::new(JOB_ID_WINDOW, MAX_REMEMBERED_IDS),
            }),
            small_arrived: Notify::new(),
            large_arrived: Notify::new(),
            published: Mutex::new(Recent::new(EVENT_ID_WINDOW, MAX_REMEMBERED_IDS)),
            log: Log::in_memory(retention, seq),
        }));
        let log = queue.0.log.clone();
        let driver = Driver::new(async move |ready| {
            ready.send_replace(true);
            log.expire().await
        });
        (queue, driver)
    }

    pub(crate) fn submit(&self, job: &Job) -> Result<(), SubmitError> {
        let lane = job.lane();
        {
            let now = Instant::now();
            let mut jobs = self.0.jobs.lock();
            if jobs.submitted.contains(&job.id, now) {
                return Ok(());
            }
            let state = jobs.lane(lane);
            if state.unacknowledged >= MAX_JOBS_PER_LANE {
                return Err(SubmitError::Full);
            }
            state.unacknowledged += 1;
            state.waiting.push_back(Attempted {
                job: job.clone(),
                attempts: 0,
            });
            jobs.submitted.insert(job.id, now);
        }
        self.0.arrived(lane).notify_one();
        Ok(())
    }

    pub(crate) fn jobs(&self, lane: Lane) -> Jobs {
        Jobs {
            queue: self.clone(),
            lane,
        }
    }

    pub(crate) fn publish(&self, audience: &Audience, event: &Event) {
        let is_new = self
            .0
            .published
            .lock()
            .insert(event.message_id(), Instant::now());
        if is_new {
            let payload = event.encode();
            self.0.log.append_next(|seq| {
                Entry::parse(seq, audience.clone(), &payload).expect("an event was encoded")
            });
        }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }
}

/// The jobs of one lane.
#[derive(Debug)]
pub(crate) struct Jobs {
    queue: Queue,
    lane: Lane,
}

impl Jobs {
    pub(crate) async fn take(&mut self) -> Taken<Acker> {
        let state = &self.queue.0;
        loop {
            let (next, more) = {
                let mut jobs = state.jobs.lock();
                let waiting = &mut jobs.lane(self.lane).waiting;
                (waiting.pop_front(), !waiting.is_empty())
            };
            let Some(Attempted { job, attempts }) = next else {
                state.arrived(self.lane).notified().await;
                continue;
            };
            if more {
                // Several jobs may have arrived and woken only one taker.
                state.arrived(self.lane).notify_one();
            }
            let attempt = attempts + 1;
            let held = Some(Attempted {
                job: job.clone(),
                attempts: attempt,
            });
            return Taken {
                job,
                attempt,
                acker: Acker {
                    queue: self.queue.clone(),
                    held,
                },
            };
        }
    }
}

/// Acknowledges a job, or gives it back when it is dropped.
#[derive(Debug)]
pub(crate) struct Acker {
    queue: Queue,
    held: Option<Attempted>,
}

impl Acker {
    pub(crate) fn ack(mut self) {
        if let Some(held) = self.held.take() {
            self.queue
                .0
                .jobs
                .lock()
                .lane(held.job.lane())
                .unacknowledged -= 1;
        }
    }
}

impl Drop for Acker {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let lane = held.job.lane();
            let state = &self.queue.0;
            state.jobs.lock().lane(lane).waiting.push_front(held);
            state.arrived(lane).notify_one();
        }
    }
}

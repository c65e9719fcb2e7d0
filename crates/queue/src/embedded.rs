//! The embedded queue: jobs and events within one process, in memory or on disk.
//!
//! The jobs that wait and the newest events are in memory in either case. With a disk, a job or an event
//! takes effect once it is synced.

mod clock;
mod directory;
mod disk;
mod extent;
mod history;
mod inspection;
mod lanes;
mod limits;
mod load;
mod memory;
mod open;
mod operation;
mod recent;
mod record;
#[cfg(test)]
mod simulation;
mod sqlite;
mod store;
mod write_ahead_log;
mod writer;

use std::{path::Path, sync::Arc};

use protocol::{Audience, Event, Job, JobContext, Lane, unix_us};

use crate::{
    Driver,
    error::SubmitError,
    log::{Log, Retention},
    stored::Stored,
    taken::Taken,
};
pub use directory::OpenError;
use disk::{Disk, Parts};
pub use inspection::Inspection;
use lanes::{Attempted, Lanes};
use memory::Memory;

/// A handle to the queue. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    lanes: Arc<Lanes>,
    log: Log,
    backing: Backing,
}

/// The place where jobs and events are kept before they take effect.
#[derive(Debug, Clone)]
enum Backing {
    Memory(Arc<Memory>),
    Disk(Disk),
}

impl Queue {
    pub(crate) fn in_memory() -> (Self, Driver) {
        // The log begins at the current time. A place in an earlier log therefore lies before this
        // one's beginning, and a reader that comes back with it is told of a gap.
        Self::in_memory_within(Retention::LOG, unix_us())
    }

    /// A queue whose log begins after `seq` and is kept within `retention`.
    pub(crate) fn in_memory_within(retention: Retention, seq: u64) -> (Self, Driver) {
        let log = Log::in_memory(retention, seq);
        let queue = Self {
            lanes: Arc::default(),
            log: log.clone(),
            backing: Backing::Memory(Arc::new(Memory::new())),
        };
        let driver = Driver::new(async move |ready| {
            ready.send_replace(true);
            log.expire().await
        });
        (queue, driver)
    }

    pub(crate) fn on_disk(directory: &Path) -> Result<(Self, Driver), OpenError> {
        let Parts {
            disk,
            lanes,
            log,
            driver,
        } = Disk::open(directory)?;
        let queue = Self {
            lanes,
            log,
            backing: Backing::Disk(disk),
        };
        Ok((queue, driver))
    }

    pub(crate) async fn submit(&self, job: &Job) -> Result<Stored, SubmitError> {
        match &self.backing {
            Backing::Memory(memory) => memory.submit(job, &self.lanes),
            Backing::Disk(disk) => disk.submit(job).await,
        }
    }

    pub(crate) fn jobs(&self, lane: Lane) -> Jobs {
        Jobs {
            queue: self.clone(),
            lane,
        }
    }

    pub(crate) async fn publish(
        &self,
        audience: &Audience,
        event: &Event,
        context: JobContext,
    ) -> Stored {
        match &self.backing {
            Backing::Memory(memory) => memory.publish(audience, event, context, &self.log),
            Backing::Disk(disk) => disk.publish(audience, event, context).await,
        }
    }

    /// The number of jobs in each lane, and the age of the oldest.
    pub(crate) fn holding(&self) -> Arc<Lanes> {
        Arc::clone(&self.lanes)
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
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
        let attempting = match &self.queue.backing {
            Backing::Memory(_) => None,
            Backing::Disk(disk) => Some(disk.attempting().await),
        };
        let mut held = self.queue.lanes.lane(self.lane).next().await;
        held.attempts += 1;
        if let Some(attempting) = attempting {
            attempting.record(&held);
        }
        Taken {
            job: held.job.clone(),
            attempt: held.attempts,
            acker: Acker {
                queue: self.queue.clone(),
                held: Some(held),
            },
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
    pub(crate) async fn ack(mut self) {
        if let Backing::Disk(disk) = &self.queue.backing
            && let Some(held) = &self.held
        {
            disk.done(held.job.id).await;
        }
        if let Some(held) = self.held.take() {
            self.queue.lanes.lane(held.job.lane()).end(&held);
        }
    }
}

impl Drop for Acker {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.queue.lanes.lane(held.job.lane()).give_back(held);
        }
    }
}

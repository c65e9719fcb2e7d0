//! All roles of an embedded queue, for the process that holds them all.

use std::path::Path;

use prometheus_client::registry::Registry;

use crate::{Driver, OpenError, Reader, Submitter, Worker, embedded, metrics::Duplicates};

/// The three roles over one queue within this process, and the driver of all of them.
#[derive(Debug)]
pub struct Roles {
    /// Submits jobs.
    pub submitter: Submitter,
    /// Takes jobs and publishes events.
    pub worker: Worker,
    /// Reads events.
    pub reader: Reader,
    /// The background work of the queue.
    pub driver: Driver,
}

impl Roles {
    /// A queue in this process's memory. Its jobs and events are gone when the process ends.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::of(embedded::Queue::in_memory())
    }

    /// A queue in this process's memory whose log begins after `seq` and is kept within `retention`.
    #[cfg(feature = "custom")]
    #[must_use]
    pub fn in_memory_within(retention: crate::custom::Retention, seq: u64) -> Self {
        Self::of(embedded::Queue::in_memory_within(retention, seq))
    }

    /// A queue in the files of `directory`, which is created if it does not exist. Jobs and events are there
    /// again when the directory is opened the next time. Only one process can use it at a time.
    ///
    /// # Errors
    ///
    /// [`OpenError`], such as a directory that is in use. Damaged files are not an error: what cannot be
    /// read is logged, and the queue goes on without it.
    pub fn on_disk(directory: &Path) -> Result<Self, OpenError> {
        embedded::Queue::on_disk(directory).map(Self::of)
    }

    /// Shows in `registry` what the roles measure and what the queue holds.
    pub fn register(&self, registry: &mut Registry) {
        // Without its duplicates, which are in the worker's family and registered with that.
        self.submitter.metrics.register(registry);
        self.worker.register(registry);
        self.reader.register(registry);
    }

    fn of((queue, driver): (embedded::Queue, Driver)) -> Self {
        let duplicates = Duplicates::default();
        Self {
            submitter: Submitter::embedded(queue.clone(), &duplicates),
            reader: Reader::of(queue.log().clone()),
            worker: Worker::embedded(queue, &duplicates),
            driver,
        }
    }
}

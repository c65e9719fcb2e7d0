//! All roles of an embedded queue, for the process that holds them all.

use crate::{Driver, Reader, Submitter, Worker, embedded};

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
        let (queue, driver) = embedded::Queue::in_memory();
        Self {
            submitter: Submitter::embedded(queue.clone()),
            reader: Reader::embedded(queue.log().clone()),
            worker: Worker::embedded(queue),
            driver,
        }
    }
}

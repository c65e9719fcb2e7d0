//! A job as a kind of queue hands it out.

use protocol::Job;

/// A job that was taken, and what acknowledges it.
#[derive(Debug)]
pub(crate) struct Taken<A> {
    pub(crate) job: Job,
    /// How many times the job was delivered, this time included.
    pub(crate) attempt: u64,
    pub(crate) acker: A,
}

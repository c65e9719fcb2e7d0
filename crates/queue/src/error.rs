//! The errors of submitting a job and of publishing an event.

use std::error::Error;

use protocol::Problem;

/// The cause of an error: whatever the queue's client reported.
type Cause = Box<dyn Error + Send + Sync>;

/// The queue did not take a job.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The lane holds as many jobs as it may.
    #[error("queue full")]
    Full,
    /// The disk on which the queue keeps its jobs is full.
    #[error("disk full")]
    DiskFull(#[source] Cause),
    /// The job is longer than the queue allows. A [`Submission`](protocol::Submission) never makes such a
    /// job.
    #[error("job too long for the queue")]
    TooLong(#[source] Cause),
    /// The queue did not confirm in time that it has the job, which it may or may not have.
    #[error("queue unreachable")]
    Unreachable(#[source] Cause),
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Full => Self::queue_full(),
            SubmitError::DiskFull(_) => Self::disk_full(),
            SubmitError::TooLong(_) | SubmitError::Unreachable(_) => Self::queue_unreachable(),
        }
    }
}

/// An event that the log will not store, however often it is published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The event is longer than the log allows.
    #[error("event too long for the log")]
    TooLong(#[source] Cause),
}

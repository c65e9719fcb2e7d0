//! The operations of the writer.

use bytes::Bytes;
use protocol::{Audience, Job, JobContext, event::MessageId};
use tokio::sync::oneshot;

use crate::{error::SubmitError, stored::Stored};

/// Something to write.
#[derive(Debug)]
pub(super) enum Operation {
    /// A job is submitted. The answer comes once it is on disk.
    Submit {
        job: Job,
        reply: oneshot::Sender<Result<Stored, SubmitError>>,
    },
    /// An event is published. The answer comes once it is on disk.
    Publish {
        id: MessageId,
        audience: Audience,
        context: JobContext,
        payload: Bytes,
        reply: oneshot::Sender<Stored>,
    },
    /// A job was delivered for the `attempts`th time.
    Attempt {
        number: u64,
        attempts: u64,
        job: Job,
    },
    /// A job was acknowledged.
    Done { job: uuid::Uuid },
    /// The writer is woken, to remove what is too old or to end.
    Wake,
}

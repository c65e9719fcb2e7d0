//! Submitting jobs to the stream JOBS.

use std::time::Duration;

use protocol::{Job, to_json};
use tokio::time::Instant;

use super::{
    link,
    options::JetStreamOptions,
    publisher::{Publisher, StoreError},
};
use crate::{Driver, error::SubmitError};

/// How long a submission may take. Its sender is promised an answer within 2 seconds.
const SUBMIT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long a submission may take while the queue is known to be away. Whoever waits occupies a thread
/// of the web service that others need.
const AWAY_TIMEOUT: Duration = Duration::from_millis(200);

/// After how long without a connection the queue is known to be away.
const AWAY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(crate) struct Submitter(Publisher);

impl Submitter {
    pub(crate) async fn connect(
        options: &JetStreamOptions,
    ) -> Result<(Self, Driver), async_nats::ConnectError> {
        let (client, link) = link::connect(options, "web").await?;
        let driver = Driver::new({
            let link = link.clone();
            async move |ready| link.follow(&ready).await
        });
        Ok((Self(Publisher::new(client, link)), driver))
    }

    pub(crate) async fn submit(&self, job: &Job) -> Result<(), SubmitError> {
        let timeout = if self.0.link().is_away_for(AWAY_AFTER) {
            AWAY_TIMEOUT
        } else {
            SUBMIT_TIMEOUT
        };
        let subject = super::subjects::of_lane(job.lane());
        self.0
            .store(
                subject,
                &job.id.to_string(),
                &to_json(job).into(),
                Some(Instant::now() + timeout),
            )
            .await
            .map_err(|error| match error {
                StoreError::Full => SubmitError::Full,
                StoreError::TooLong(cause) => SubmitError::TooLong(cause),
                StoreError::TimedOut(cause) => SubmitError::Unreachable(cause),
            })
    }
}

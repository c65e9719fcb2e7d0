//! Removing the jobs that are done from the stream JOBS.

use std::{convert::Infallible, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{Consumer, pull},
};
use protocol::Lane;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::subjects;

/// How long to wait after an ack, so that many jobs are removed at once.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Removes the done jobs of `lane` after every ack, until an error occurs.
pub(super) async fn sweep(
    context: &jetstream::Context,
    stream: &str,
    lane: Lane,
    acked: &Notify,
) -> Result<Infallible, async_nats::Error> {
    loop {
        acked.notified().await;
        sleep_until(Instant::now() + SWEEP_INTERVAL).await;
        if let Err(error) = sweep_once(context, stream, lane).await {
            // What was not swept now is swept over the next connection.
            acked.notify_one();
            return Err(error);
        }
    }
}

async fn sweep_once(
    context: &jetstream::Context,
    stream: &str,
    lane: Lane,
) -> Result<(), async_nats::Error> {
    let stream = context.get_stream_no_info(stream).await?;
    let consumer: Consumer<pull::Config> = stream.get_consumer(lane.name()).await?;
    // All of the lane's jobs up to here are acknowledged, whichever calculator took them.
    let floor = consumer.cached_info().ack_floor.stream_sequence;
    // A purge removes what lies before the sequence that it is given.
    stream
        .purge()
        .filter(subjects::of_lane(lane))
        .sequence(floor + 1)
        .await?;
    Ok(())
}

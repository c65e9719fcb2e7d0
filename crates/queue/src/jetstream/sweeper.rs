//! Removing the jobs that are done from the stream JOBS.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{Consumer, pull},
};
use protocol::Lane;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::subjects;

/// How often done jobs are removed. In between, many become done, and are removed at once.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The most done jobs of one lane that are kept for the sake of their ids. If more become done within the
/// window, the oldest are removed earlier.
pub(super) const MAX_DONE_JOBS: u64 = 300_000;

/// Removes the jobs of `lane` that have been done for longer than `window`, until an error occurs.
///
/// A job stays that long because its id has to be remembered: a server that restarts knows only the
/// ids of the messages that it still holds.
pub(super) async fn sweep(
    context: &jetstream::Context,
    stream: &str,
    lane: Lane,
    window: Duration,
    acked: &Notify,
) -> Result<Infallible, async_nats::Error> {
    let stream = context.get_stream_no_info(stream).await?;
    let first = stream.get_info().await?.state.first_sequence;
    let mut floors = Floors::new(first.saturating_sub(1), window);
    loop {
        // While no job waits to be removed, the next ack is the next reason to look.
        if floors.is_empty() {
            acked.notified().await;
        }
        sleep_until(Instant::now() + SWEEP_INTERVAL).await;
        let consumer: Consumer<pull::Config> = stream.get_consumer(lane.name()).await?;
        // All of the lane's jobs up to here are acknowledged, whichever calculator took them.
        let floor = consumer.cached_info().ack_floor.stream_sequence;
        floors.add(floor, Instant::now());
        if let Some(floor) = floors.due(Instant::now()) {
            // A purge removes what lies before the sequence that it is given.
            stream
                .purge()
                .filter(subjects::of_lane(lane))
                .sequence(floor + 1)
                .await?;
        }
    }
}

/// The place up to which all jobs were done, at several times.
#[derive(Debug)]
struct Floors {
    samples: VecDeque<(Instant, u64)>,
    /// Everything up to here is removed.
    swept: u64,
    /// How long a done job is kept.
    window: Duration,
}

impl Floors {
    fn new(swept: u64, window: Duration) -> Self {
        Self {
            samples: VecDeque::new(),
            swept,
            window,
        }
    }

    fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Records that the jobs up to `floor` are done at `now`.
    fn add(&mut self, floor: u64, now: Instant) {
        let last = self.samples.back().map_or(self.swept, |(_, floor)| *floor);
        if floor > last {
            self.samples.push_back((now, floor));
        }
    }

    /// The place up to which the done jobs are to be removed at `now`, if there are any: those that
    /// were done longer ago than the window, and the oldest of too many.
    fn due(&mut self, now: Instant) -> Option<u64> {
        let newest = self.samples.back()?.1;
        let before = self.swept;
        while let Some((at, floor)) = self.samples.front()
            && (now.duration_since(*at) > self.window || newest - self.swept > MAX_DONE_JOBS)
        {
            self.swept = *floor;
            self.samples.pop_front();
        }
        (self.swept > before).then_some(self.swept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_done_job_is_kept_for_the_window() {
        let start = Instant::now();
        let mut floors = Floors::new(0, WINDOW);
        floors.add(5, start);
        floors.add(9, start + SECOND);
        assert_eq!(floors.due(start + WINDOW), None);
        assert_eq!(floors.due(start + WINDOW + SECOND / 2), Some(5));
        assert_eq!(floors.due(start + WINDOW + SECOND * 2), Some(9));
        assert!(floors.is_empty());
    }

    #[test]
    fn nothing_is_removed_before_anything_is_done() {
        let start = Instant::now();
        let mut floors = Floors::new(0, WINDOW);
        floors.add(0, start);
        assert!(floors.is_empty());
        assert_eq!(floors.due(start + WINDOW * 2), None);
    }

    #[test]
    fn the_oldest_of_too_many_done_jobs_go_early() {
        let start = Instant::now();
        let mut floors = Floors::new(100, WINDOW);
        floors.add(200, start);
        floors.add(300 + MAX_DONE_JOBS, start + SECOND);
        assert_eq!(floors.due(start + SECOND), Some(300 + MAX_DONE_JOBS));
        let mut floors = Floors::new(100, WINDOW);
        floors.add(200, start);
        floors.add(200 + MAX_DONE_JOBS, start + SECOND);
        assert_eq!(floors.due(start + SECOND), Some(200));
    }
}

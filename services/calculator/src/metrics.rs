//! The metrics of the calculator.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use protocol::Lane;
use queue::metrics::{PerLane, seconds};

/// The metrics of a calculator. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    small_ends: Ends,
    large_ends: Ends,
    queue_wait: PerLane<Histogram>,
    compute: PerLane<Histogram>,
}

/// How the work on a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With a value.
    Result,
    /// Without a value, for good.
    Failed,
    /// The job was given back at the shutdown.
    Released,
    /// Something went wrong, and the job is delivered again.
    Unfinished,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    lane: &'static str,
    outcome: &'static str,
}

/// A counter for each end of the jobs of one lane.
#[derive(Debug, Clone)]
struct Ends {
    result: Counter,
    failed: Counter,
    released: Counter,
    unfinished: Counter,
}

impl Metrics {
    /// Metrics that `registry` shows.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let ends = Family::default();
        let metrics = Self {
            small_ends: Ends::of(&ends, Lane::Small),
            large_ends: Ends::of(&ends, Lane::Large),
            queue_wait: PerLane::new(seconds),
            compute: PerLane::new(seconds),
        };
        registry.register("fibwire_jobs", "Jobs that were worked on", ends);
        registry.register_with_unit(
            "fibwire_queue_wait",
            "Time from accepting a job until it was taken",
            Unit::Seconds,
            metrics.queue_wait.family(),
        );
        registry.register_with_unit(
            "fibwire_compute",
            "Time from taking a job until its number was computed",
            Unit::Seconds,
            metrics.compute.family(),
        );
        metrics
    }

    pub(crate) fn taken(&self, lane: Lane, waited: Duration) {
        self.queue_wait.get(lane).observe(waited.as_secs_f64());
    }

    pub(crate) fn computed(&self, lane: Lane, took: Duration) {
        self.compute.get(lane).observe(took.as_secs_f64());
    }

    pub(crate) fn ended(&self, lane: Lane, end: End) {
        let ends = match lane {
            Lane::Small => &self.small_ends,
            Lane::Large => &self.large_ends,
        };
        ends.get(end).inc();
    }
}

impl Default for Metrics {
    /// Metrics that nobody sees.
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}

impl Ends {
    fn of(family: &Family<EndLabels, Counter>, lane: Lane) -> Self {
        let lane = lane.name();
        let counter = |outcome| family.get_or_create_owned(&EndLabels { lane, outcome });
        Self {
            result: counter("result"),
            failed: counter("failed"),
            released: counter("released"),
            unfinished: counter("unfinished"),
        }
    }

    fn get(&self, end: End) -> &Counter {
        match end {
            End::Result => &self.result,
            End::Failed => &self.failed,
            End::Released => &self.released,
            End::Unfinished => &self.unfinished,
        }
    }
}

//! The metrics of the queue's roles. Each role always has its metrics, and the owner of the role
//! registers them with the registry that shows them.

#[cfg(feature = "worker")]
mod holding;
mod lane;

use std::time::Duration;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use protocol::Lane;

#[cfg(feature = "worker")]
pub(crate) use holding::{Holding, Lanes, Shown};
pub use lane::{LaneLabel, PerLane};

use crate::{limits::MAX_JOBS_PER_LANE, stored::Stored};

/// The upper bound of the first bucket of a histogram, in seconds. Most of the measured times include a
/// sync of the disk, and the fastest sync takes longer than this.
const FIRST_BUCKET_S: f64 = 100e-6;
/// How many buckets there are, each twice as wide as the one before. They reach up to 105 seconds, by
/// which a job may be late after a long outage. With fewer and wider buckets, a median would be vague.
const BUCKETS: u16 = 21;

/// A histogram of times in seconds.
#[must_use]
pub fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(FIRST_BUCKET_S, 2.0, BUCKETS))
}

/// The metrics of a submitter.
#[derive(Debug, Clone)]
pub(crate) struct SubmitterMetrics {
    seconds: Histogram,
    duplicate_jobs: Counter,
    pub(crate) duplicates: Duplicates,
}

impl SubmitterMetrics {
    pub(crate) fn new(duplicates: &Duplicates) -> Self {
        Self {
            seconds: seconds(),
            duplicate_jobs: duplicates.of("jobs"),
            duplicates: duplicates.clone(),
        }
    }

    /// Records that the queue took a job.
    pub(crate) fn submitted(&self, took: Duration, stored: Stored) {
        self.seconds.observe(took.as_secs_f64());
        if stored == Stored::Before {
            self.duplicate_jobs.inc();
        }
    }

    /// Registers everything but the duplicates, of which a process with several roles has one family.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "fibwire_submit",
            "Time until the queue had a job, for the jobs that it took",
            Unit::Seconds,
            self.seconds.clone(),
        );
    }
}

/// The metrics of a worker.
#[derive(Debug, Clone)]
pub(crate) struct WorkerMetrics {
    store_seconds: Histogram,
    redeliveries: PerLane<Counter>,
    pub(crate) malformed_jobs: Counter,
    duplicate_events: Counter,
    pub(crate) duplicates: Duplicates,
}

impl WorkerMetrics {
    pub(crate) fn new(duplicates: &Duplicates) -> Self {
        Self {
            store_seconds: seconds(),
            redeliveries: PerLane::new(Counter::default),
            malformed_jobs: Counter::default(),
            duplicate_events: duplicates.of("results"),
            duplicates: duplicates.clone(),
        }
    }

    /// Records that a job was taken.
    pub(crate) fn taken(&self, lane: Lane, attempt: u64) {
        if attempt > 1 {
            self.redeliveries.get(lane).inc();
        }
    }

    /// Records that the log stored an event.
    pub(crate) fn published(&self, took: Duration, stored: Stored) {
        self.store_seconds.observe(took.as_secs_f64());
        if stored == Stored::Before {
            self.duplicate_events.inc();
        }
    }

    /// Registers everything but the duplicates, of which a process with several roles has one family.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "fibwire_event_store",
            "Time from publishing an event until the log had stored it",
            Unit::Seconds,
            self.store_seconds.clone(),
        );
        registry.register(
            "fibwire_redeliveries",
            "Jobs that were taken and had been taken before",
            self.redeliveries.family(),
        );
        registry.register(
            "fibwire_malformed_jobs",
            "Jobs that were discarded because they could not be read",
            self.malformed_jobs.clone(),
        );
        let capacity = PerLane::<Gauge>::new(|| {
            let gauge = Gauge::default();
            gauge.set(MAX_JOBS_PER_LANE.into());
            gauge
        });
        registry.register_with_unit(
            "fibwire_lane_capacity",
            "Jobs that a lane may hold",
            Unit::Other("jobs".into()),
            capacity.family(),
        );
    }
}

/// Counts messages that a stream had stored already. A process that holds several roles has one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Duplicates(Family<StreamLabel, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabel {
    stream: &'static str,
}

impl Duplicates {
    fn of(&self, stream: &'static str) -> Counter {
        self.0.get_or_create_owned(&StreamLabel { stream })
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "fibwire_duplicates",
            "Messages that were sent again although the queue had stored them",
            self.0.clone(),
        );
    }
}

/// Encodes a metric that is only known when it is asked for.
pub(crate) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> std::fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

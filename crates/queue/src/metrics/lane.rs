//! Metrics of each lane.

use prometheus_client::{encoding::EncodeLabelSet, metrics::family::Family};
use protocol::Lane;

/// The label of what is measured for each lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LaneLabel {
    /// The lane's name.
    pub lane: &'static str,
}

impl From<Lane> for LaneLabel {
    fn from(lane: Lane) -> Self {
        Self { lane: lane.name() }
    }
}

/// A metric for each lane. They are looked up in their family once, and not for each job.
#[derive(Debug, Clone)]
pub struct PerLane<M> {
    family: Family<LaneLabel, M, fn() -> M>,
    small: M,
    large: M,
}

impl<M: Clone> PerLane<M> {
    /// The metrics that `make` makes.
    #[must_use]
    pub fn new(make: fn() -> M) -> Self {
        let family = Family::<LaneLabel, M, fn() -> M>::new_with_constructor(make);
        let [small, large] =
            [Lane::Small, Lane::Large].map(|lane| family.get_or_create_owned(&lane.into()));
        Self {
            family,
            small,
            large,
        }
    }

    /// The metric of `lane`.
    #[must_use]
    pub fn get(&self, lane: Lane) -> &M {
        match lane {
            Lane::Small => &self.small,
            Lane::Large => &self.large,
        }
    }

    /// The family of both metrics, to be registered.
    #[must_use]
    pub fn family(&self) -> Family<LaneLabel, M, fn() -> M> {
        self.family.clone()
    }
}

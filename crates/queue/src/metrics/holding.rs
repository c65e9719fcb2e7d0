//! The jobs that the queue holds, as it says itself when it is asked.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue},
    metrics::MetricType,
    registry::Unit,
};
use protocol::{Lane, unix_us};

use super::lane::LaneLabel;

/// The jobs that a lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) waiting: u64,
    /// Taken and not acknowledged.
    pub(crate) in_progress: u64,
    /// When the queue got the oldest of them, in microseconds since the Unix epoch. `None` if the lane is
    /// empty or the time is not known.
    pub(crate) oldest_us: Option<u64>,
}

/// Knows what each lane holds.
pub(crate) trait Lanes: fmt::Debug + Send + Sync + 'static {
    /// The jobs in a lane; `None` while that is not known. A figure that may be wrong is not shown.
    fn holding(&self, lane: Lane) -> Option<Holding>;
}

/// Shows what the lanes hold.
#[derive(Debug)]
pub(crate) struct Shown<L>(pub(crate) L);

impl<L: Lanes> Collector for Shown<L> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let holding: Vec<_> = Lane::ALL
            .into_iter()
            .filter_map(|lane| Some((LaneLabel::from(lane), self.0.holding(lane)?)))
            .collect();
        encode(
            &mut encoder,
            ("fibwire_jobs_waiting", None),
            "Jobs that nobody has taken yet.",
            holding.iter().map(|(lane, held)| (lane, held.waiting)),
        )?;
        encode(
            &mut encoder,
            ("fibwire_jobs_in_progress", None),
            "Jobs that were taken and are not acknowledged yet.",
            holding.iter().map(|(lane, held)| (lane, held.in_progress)),
        )?;
        let now = unix_us();
        let age = |held: &Holding| {
            let since_us = match held.oldest_us {
                Some(oldest) => now.saturating_sub(oldest),
                None if held.waiting + held.in_progress == 0 => 0,
                None => return None,
            };
            Some(since_us as f64 / 1e6)
        };
        encode(
            &mut encoder,
            ("fibwire_oldest_job_age", Some(Unit::Seconds)),
            "Age of the oldest job that is not acknowledged, or 0 if there is none.",
            holding
                .iter()
                .filter_map(|(lane, held)| Some((lane, age(held)?))),
        )
    }
}

fn encode<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, unit): (&str, Option<Unit>),
    help: &str,
    values: impl Iterator<Item = (&'a LaneLabel, impl EncodeGaugeValue)>,
) -> fmt::Result {
    let mut encoder = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
    for (lane, value) in values {
        encoder.encode_family(lane)?.encode_gauge(&value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[derive(Debug)]
    struct OnlySmall(Holding);

    impl Lanes for OnlySmall {
        fn holding(&self, lane: Lane) -> Option<Holding> {
            (lane == Lane::Small).then_some(self.0)
        }
    }

    /// The samples of small jobs, of which that many wait.
    fn samples(waiting: u64) -> Vec<String> {
        let mut registry = Registry::default();
        let holding = Holding {
            waiting,
            in_progress: 0,
            oldest_us: None,
        };
        registry.register_collector(Box::new(Shown(OnlySmall(holding))));
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let counts = [
            r#"fibwire_jobs_waiting{lane="small"} 3"#,
            r#"fibwire_jobs_in_progress{lane="small"} 0"#,
        ];
        assert_eq!(samples(3), counts);
    }

    #[test]
    fn the_oldest_of_no_jobs_has_the_age_0() {
        let age = r#"fibwire_oldest_job_age_seconds{lane="small"} 0.0"#;
        assert_eq!(samples(0).last().map(String::as_str), Some(age));
    }
}

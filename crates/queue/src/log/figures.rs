//! The figures that a log shows to Prometheus.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::gauge::ConstGauge, registry::Unit};

use crate::metrics::encode;

/// The figures of a log at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// How many events the furthest-behind cursor is behind the newest event.
    pub(super) lag: u64,
    pub(super) tail_events: usize,
    pub(super) tail_bytes: usize,
    /// `None` while it is not known.
    pub(super) log_bytes: Option<u64>,
    pub(super) log_limit_bytes: usize,
}

impl Figures {
    pub(super) fn encode(self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let events = Unit::Other("events".into());
        encode(
            &mut encoder,
            "fibwire_cursor_lag",
            "How far the furthest-behind reader is behind the newest event.",
            Some(&events),
            &ConstGauge::new(self.lag),
        )?;
        encode(
            &mut encoder,
            "fibwire_tail",
            "Events in the tail of the log, which is in memory.",
            Some(&events),
            &ConstGauge::new(self.tail_events),
        )?;
        encode(
            &mut encoder,
            "fibwire_tail",
            "Memory that the tail of the log takes.",
            Some(&Unit::Bytes),
            &ConstGauge::new(self.tail_bytes),
        )?;
        if let Some(bytes) = self.log_bytes {
            encode(
                &mut encoder,
                "fibwire_log",
                "Size of the whole log.",
                Some(&Unit::Bytes),
                &ConstGauge::new(bytes),
            )?;
        }
        encode(
            &mut encoder,
            "fibwire_log_limit",
            "Size beyond which the oldest events of the log make room.",
            Some(&Unit::Bytes),
            &ConstGauge::new(self.log_limit_bytes),
        )
    }
}

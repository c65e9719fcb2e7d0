//! The time as the embedded queue counts it: it goes on across restarts and never runs backwards.

use std::time::Duration;

use protocol::unix_us;

/// A point in time, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(pub(super) u64);

impl Instant {
    /// How long ago `earlier` was; nothing if it was later.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The time that long before this one.
    pub(super) fn before(self, duration: Duration) -> Self {
        let us = u64::try_from(duration.as_micros()).expect("64 bits last for 580 000 years");
        Self(self.0.saturating_sub(us))
    }
}

/// Tells the time.
#[derive(Debug)]
pub(super) struct Clock {
    started: std::time::Instant,
    started_us: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            started: std::time::Instant::now(),
            started_us: unix_us(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        let elapsed = u64::try_from(self.started.elapsed().as_micros())
            .expect("64 bits last for 580 000 years");
        Instant(self.started_us + elapsed)
    }
}

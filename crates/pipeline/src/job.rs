//! A unit of work as it lies in the queue.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ClientToken;

/// The largest n that counts as small; above it a job goes to the large lane.
pub const LARGE_N: u64 = 1_000_000;

/// Work out F(`n`) for `client`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The job's name everywhere: in the answer, in every event, and against duplicates.
    pub id: Uuid,
    /// Which Fibonacci number is wanted.
    pub n: u64,
    /// The private channel of whoever asked; without it the result is for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientToken>,
    /// When the job was accepted, in microseconds since the Unix epoch.
    pub accepted_us: u64,
}

impl Job {
    /// The lane that this job belongs to.
    #[must_use]
    pub fn lane(&self) -> Lane {
        if self.n > LARGE_N {
            Lane::Large
        } else {
            Lane::Small
        }
    }
}

/// Two lanes, so that a flood of giants does not delay the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Jobs of n up to [`LARGE_N`].
    Small,
    /// Jobs above it.
    Large,
}

impl Lane {
    /// The lane's name: its consumer, and the last part of its subject.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }

    /// The subject that carries this lane's jobs.
    pub(crate) fn subject(self) -> &'static str {
        match self {
            Self::Small => "jobs.small",
            Self::Large => "jobs.large",
        }
    }
}

/// The time now in microseconds since the Unix epoch.
#[must_use]
pub fn unix_us() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(n: u64) -> Job {
        Job {
            id: Uuid::nil(),
            n,
            client: None,
            accepted_us: 7,
        }
    }

    #[test]
    fn a_job_above_a_million_is_large() {
        assert_eq!(job(1_000_000).lane(), Lane::Small);
        assert_eq!(job(1_000_001).lane(), Lane::Large);
    }

    #[test]
    fn a_job_survives_the_wire() {
        let client = Some("0123456789abcdef".parse().unwrap());
        for job in [
            job(10),
            Job {
                client,
                ..job(u64::MAX)
            },
        ] {
            let wire = serde_json::to_vec(&job).unwrap();
            assert_eq!(serde_json::from_slice::<Job>(&wire).unwrap(), job);
        }
    }
}

//! A unit of work, as the queue holds it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Audience, ClientToken, JobContext, TraceParent, json};

/// The largest n of a small job. A job with a larger n goes to the large lane.
pub const MAX_SMALL_N: u64 = 1_000_000;

/// A request to compute F(`n`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Identifies the job in the answer to its sender, in its events, and when it is sent again.
    pub id: Uuid,
    /// Which Fibonacci number to compute.
    pub n: u64,
    /// The private channel that the sender chose. Without one the result is public.
    pub client: Option<ClientToken>,
    /// When the job was accepted, and the trace that it belongs to.
    pub context: JobContext,
}

/// The payload of a job's message. The rest of the job travels next to it.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    id: Uuid,
    n: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<ClientToken>,
    accepted_us: u64,
}

impl Job {
    /// The job as it is submitted: JSON, without its `traceparent`, which travels next to it, in a
    /// header or in the record on disk.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let payload = Payload {
            id: self.id,
            n: self.n,
            client: self.client.clone(),
            accepted_us: self.context.accepted_us,
        };
        json::encode(&payload).into()
    }

    /// The job that [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// If the payload is not a job.
    pub fn decode(payload: &[u8], traceparent: TraceParent) -> Result<Self, serde_json::Error> {
        let payload: Payload = serde_json::from_slice(payload)?;
        Ok(Self {
            id: payload.id,
            n: payload.n,
            client: payload.client,
            context: JobContext {
                accepted_us: payload.accepted_us,
                traceparent,
            },
        })
    }

    /// The lane that this job belongs to.
    #[must_use]
    pub fn lane(&self) -> Lane {
        if self.n > MAX_SMALL_N {
            Lane::Large
        } else {
            Lane::Small
        }
    }

    /// The receivers of the job's events.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.client
            .clone()
            .map_or(Audience::Public, Audience::Client)
    }
}

/// Jobs travel in two lanes, so that a flood of large ones does not delay the small ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Jobs with an n of up to [`MAX_SMALL_N`].
    Small,
    /// Jobs with a larger n.
    Large,
}

impl Lane {
    /// Both lanes.
    pub const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// The lane's name, which is also the last part of its subject.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(n: u64) -> Job {
        Job {
            id: Uuid::nil(),
            n,
            client: None,
            context: JobContext::now(TraceParent::random()),
        }
    }

    #[test]
    fn a_job_with_an_n_above_a_million_is_large() {
        assert_eq!(job(1_000_000).lane(), Lane::Small);
        assert_eq!(job(1_000_001).lane(), Lane::Large);
    }

    #[test]
    fn a_job_is_the_same_after_it_was_encoded_and_decoded() {
        let client = Some("0123456789abcdef".parse().unwrap());
        for job in [
            job(10),
            Job {
                client,
                ..job(u64::MAX)
            },
        ] {
            let decoded = Job::decode(&job.encode(), job.context.traceparent);
            assert_eq!(decoded.unwrap(), job);
        }
    }

    #[test]
    fn the_names_of_the_lanes_are_those_in_the_queue() {
        assert_eq!(Lane::ALL.map(Lane::name), ["small", "large"]);
    }
}

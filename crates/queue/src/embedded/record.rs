//! Records as they are on disk. Each begins with a checksum of its key and its content, so that a
//! damaged record, or one under the wrong key, is recognised.

use protocol::{Audience, Job, JobContext, TraceParent, event::MessageId};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{clock::Instant, store::Table};
use crate::log::Entry;

const CHECKSUM: usize = size_of::<u64>();
const UUID: usize = size_of::<Uuid>();

/// The record is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("damaged record")]
pub(super) struct Damaged;

/// A job that is not done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JobRecord {
    pub(super) attempts: u64,
    pub(super) job: Job,
}

/// An event, with what has to be known of it without parsing it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventRecord<'a> {
    pub(super) published: Instant,
    pub(super) context: JobContext,
    pub(super) audience: Audience,
    pub(super) payload: &'a [u8],
}

/// The part of a commit that must be remembered after its jobs and events are gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CommitRecord {
    /// The ids of the jobs that were submitted.
    pub(super) jobs: Vec<Uuid>,
    /// The ids of the events that were published.
    pub(super) events: Vec<MessageId>,
    /// The place of the last event so far.
    pub(super) last_event: u64,
    /// The number of the last job so far.
    pub(super) last_job: u64,
}

impl JobRecord {
    pub(super) fn encode(number: u64, attempts: u64, job: &Job) -> Vec<u8> {
        let mut record = Writer::new();
        record.u64(attempts);
        record.bytes(&job.context.traceparent.to_bytes());
        record.bytes(&job.encode());
        record.finish(Table::Jobs, number)
    }

    pub(super) fn decode(number: u64, record: &[u8]) -> Result<Self, Damaged> {
        let mut record = Reader::new(Table::Jobs, number, record)?;
        let attempts = record.u64()?;
        let traceparent = record.traceparent()?;
        Ok(Self {
            attempts,
            job: Job::decode(record.rest(), traceparent).map_err(|_| Damaged)?,
        })
    }
}

impl<'a> EventRecord<'a> {
    pub(super) fn encode(&self, seq: u64) -> Vec<u8> {
        let mut record = Writer::new();
        record.u64(self.published.0);
        record.u64(self.context.accepted_us);
        record.bytes(&self.context.traceparent.to_bytes());
        let token = match &self.audience {
            Audience::Public => "",
            Audience::Client(token) => token.as_str(),
        };
        record.bytes(&[u8::try_from(token.len()).expect("a token has at most 64 characters")]);
        record.bytes(token.as_bytes());
        record.bytes(self.payload);
        record.finish(Table::Events, seq)
    }

    pub(super) fn decode(seq: u64, record: &'a [u8]) -> Result<Self, Damaged> {
        let mut record = Reader::new(Table::Events, seq, record)?;
        let published = Instant(record.u64()?);
        let context = JobContext {
            accepted_us: record.u64()?,
            traceparent: record.traceparent()?,
        };
        let [length] = record.array()?;
        let audience = match record.take(length.into())? {
            [] => Audience::Public,
            token => Audience::Client(
                std::str::from_utf8(token)
                    .ok()
                    .and_then(|token| token.parse().ok())
                    .ok_or(Damaged)?,
            ),
        };
        Ok(Self {
            published,
            context,
            audience,
            payload: record.rest(),
        })
    }

    /// The event at its place in the log.
    pub(super) fn entry(self, seq: u64) -> Result<Entry, Damaged> {
        Entry::parse(seq, self.audience, Some(self.context), self.payload).map_err(|_| Damaged)
    }
}

impl CommitRecord {
    pub(super) fn encode(&self, at: Instant) -> Vec<u8> {
        let mut record = Writer::new();
        record.u64(self.last_event);
        record.u64(self.last_job);
        record.u64(self.jobs.len() as u64);
        for id in &self.jobs {
            record.bytes(id.as_bytes());
        }
        for id in &self.events {
            record.bytes(&id.to_bytes());
        }
        record.finish(Table::Commits, at.0)
    }

    pub(super) fn decode(at: Instant, record: &[u8]) -> Result<Self, Damaged> {
        let mut record = Reader::new(Table::Commits, at.0, record)?;
        let (last_event, last_job) = (record.u64()?, record.u64()?);
        let jobs = usize::try_from(record.u64()?).map_err(|_| Damaged)?;
        let (jobs, []) = record
            .take(jobs.checked_mul(UUID).ok_or(Damaged)?)?
            .as_chunks()
        else {
            return Err(Damaged);
        };
        let (events, []) = record.rest().as_chunks() else {
            return Err(Damaged);
        };
        Ok(Self {
            jobs: jobs.iter().copied().map(Uuid::from_bytes).collect(),
            events: events
                .iter()
                .map(|id| MessageId::from_bytes(id).ok_or(Damaged))
                .collect::<Result<_, _>>()?,
            last_event,
            last_job,
        })
    }
}

/// Whether the record is what was written.
pub(super) fn is_whole(table: Table, key: u64, record: &[u8]) -> bool {
    Reader::new(table, key, record).is_ok()
}

/// Builds a record.
struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Self {
        Self(vec![0; CHECKSUM])
    }

    fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(mut self, table: Table, key: u64) -> Vec<u8> {
        let checksum = checksum(table, key, &self.0[CHECKSUM..]);
        self.0[..CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        self.0
    }
}

/// Takes a record apart.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(table: Table, key: u64, record: &'a [u8]) -> Result<Self, Damaged> {
        let (expected, content) = record.split_first_chunk::<CHECKSUM>().ok_or(Damaged)?;
        if u64::from_be_bytes(*expected) == checksum(table, key, content) {
            Ok(Self(content))
        } else {
            Err(Damaged)
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.take(N)?.try_into().map_err(|_| Damaged)
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        self.array().map(u64::from_be_bytes)
    }

    fn traceparent(&mut self) -> Result<TraceParent, Damaged> {
        TraceParent::from_bytes(self.array()?).ok_or(Damaged)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

fn checksum(table: Table, key: u64, content: &[u8]) -> u64 {
    // A record of one table is not one of another. No key comes near the bits of the table.
    xxh3_64_with_seed(content, key ^ ((table as u64) << 62))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            id: Uuid::from_u128(7),
            n: 10,
            client: Some("0123456789abcdef".parse().unwrap()),
            context: JobContext {
                accepted_us: 7,
                traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
                    .parse()
                    .unwrap(),
            },
        }
    }

    #[test]
    fn records_are_the_same_after_they_were_encoded_and_decoded() {
        let record = JobRecord::encode(3, 2, &job());
        let decoded = JobRecord::decode(3, &record).unwrap();
        assert_eq!((decoded.attempts, decoded.job), (2, job()));

        for audience in [Audience::Public, job().audience()] {
            let event = || EventRecord {
                published: Instant(5),
                context: job().context,
                audience: audience.clone(),
                payload: b"{}",
            };
            let record = event().encode(9);
            assert_eq!(EventRecord::decode(9, &record).unwrap(), event());
        }

        let commit = || CommitRecord {
            jobs: vec![Uuid::from_u128(1), Uuid::from_u128(2)],
            events: vec![],
            last_event: 4,
            last_job: 5,
        };
        let record = commit().encode(Instant(1));
        assert_eq!(CommitRecord::decode(Instant(1), &record).unwrap(), commit());
    }

    #[test]
    fn a_record_that_was_changed_or_moved_is_damaged() {
        let record = JobRecord::encode(3, 2, &job());
        assert!(JobRecord::decode(4, &record).is_err());
        assert!(EventRecord::decode(3, &record).is_err());
        for length in 0..record.len() {
            assert!(JobRecord::decode(3, &record[..length]).is_err(), "{length}");
        }
        for bit in 0..record.len() * 8 {
            let mut changed = record.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(JobRecord::decode(3, &changed).is_err(), "{bit}");
        }
    }
}

//! Which events are on disk: enough to know what has expired and where the events for an audience may
//! be, without looking at the disk.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use protocol::Audience;

use super::clock::Instant;
use crate::log::{Held, Retention};

/// The most events in a chunk.
const CHUNK_EVENTS: u64 = 1024;
/// The bytes of events after which a chunk is full.
const CHUNK_BYTES: u64 = 1024 * 1024;
/// The age of its first event after which a chunk is full.
const CHUNK_AGE: std::time::Duration = std::time::Duration::from_secs(10);
/// The bytes that an event takes on disk besides its record.
const EVENT_OVERHEAD: u64 = 16;

/// The events on disk, in chunks of consecutive places.
#[derive(Debug)]
pub(super) struct Extent {
    retention: Retention,
    chunks: VecDeque<Chunk>,
    bytes: u64,
    /// The place of the last event so far, whether it is still held or not.
    last: u64,
}

#[derive(Debug)]
struct Chunk {
    first: u64,
    last: u64,
    /// When its first and its last event were published.
    oldest: Instant,
    newest: Instant,
    bytes: u64,
    /// The hashes of the audiences that it has events for.
    audiences: HashSet<u64>,
}

/// The place where the next event may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// From the first to the last of these places.
    Among(u64, u64),
    /// Events before this place are gone.
    After(u64),
    /// There is no such event.
    Nowhere,
}

impl Extent {
    /// No events.
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            chunks: VecDeque::new(),
            bytes: 0,
            last: 0,
        }
    }

    pub(super) fn held(&self) -> Held {
        Held {
            first: self
                .chunks
                .front()
                .map_or(self.last.saturating_add(1), |chunk| chunk.first),
            last: self.last,
        }
    }

    /// How many events are held.
    pub(super) fn count(&self) -> u64 {
        self.chunks
            .iter()
            .map(|chunk| chunk.last - chunk.first + 1)
            .sum()
    }

    /// How many bytes the events take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records that the log once reached this place.
    pub(super) fn reach(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// Adds an event whose record has that many bytes. Its place is after all others.
    pub(super) fn add(&mut self, seq: u64, published: Instant, bytes: usize, audience: &Audience) {
        let bytes = bytes as u64 + EVENT_OVERHEAD;
        self.bytes += bytes;
        self.last = seq;
        let audience = hash(audience);
        match self.chunks.back_mut() {
            Some(chunk)
                if chunk.last + 1 == seq
                    && seq - chunk.first < CHUNK_EVENTS
                    && chunk.bytes < CHUNK_BYTES
                    && published.since(chunk.oldest) < CHUNK_AGE =>
            {
                chunk.last = seq;
                chunk.newest = chunk.newest.max(published);
                chunk.bytes += bytes;
                chunk.audiences.insert(audience);
            }
            _ => self.chunks.push_back(Chunk {
                first: seq,
                last: seq,
                oldest: published,
                newest: published,
                bytes,
                audiences: HashSet::from([audience]),
            }),
        }
    }

    /// The first place to keep when `more` bytes are added at `now`, if anything has to go.
    pub(super) fn expired(&self, now: Instant, more: u64) -> Option<u64> {
        let limit = self.retention.bytes as u64;
        let mut bytes = self.bytes + more;
        let mut first = None;
        for chunk in &self.chunks {
            if bytes <= limit && now.since(chunk.newest) < self.retention.age {
                break;
            }
            bytes -= chunk.bytes;
            first = Some(chunk.last + 1);
        }
        first
    }

    /// Forgets the events before `first`, which an earlier [`expired`](Self::expired) returned.
    pub(super) fn remove_before(&mut self, first: u64) {
        while let Some(chunk) = self.chunks.front()
            && chunk.last < first
        {
            self.bytes -= chunk.bytes;
            self.chunks.pop_front();
        }
    }

    /// The place to look for the first event after `position` for one of `audiences`.
    pub(super) fn find(&self, audiences: &[Audience], position: u64) -> Place {
        let audiences: Vec<_> = audiences.iter().map(hash).collect();
        let mut next = position.saturating_add(1);
        let begin = self.chunks.partition_point(|chunk| chunk.last < next);
        for chunk in self.chunks.range(begin..) {
            if chunk.first > next {
                return Place::After(chunk.first);
            }
            if audiences.iter().any(|hash| chunk.audiences.contains(hash)) {
                return Place::Among(next, chunk.last);
            }
            next = chunk.last + 1;
        }
        if self.last >= next {
            return Place::After(self.last + 1);
        }
        Place::Nowhere
    }
}

/// Two audiences with one hash cost a look at the disk and nothing else.
fn hash(audience: &Audience) -> u64 {
    let mut hasher = DefaultHasher::new();
    audience.hash(&mut hasher);
    hasher.finish()
}

//! The contents of a store at the start, checked record by record.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use protocol::event::MessageId;
use uuid::Uuid;

use super::{
    clock::Instant,
    extent::Extent,
    lanes::Attempted,
    recent::Recent,
    record::{CommitRecord, EventRecord, JobRecord},
    store::{Scan, Store, StoreError, Table},
};
use crate::log::{Entry, Retention};

/// The contents of a store.
#[derive(Debug)]
pub(super) struct Contents {
    /// The jobs that are not done, in the order in which they were submitted.
    pub(super) jobs: Vec<Attempted>,
    pub(super) known: Known,
    pub(super) extent: Extent,
    /// The newest events.
    pub(super) tail: VecDeque<Entry>,
    pub(super) losses: Losses,
}

/// The writer's knowledge of everything that it has written.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) submitted: Recent<Uuid>,
    pub(super) published: Recent<MessageId>,
    /// The jobs on disk and their keys.
    pub(super) jobs: HashMap<Uuid, u64>,
    pub(super) last_job: u64,
    pub(super) last_event: u64,
    pub(super) last_commit: Instant,
}

/// The damage: records that differ from those that were written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Losses {
    pub(super) jobs: u64,
    pub(super) events: u64,
    pub(super) commits: u64,
    /// Whether the store itself is damaged, so that more may be missing.
    pub(super) structure: bool,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) log: Retention,
    pub(super) tail_bytes: usize,
    /// The time for which ids are remembered, and the most of them.
    pub(super) remembered_for: Duration,
    pub(super) max_ids: usize,
}

impl Contents {
    /// Reads all of `store`.
    pub(super) fn load(
        store: &mut impl Store,
        keep: Keep,
        now: Instant,
    ) -> Result<Self, StoreError> {
        let mut contents = Self {
            jobs: Vec::new(),
            known: Known {
                submitted: Recent::new(keep.remembered_for, keep.max_ids),
                published: Recent::new(keep.remembered_for, keep.max_ids),
                jobs: HashMap::new(),
                last_job: 0,
                last_event: 0,
                last_commit: Instant(0),
            },
            extent: Extent::new(keep.log),
            tail: VecDeque::new(),
            losses: Losses::default(),
        };
        contents.load_commits(store, keep.remembered_for, now)?;
        contents.load_jobs(store)?;
        contents.load_events(store, keep.tail_bytes)?;
        Ok(contents)
    }

    fn load_commits(
        &mut self,
        store: &mut impl Store,
        remembered_for: Duration,
        now: Instant,
    ) -> Result<(), StoreError> {
        let known = &mut self.known;
        let scan = store.scan(Table::Commits, &mut |key, record| {
            let at = Instant(key);
            let Ok(commit) = CommitRecord::decode(at, record) else {
                self.losses.commits += 1;
                return;
            };
            known.last_commit = at;
            known.last_event = commit.last_event;
            known.last_job = commit.last_job;
            if now.since(at) < remembered_for {
                for id in commit.jobs {
                    known.submitted.insert(id, at);
                }
                for id in commit.events {
                    known.published.insert(id, at);
                }
            }
        })?;
        self.losses.structure |= scan == Scan::Damaged;
        Ok(())
    }

    fn load_jobs(&mut self, store: &mut impl Store) -> Result<(), StoreError> {
        let known = &mut self.known;
        let scan = store.scan(Table::Jobs, &mut |number, record| {
            let Ok(JobRecord { attempts, job }) = JobRecord::decode(number, record) else {
                self.losses.jobs += 1;
                return;
            };
            known.last_job = known.last_job.max(number);
            known.jobs.insert(job.id, number);
            self.jobs.push(Attempted {
                job,
                number,
                attempts,
            });
        })?;
        self.losses.structure |= scan == Scan::Damaged;
        Ok(())
    }

    fn load_events(&mut self, store: &mut impl Store, tail_bytes: usize) -> Result<(), StoreError> {
        let mut bytes = 0;
        let scan = store.scan(Table::Events, &mut |seq, record| {
            let event = EventRecord::decode(seq, record)
                .and_then(|event| Ok((event.published, event.entry(seq)?)));
            let Ok((published, entry)) = event else {
                self.losses.events += 1;
                return;
            };
            self.known.last_event = self.known.last_event.max(seq);
            self.extent
                .add(seq, published, record.len(), &entry.audience);
            bytes += entry.message.len();
            if self.tail.back().is_some_and(|last| last.seq + 1 != seq) {
                // The tail never has a hole.
                self.tail.clear();
                bytes = entry.message.len();
            }
            self.tail.push_back(entry);
            while bytes > tail_bytes {
                bytes -= self
                    .tail
                    .pop_front()
                    .map_or(bytes, |entry| entry.message.len());
            }
        })?;
        self.losses.structure |= scan == Scan::Damaged;
        self.extent.reach(self.known.last_event);
        Ok(())
    }

    /// Lets the log go on at a place after `place`, so that a reader of the events after the present
    /// end, should there have been any, is told of a gap.
    pub(super) fn skip_to(&mut self, place: u64) {
        self.known.last_event = self.known.last_event.max(place);
        self.extent.reach(place);
        self.tail.clear();
    }
}

impl Losses {
    pub(super) fn any(self) -> bool {
        self != Self::default()
    }
}

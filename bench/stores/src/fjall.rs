//! fjall: a log-structured merge tree behind a journal that is synced at every commit.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use crate::store::{Commit, Store};

pub(crate) struct Fjall {
    database: Database,
    jobs: Keyspace,
    events: Keyspace,
    /// Events with a smaller `seq` have been removed.
    first: u64,
}

impl Store for Fjall {
    const NAME: &'static str = "fjall";

    fn open(directory: &Path) -> Self {
        let database = Database::builder(directory).open().unwrap();
        let jobs = database
            .keyspace("jobs", KeyspaceCreateOptions::default)
            .unwrap();
        let events = database
            .keyspace("events", || {
                KeyspaceCreateOptions::default()
                    .with_kv_separation(Some(KvSeparationOptions::default()))
            })
            .unwrap();
        Self {
            database,
            jobs,
            events,
            first: 1,
        }
    }

    fn commit(&mut self, commit: &Commit) {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for (id, record) in &commit.jobs {
            batch.insert(&self.jobs, id.to_be_bytes(), record.as_slice());
        }
        for id in &commit.done {
            batch.remove(&self.jobs, id.to_be_bytes());
        }
        for (seq, record) in &commit.events {
            batch.insert(&self.events, seq.to_be_bytes(), record.as_slice());
        }
        for seq in self.first..commit.first {
            batch.remove(&self.events, seq.to_be_bytes());
        }
        self.first = self.first.max(commit.first);
        batch.commit().unwrap();
    }

    fn read(&self, seq: u64, count: usize) -> usize {
        (seq..)
            .take(count)
            .map(|seq| {
                let mut range = self.events.range(seq.to_be_bytes()..);
                range.next().unwrap().value().unwrap().len()
            })
            .sum()
    }
}

//! redb: copy-on-write B-trees, synced at every commit.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};

use crate::store::{Commit, Store};

const JOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("jobs");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

pub(crate) struct Redb {
    database: Database,
    /// The events before this place were removed.
    first: u64,
}

impl Store for Redb {
    const NAME: &'static str = "redb";

    fn open(directory: &Path) -> Self {
        let database = Database::builder()
            .set_cache_size(16 * 1024 * 1024)
            .create(directory.join("store"))
            .unwrap();
        Self { database, first: 1 }
    }

    fn commit(&mut self, commit: &Commit) {
        let transaction = self.database.begin_write().unwrap();
        {
            let mut jobs = transaction.open_table(JOBS).unwrap();
            let mut events = transaction.open_table(EVENTS).unwrap();
            for (id, record) in &commit.jobs {
                jobs.insert(id, record.as_slice()).unwrap();
            }
            for id in &commit.done {
                jobs.remove(id).unwrap();
            }
            for (seq, record) in &commit.events {
                events.insert(seq, record.as_slice()).unwrap();
            }
            for seq in self.first..commit.first {
                events.remove(seq).unwrap();
            }
        }
        self.first = self.first.max(commit.first);
        transaction.commit().unwrap();
    }

    fn read(&self, seq: u64, count: usize) -> usize {
        let transaction = self.database.begin_read().unwrap();
        let events = transaction.open_table(EVENTS).unwrap();
        (seq..)
            .take(count)
            .map(|seq| {
                events
                    .range(seq..)
                    .unwrap()
                    .next()
                    .unwrap()
                    .unwrap()
                    .1
                    .value()
                    .len()
            })
            .sum()
    }
}

//! The writer's view of a disk: commits that are whole or did not happen, and all of their records
//! at the next start.

use std::error::Error;

/// Keeps the queue's records, each in a table and under a key. Keys are below 2^62.
pub(super) trait Store: Send {
    /// Writes all of `batch` or none of it. A synced commit also syncs every earlier one.
    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StoreError>;

    /// Calls `each` for every record of `table`, in the order of the keys. Returns whether some of
    /// them could not be read.
    fn scan(&mut self, table: Table, each: &mut dyn FnMut(u64, &[u8])) -> Result<Scan, StoreError>;
}

/// The tables of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// The jobs that are not done, by the order in which they were submitted.
    Jobs,
    /// The events, by their place in the log.
    Events,
    /// The part of each commit that must be remembered, by time.
    Commits,
}

impl Table {
    pub(super) const ALL: [Self; 3] = [Self::Jobs, Self::Events, Self::Commits];
}

/// Changes that belong together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Records to add, or to replace those under the same keys.
    pub(super) puts: Vec<(Table, u64, Vec<u8>)>,
    /// The keys of the jobs to remove.
    pub(super) done: Vec<u64>,
    /// The first event to keep. Those before it are removed.
    pub(super) first_event: Option<u64>,
    /// The time of the first commit to keep. Those before it are removed.
    pub(super) first_commit: Option<u64>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.puts.is_empty()
            && self.done.is_empty()
            && self.first_event.is_none()
            && self.first_commit.is_none()
    }
}

/// How much a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The end of the process.
    Written,
    /// A power failure.
    Synced,
}

/// How a scan went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// Every record was read.
    Whole,
    /// The store is damaged, and some records may be missing.
    Damaged,
}

/// Why a store failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// There is no room. Nothing was written, so the commit may be tried again.
    #[error("disk full")]
    Full(#[source] Box<dyn Error + Send + Sync>),
    /// The contents of the disk are no longer known. Trying again would hide that.
    #[error("disk failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

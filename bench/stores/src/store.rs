//! The operations of each store.

use std::path::Path;

/// The contents of a commit.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    pub(crate) jobs: Vec<(u64, Vec<u8>)>,
    pub(crate) done: Vec<u64>,
    pub(crate) events: Vec<(u64, Vec<u8>)>,
    /// The events before this place are removed.
    pub(crate) first: u64,
}

/// A store of jobs and events.
pub(crate) trait Store: Sized {
    const NAME: &'static str;

    fn open(directory: &Path) -> Self;

    /// Writes all of it or nothing, and returns once it is on disk.
    fn commit(&mut self, commit: &Commit);

    /// The bytes of up to `count` events from `seq` on.
    fn read(&self, seq: u64, count: usize) -> usize;
}

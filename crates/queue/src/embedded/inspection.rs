//! The contents of the directory of a queue on disk.

use std::{fs, path::Path};

use super::{
    clock::Clock,
    directory::{Directory, FORMAT, OpenError},
    limits::KEEP,
    load::Contents,
    sqlite::Sqlite,
};

/// The contents of the directory of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// The version of the format of its files.
    pub format: u32,
    /// How many jobs are not done.
    pub jobs: u64,
    /// How many events are held.
    pub events: u64,
    /// The places of the first and the last event that are held, if there are any.
    pub places: Option<(u64, u64)>,
    /// How many bytes the files have.
    pub bytes: u64,
    /// Whether some of the files' content is damaged. The next start leaves it out.
    pub is_damaged: bool,
}

impl Inspection {
    /// Reads the queue in `directory`, which is in use meanwhile.
    ///
    /// # Errors
    ///
    /// [`OpenError`], such as a directory that is in use or has no queue in it.
    pub fn of(directory: &Path) -> Result<Self, OpenError> {
        let directory = Directory::open(directory)?;
        let unreadable = |error| OpenError::Store(directory.path().to_owned(), error);
        let bytes = bytes(directory.path()).map_err(|error| unreadable(error.into()))?;
        let mut store =
            Sqlite::open(&directory.store()).map_err(|error| unreadable(error.into()))?;
        let contents = Contents::load(&mut store, KEEP, Clock::new().now())
            .map_err(|error| unreadable(error.into()))?;
        let events = contents.extent.count();
        let held = contents.extent.held();
        Ok(Self {
            format: FORMAT,
            jobs: contents.jobs.len() as u64,
            events,
            places: (events > 0).then_some((held.first, held.last)),
            bytes,
            is_damaged: contents.losses.any(),
        })
    }
}

fn bytes(directory: &Path) -> std::io::Result<u64> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.metadata()?.len()))
        .sum()
}

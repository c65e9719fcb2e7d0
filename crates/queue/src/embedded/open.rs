//! Opening the store of a directory: what is damaged is reported with what it costs, and everything
//! else is kept.

use std::{
    error::Error,
    fs::{self, File},
    io, mem,
    path::{Path, PathBuf},
};

use protocol::unix_us;

use super::{
    clock::Instant,
    directory::{Directory, OpenError, private_file},
    limits::KEEP,
    load::Contents,
    record,
    sqlite::{self, EventReader, Sqlite},
    store::{Batch, Durability, Store, StoreError, Table},
    write_ahead_log::{self, Cut},
};

/// The suffix of a store that was rebuilt and is not in its place yet.
const REBUILT: &str = ".rebuilt";

/// How many records are copied in one commit when a damaged store is rebuilt.
const REBUILD_STEP: usize = 256;

/// An open store and what is in it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Sqlite,
    pub(super) reader: EventReader,
    pub(super) contents: Contents,
}

impl Opened {
    /// Opens the store, and creates it if it does not exist.
    pub(super) fn open(directory: &Directory, now: Instant) -> Result<Self, OpenError> {
        let path = directory.store();
        open(&path, now).map_err(|error| OpenError::Store(directory.path().to_owned(), error))
    }
}

fn open(path: &Path, now: Instant) -> Result<Opened, Box<dyn Error + Send + Sync>> {
    finish_rebuilding(path)?;
    let cut = write_ahead_log::examine(&with(path, "-wal"))?;
    if cut != Cut::default() {
        tracing::warn!(
            pages = cut.pages,
            commits = cut.commits,
            "the end of the store is damaged or unfinished and was cut off at the last whole commit"
        );
    }
    let (store, mut contents) = match open_sound(path, now)? {
        Ok(opened) => opened,
        Err(damaged) => {
            rebuild(path, damaged)?;
            let mut store = Sqlite::open(path)?;
            let mut contents = Contents::load(&mut store, KEEP, now)?;
            contents.skip_to(unix_us());
            (store, contents)
        }
    };
    if contents.known.last_event == 0 || cut.commits > 0 {
        // A log begins at the current time. A place in an earlier log therefore lies before this
        // one's beginning, and a reader that comes back with it is told of a gap.
        contents.skip_to(unix_us());
    }
    let reader = store.reader()?;
    Ok(Opened {
        store,
        reader,
        contents,
    })
}

/// Opens a store that is not damaged. Returns a damaged one, as far as it can be opened at all.
#[allow(
    clippy::type_complexity,
    reason = "it is the return type of this function alone"
)]
fn open_sound(
    path: &Path,
    now: Instant,
) -> Result<Result<(Sqlite, Contents), Option<Sqlite>>, Box<dyn Error + Send + Sync>> {
    let mut store = match Sqlite::open(path) {
        Ok(store) => store,
        Err(error) if sqlite::is_corrupt(&error) => {
            tracing::error!(
                error = &error as &dyn Error,
                "the store is damaged and nothing of it can be read: all jobs and events are lost"
            );
            return Ok(Err(None));
        }
        Err(error) => return Err(error.into()),
    };
    let sound = store.is_sound()?;
    let mut contents = Contents::load(&mut store, KEEP, now)?;
    contents.losses.structure |= !sound;
    let losses = contents.losses;
    if !losses.any() {
        return Ok(Ok((store, contents)));
    }
    tracing::error!(
        jobs_lost = losses.jobs,
        events_lost = losses.events,
        commits_lost = losses.commits,
        more_may_be_lost = losses.structure,
        "the store is damaged and is rebuilt without what cannot be read"
    );
    Ok(Err(Some(store)))
}

/// Makes a new store of what can be read in a damaged one, which stays next to it.
fn rebuild(path: &Path, damaged: Option<Sqlite>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let new = with(path, ".new");
    for suffix in ["", "-wal", "-shm"] {
        remove(&with(&new, suffix))?;
    }
    private_file(&new)?;
    let mut store = Sqlite::open(&new)?;
    if let Some(mut damaged) = damaged {
        for table in Table::ALL {
            copy(&mut damaged, &mut store, table)?;
        }
    }
    store.close()?;
    File::open(&new)?.sync_all()?;
    fs::rename(&new, with(path, REBUILT))?;
    finish_rebuilding(path)?;
    Ok(())
}

fn copy(from: &mut Sqlite, to: &mut Sqlite, table: Table) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    let mut copied = Ok(());
    from.scan(table, &mut |key, record| {
        if copied.is_ok() && record::is_whole(table, key, record) {
            batch.puts.push((table, key, record.to_vec()));
            if batch.puts.len() == REBUILD_STEP {
                copied = to.commit(&mem::take(&mut batch), Durability::Written);
            }
        }
    })?;
    copied?;
    to.commit(&batch, Durability::Synced)
}

/// Puts a rebuilt store in its place, if there is one. It is whole, since it got its name last.
fn finish_rebuilding(path: &Path) -> io::Result<()> {
    let rebuilt = with(path, REBUILT);
    if !rebuilt.exists() {
        return Ok(());
    }
    if path.exists() {
        fs::rename(path, with(path, ".damaged"))?;
    }
    for suffix in ["-wal", "-shm"] {
        remove(&with(path, suffix))?;
    }
    fs::rename(rebuilt, path)?;
    let directory = path.parent().expect("the store is in a directory");
    File::open(directory)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The path of a file whose name has a suffix.
fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

//! The store on disk: three tables of SQLite, with a write-ahead log.

use std::{
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, params};

use super::store::{Batch, Durability, Scan, Store, StoreError, Table};

/// How many pages of the write-ahead log are written before they are copied into the file.
const CHECKPOINT_PAGES: usize = 4096;
/// How many pages the write-ahead log may have at the end of a checkpoint, when readers and further commits
/// keep SQLite from starting it over, before a commit waits for that. Up to twice `CHECKPOINT_PAGES` come on
/// top, so the log has at most 64 MiB.
const MAX_LOG_PAGES: i64 = 7 * 1024;
const PAGE: usize = 4096;
/// How long a checkpoint waits for readers.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// An open store.
#[derive(Debug)]
pub(super) struct Sqlite {
    /// Before the connection, because it ends first.
    checkpoint: Checkpoint,
    connection: Connection,
    path: PathBuf,
    durability: Option<Durability>,
    /// About how many pages were written since the last checkpoint.
    unchecked_pages: usize,
}

/// The checkpoint that is under way, if there is one. It is made on a thread of its own, because commits
/// need not wait for it.
#[derive(Debug, Default)]
struct Checkpoint(Option<JoinHandle<rusqlite::Result<i64>>>);

/// Reads events while the store is being written.
#[derive(Debug)]
pub(super) struct EventReader(Connection);

impl Sqlite {
    /// Opens the store in the file `path`, or makes one if the file is empty.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = connect(path)?;
        // The pages of events that expired are used for new ones, so the file does not grow forever.
        connection.execute_batch(&format!(
            "PRAGMA page_size = {PAGE};
             PRAGMA journal_mode = WAL;
             PRAGMA wal_autocheckpoint = 0;
             PRAGMA secure_delete = OFF;
             PRAGMA cell_size_check = ON;
             PRAGMA temp_store = MEMORY;"
        ))?;
        for table in Table::ALL {
            connection.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS {} (key INTEGER PRIMARY KEY, record BLOB NOT NULL)",
                table.name()
            ))?;
        }
        Ok(Self {
            checkpoint: Checkpoint::default(),
            connection,
            path: path.to_owned(),
            durability: None,
            unchecked_pages: 0,
        })
    }

    /// Closes the store, with everything in its one file.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        drop(self.checkpoint);
        checkpoint(&self.connection, "TRUNCATE")?;
        self.connection.flush_prepared_statement_cache();
        self.connection.close().map_err(|(_, error)| error)
    }

    /// Another connection, for reading.
    pub(super) fn reader(&self) -> rusqlite::Result<EventReader> {
        let connection = connect(&self.path)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(EventReader(connection))
    }

    /// Whether the structure of the file is sound. The content of the records is not checked.
    pub(super) fn is_sound(&self) -> rusqlite::Result<bool> {
        // A file that may be written is read-only to SQLite if its header has an unknown version.
        if self.connection.is_readonly(MAIN_DB)? {
            return Ok(false);
        }
        let check = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        match check {
            Ok(text) => Ok(text == "ok"),
            Err(error) if is_corrupt(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, batch: &Batch, durability: Durability) -> rusqlite::Result<()> {
        if self.durability != Some(durability) {
            let synchronous = match durability {
                Durability::Written => "NORMAL",
                Durability::Synced => "FULL",
            };
            self.connection
                .pragma_update(None, "synchronous", synchronous)?;
            self.durability = Some(durability);
        }
        let transaction = self.connection.transaction()?;
        for (table, key, record) in &batch.puts {
            transaction
                .prepare_cached(table.put())?
                .execute(params![integer(*key), record])?;
        }
        if !batch.done.is_empty() {
            let mut remove = transaction.prepare_cached("DELETE FROM jobs WHERE key = ?")?;
            for number in &batch.done {
                remove.execute([integer(*number)])?;
            }
        }
        for (sql, first) in [
            ("DELETE FROM events WHERE key < ?", batch.first_event),
            ("DELETE FROM commits WHERE key < ?", batch.first_commit),
        ] {
            if let Some(first) = first {
                transaction.prepare_cached(sql)?.execute([integer(first)])?;
            }
        }
        transaction.commit()
    }

    /// Begins to copy the write-ahead log into the file when it is long enough. SQLite would do so by
    /// itself, but it would not say whether the sync failed.
    fn checkpoint_if_due(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let bytes: usize = batch.puts.iter().map(|(_, _, record)| record.len()).sum();
        self.unchecked_pages += bytes / PAGE + batch.puts.len().min(3) + 1;
        let is_due = self.unchecked_pages >= CHECKPOINT_PAGES;
        if is_due || self.checkpoint.has_ended() {
            self.end_checkpoint().or_else(ignore_full)?;
        }
        if is_due {
            self.unchecked_pages = 0;
            self.checkpoint = Checkpoint::begin(self.path.clone())?;
        }
        Ok(())
    }

    /// Waits for the checkpoint that is under way. If the write-ahead log is too long then, starts it over.
    fn end_checkpoint(&mut self) -> rusqlite::Result<()> {
        if self.checkpoint.end()? > MAX_LOG_PAGES {
            checkpoint(&self.connection, "RESTART")?;
        }
        Ok(())
    }
}

impl Checkpoint {
    fn begin(path: PathBuf) -> Result<Self, StoreError> {
        thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || checkpoint(&connect(&path)?, "PASSIVE"))
            .map(|thread| Self(Some(thread)))
            .map_err(|error| StoreError::Failed(error.into()))
    }

    fn has_ended(&self) -> bool {
        self.0.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits for the end. Returns how many pages the write-ahead log had, or 0 if no checkpoint is under way.
    fn end(&mut self) -> rusqlite::Result<i64> {
        self.0.take().map_or(Ok(0), |thread| {
            thread.join().expect("a checkpoint does not panic")
        })
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        // Everything is in the write-ahead log, whether this copied it or not.
        self.end().ok();
    }
}

/// Copies the write-ahead log into the file. Returns how many pages the log has.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |row| row.get(1))
}

/// After a checkpoint for which there was no room, everything is still in the write-ahead log, and the next
/// one tries again.
fn ignore_full(error: rusqlite::Error) -> Result<(), StoreError> {
    match store_error(error) {
        StoreError::Full(_) => Ok(()),
        failed @ StoreError::Failed(_) => Err(failed),
    }
}

impl Store for Sqlite {
    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        self.write(batch, durability).map_err(store_error)?;
        self.checkpoint_if_due(batch)
    }

    fn scan(&mut self, table: Table, each: &mut dyn FnMut(u64, &[u8])) -> Result<Scan, StoreError> {
        scan(&self.connection, table, each).map_err(store_error)
    }
}

impl EventReader {
    /// Calls `each` for the events from `first` to `last` until it returns `false`.
    pub(super) fn read(
        &self,
        first: u64,
        last: u64,
        mut each: impl FnMut(u64, &[u8]) -> bool,
    ) -> rusqlite::Result<()> {
        let mut select = self.0.prepare_cached(
            "SELECT key, record FROM events WHERE key BETWEEN ? AND ? ORDER BY key",
        )?;
        let mut rows = select.query([integer(first), integer(last)])?;
        while let Some(row) = rows.next()? {
            if !each(
                key(row.get(0)?),
                row.get_ref(1)?.as_blob().unwrap_or_default(),
            ) {
                break;
            }
        }
        Ok(())
    }
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Events => "events",
            Self::Commits => "commits",
        }
    }

    fn put(self) -> &'static str {
        match self {
            Self::Jobs => "INSERT OR REPLACE INTO jobs VALUES (?, ?)",
            Self::Events => "INSERT INTO events VALUES (?, ?)",
            Self::Commits => "INSERT INTO commits VALUES (?, ?)",
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Reads a table from its beginning and, where that meets damage, the rest from its end.
fn scan(
    connection: &Connection,
    table: Table,
    each: &mut dyn FnMut(u64, &[u8]),
) -> rusqlite::Result<Scan> {
    let mut after = i64::MIN;
    let forwards = read_all(
        connection,
        table,
        "key > ? ORDER BY key",
        i64::MIN,
        &mut |at, record| {
            after = at;
            each(key(at), record);
        },
    );
    match forwards {
        Ok(()) => return Ok(Scan::Whole),
        Err(error) if is_corrupt(&error) => {}
        Err(error) => return Err(error),
    }
    let mut rest = Vec::new();
    let backwards = read_all(
        connection,
        table,
        "key > ? ORDER BY key DESC",
        after,
        &mut |at, record| rest.push((at, record.to_vec())),
    );
    match backwards {
        Err(error) if !is_corrupt(&error) => return Err(error),
        _ => {}
    }
    rest.reverse();
    for (at, record) in rest {
        each(key(at), &record);
    }
    Ok(Scan::Damaged)
}

fn read_all(
    connection: &Connection,
    table: Table,
    which: &str,
    after: i64,
    each: &mut dyn FnMut(i64, &[u8]),
) -> rusqlite::Result<()> {
    let sql = format!("SELECT key, record FROM {} WHERE {which}", table.name());
    let mut select = connection.prepare(&sql)?;
    let mut rows = select.query([after])?;
    while let Some(row) = rows.next()? {
        // A record that is not a blob becomes an empty one, whose checksum is wrong.
        each(row.get(0)?, row.get_ref(1)?.as_blob().unwrap_or_default());
    }
    Ok(())
}

/// Whether the file is damaged. Since the statements are always the same and no record is long, a
/// statement that does not fit the file means that, too, and so does a record that is too long.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqlInputError { .. })
        || matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::TooBig
                    | ErrorCode::Unknown
            )
        )
}

fn store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(error.into()),
        _ => StoreError::Failed(error.into()),
    }
}

/// SQLite's integers are signed, and keys are below 2^62.
fn integer(key: u64) -> i64 {
    key.cast_signed()
}

/// The key again. Damage may have made it any number; the record's checksum then does not fit.
fn key(integer: i64) -> u64 {
    integer.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_write_ahead_log_stays_short_however_much_is_written() {
        const LONGEST: u64 = 64 * 1024 * 1024;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        std::fs::File::create(&path).unwrap();
        let mut store = Sqlite::open(&path).unwrap();
        let record = vec![7; 512 * 1024];
        let mut longest = 0;
        for key in 0..400 {
            let batch = Batch {
                puts: vec![(Table::Events, key, record.clone())],
                ..Batch::default()
            };
            store.commit(&batch, Durability::Written).unwrap();
            let log = std::fs::metadata(directory.path().join("store-wal")).unwrap();
            longest = longest.max(log.len());
        }
        assert!(longest < LONGEST, "{longest} bytes");
        store.close().unwrap();
        let mut read = 0;
        let mut store = Sqlite::open(&path).unwrap();
        store
            .scan(Table::Events, &mut |_, found| {
                assert!(found == record);
                read += 1;
            })
            .unwrap();
        assert_eq!(read, 400);
    }
}

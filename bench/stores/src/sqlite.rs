//! SQLite: a write-ahead log that is synced at every commit.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::store::{Commit, Store};

pub(crate) struct Sqlite(Connection);

impl Store for Sqlite {
    const NAME: &'static str = "SQLite";

    fn open(directory: &Path) -> Self {
        let connection = Connection::open(directory.join("store")).unwrap();
        connection
            .execute_batch(
                "PRAGMA locking_mode = EXCLUSIVE;
                 PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA wal_autocheckpoint = 4000;
                 CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, record BLOB);
                 CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, record BLOB);",
            )
            .unwrap();
        Self(connection)
    }

    fn commit(&mut self, commit: &Commit) {
        let transaction = self.0.transaction().unwrap();
        let execute = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
            transaction
                .prepare_cached(sql)
                .unwrap()
                .execute(values)
                .unwrap();
        };
        for (id, record) in &commit.jobs {
            execute(
                "INSERT INTO jobs VALUES (?, ?)",
                params![number(*id), record],
            );
        }
        for id in &commit.done {
            execute("DELETE FROM jobs WHERE id = ?", params![number(*id)]);
        }
        for (seq, record) in &commit.events {
            execute(
                "INSERT INTO events VALUES (?, ?)",
                params![number(*seq), record],
            );
        }
        execute(
            "DELETE FROM events WHERE seq < ?",
            params![number(commit.first)],
        );
        transaction.commit().unwrap();
    }

    fn read(&self, seq: u64, count: usize) -> usize {
        let mut bytes = 0;
        let mut select = self
            .0
            .prepare_cached("SELECT record FROM events WHERE seq >= ? ORDER BY seq LIMIT 1")
            .unwrap();
        for seq in (number(seq)..).take(count) {
            bytes += select
                .query_row([seq], |row| Ok(row.get_ref(0)?.as_blob()?.len()))
                .unwrap();
        }
        bytes
    }
}

/// SQLite's integers are signed.
fn number(key: u64) -> i64 {
    key.try_into().unwrap()
}

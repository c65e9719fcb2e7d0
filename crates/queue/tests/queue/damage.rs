//! A queue on disk whose files were cut or garbled: it always opens, never serves what was not
//! written, and has everything that was written before the damage.
//!
//! `TAILS=10000 cargo test --release --package queue --all-features damage` tries more than `make test`
//! does.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, too, may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use fastrand::Rng;
use futures_util::FutureExt;
use protocol::{Audience, Event, Job, Lane, event::Kind};
use queue::{Cursor, Item, Roles, Worker};
use tempfile::{TempDir, tempdir};
use testkit::within;
use uuid::Uuid;

use crate::stage::{Stage, context, failed, job, result, token};

/// How many damaged files `make test` tries.
const TAILS: u64 = 300;
/// How many jobs and how many events there are.
const COUNT: usize = 60;
const STORE: &str = "queue.sqlite";
const LOG: &str = "queue.sqlite-wal";

/// The files of a queue that was killed, and what it held.
struct Killed {
    directory: TempDir,
    /// Each job and event, and the length of the write-ahead log once it was acknowledged.
    jobs: Vec<(Job, u64)>,
    events: Vec<(Uuid, u64)>,
    messages: BTreeMap<u64, Vec<u8>>,
}

impl Killed {
    async fn new() -> Self {
        let running = tempdir().unwrap();
        let stage = Stage::open(running.path()).await;
        let log = running.path().join(LOG);
        let written = || fs::metadata(&log).unwrap().len();
        let mut cursor = stage.cursor(&audiences(), None);
        let (mut jobs, mut events) = (Vec::new(), Vec::new());
        for index in 0..COUNT {
            let job = job(index as u64);
            stage.submitter.submit(&job).await.unwrap();
            jobs.push((job, written()));
            let id = Uuid::now_v7();
            let audience = &audiences()[index % 2];
            stage
                .worker
                .publish(audience, &result(id), context())
                .await
                .unwrap();
            events.push((id, written()));
        }
        let directory = copy(running.path());
        let messages = read(&stage.worker, &mut cursor).await;
        assert_eq!(messages.len(), COUNT);
        Self {
            directory,
            jobs,
            events,
            messages,
        }
    }

    /// Opens a copy whose write-ahead log was damaged from the byte `intact` on, and looks for what
    /// was not written, or was written before the damage and is missing.
    async fn check(&self, damaged: &Path, intact: u64) {
        let (jobs, messages) = open(damaged).await;
        for (seq, message) in &messages {
            assert_eq!(self.messages.get(seq), Some(message), "the event at {seq}");
        }
        for ((id, written), (seq, _)) in self.events.iter().zip(&self.messages) {
            assert!(
                *written > intact || messages.contains_key(seq),
                "event {id} is lost"
            );
        }
        let known: BTreeMap<_, _> = self.jobs.iter().map(|(job, _)| (job.id, job)).collect();
        for job in &jobs {
            assert_eq!(
                known.get(&job.id),
                Some(&job),
                "a job that nobody submitted"
            );
        }
        let held: BTreeSet<_> = jobs.iter().map(|job| job.id).collect();
        for (job, written) in &self.jobs {
            assert!(
                *written > intact || held.contains(&job.id),
                "job {} is lost",
                job.id
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_tail_costs_what_lies_behind_the_damage() {
    let killed = Killed::new().await;
    let log = fs::read(killed.directory.path().join(LOG)).unwrap();
    for seed in 0..tails() {
        let mut rng = Rng::with_seed(seed);
        let at = rng.usize(..log.len());
        let damaged = copy(killed.directory.path());
        fs::write(damaged.path().join(LOG), damage(&mut rng, &log, at)).unwrap();
        eprintln!("seed {seed}: {LOG} is damaged at {at}");
        killed.check(damaged.path(), at as u64).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_anywhere_is_never_served() {
    let killed = Killed::new().await;
    // Opened and closed once, so that everything is in the one file.
    open(killed.directory.path()).await;
    let store = fs::read(killed.directory.path().join(STORE)).unwrap();
    for seed in 0..tails() {
        let mut rng = Rng::with_seed(seed);
        let at = rng.usize(..store.len());
        let damaged = copy(killed.directory.path());
        fs::write(damaged.path().join(STORE), damage(&mut rng, &store, at)).unwrap();
        eprintln!("seed {seed}: {STORE} is damaged at {at}");
        killed.check(damaged.path(), 0).await;
        // It was rebuilt: the next start has no damage to find.
        killed.check(damaged.path(), 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_columns_have_other_names_is_damaged() {
    let killed = Killed::new().await;
    open(killed.directory.path()).await;
    let path = killed.directory.path().join(STORE);
    let mut store = fs::read(&path).unwrap();
    let (column, other) = (b"record BLOB", b"recall BLOB");
    for at in 0..store.len() - column.len() {
        if store[at..].starts_with(column) {
            store[at..][..other.len()].copy_from_slice(other);
        }
    }
    fs::write(&path, store).unwrap();
    killed.check(killed.directory.path(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_longer_than_sqlite_reads_is_damaged() {
    // A row is its length, its key, and a header of seven bytes: its own length, no second copy of the
    // key, and a blob that takes the rest. The row has as few bytes in its page as such a long one can.
    let (few, page) = (489, 4092);
    let length = few + (1 << 18) * page;
    let killed = Killed::new().await;
    open(killed.directory.path()).await;
    let store = fs::read(killed.directory.path().join(STORE)).unwrap();
    for seq in killed.messages.keys() {
        let key = varint(*seq);
        let blob = varint(12 + 2 * (length - 7));
        let long = [&varint(length)[..], &key, &[7, 0], &blob].concat();
        let mut damaged = store.clone();
        for at in 2..store.len() - long.len() {
            if store[at..].starts_with(&key) {
                damaged[at - 2..][..long.len()].copy_from_slice(&long);
            }
        }
        assert_ne!(store, damaged, "no row has the key {seq}");
        let copy = copy(killed.directory.path());
        fs::write(copy.path().join(STORE), damaged).unwrap();
        killed.check(copy.path(), 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_byte_of_the_header_may_be_damaged() {
    let killed = Killed::new().await;
    open(killed.directory.path()).await;
    let store = fs::read(killed.directory.path().join(STORE)).unwrap();
    for at in 0..100 {
        for mask in [1, 0xff] {
            let mut damaged = store.clone();
            damaged[at] ^= mask;
            let copy = copy(killed.directory.path());
            fs::write(copy.path().join(STORE), damaged).unwrap();
            eprintln!("byte {at} of {STORE} is xored with {mask:#x}");
            killed.check(copy.path(), 0).await;
        }
    }
}

/// A number below 2^56 as SQLite's files have it: seven bits in each byte, the highest first.
fn varint(number: u64) -> Vec<u8> {
    let mut bytes = vec![(number & 0x7f) as u8];
    let mut rest = number >> 7;
    while rest > 0 {
        bytes.insert(0, (rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes
}

fn tails() -> u64 {
    std::env::var("TAILS").map_or(TAILS, |tails| tails.parse().expect("a number"))
}

/// The bytes cut off at a place, or with some garbage from there on.
fn damage(rng: &mut Rng, bytes: &[u8], at: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    if rng.bool() {
        damaged.truncate(at);
        return damaged;
    }
    let most = (damaged.len() - at).min(10_000);
    let length = if rng.bool() { 1 } else { rng.usize(1..=most) };
    for byte in &mut damaged[at..at + length] {
        *byte ^= rng.u8(1..);
    }
    damaged
}

/// The jobs and the messages of the queue in a directory.
async fn open(directory: &Path) -> (Vec<Job>, BTreeMap<u64, Vec<u8>>) {
    let Roles {
        worker,
        reader,
        driver,
        ..
    } = Roles::on_disk(directory).expect("a queue that opens");
    let mut cursor = reader.cursor(&audiences(), |_| true, Some(0)).unwrap();
    let messages = read(&worker, &mut cursor).await;
    let mut jobs = worker.jobs(Lane::Small);
    let mut deliveries = Vec::new();
    while let Some(delivery) = jobs.take(NonZeroUsize::MIN).now_or_never() {
        deliveries.push(delivery);
    }
    let jobs = deliveries
        .iter()
        .map(|delivery| delivery.job.clone())
        .collect();
    drop(driver);
    (jobs, messages)
}

/// Everything that a cursor finds before an event that is published now.
async fn read(worker: &Worker, cursor: &mut Cursor) -> BTreeMap<u64, Vec<u8>> {
    let last = failed(Uuid::now_v7());
    let published = worker.publish(&Audience::Public, &last, context());
    within("a stored event", published).await.unwrap();
    let mut messages = BTreeMap::new();
    loop {
        let Item::Entry(entry) = within("an event", cursor.next()).await else {
            continue;
        };
        let event: Event = serde_json::from_slice(&entry.message).unwrap();
        if event == last {
            return messages;
        }
        // A failure was the end of an earlier reading.
        if entry.kind != Kind::Failed {
            messages.insert(entry.seq, entry.message.to_vec());
        }
    }
}

fn audiences() -> [Audience; 2] {
    [Audience::Public, Audience::Client(token('a'))]
}

fn copy(from: &Path) -> TempDir {
    let to = tempdir().unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file: PathBuf = file.unwrap().path();
        // SQLite makes the index of the log again.
        if !file.to_string_lossy().ends_with("-shm") {
            fs::copy(&file, to.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    to
}

//! The writer over a simulated disk that loses power at any moment, and whatever was not synced with
//! it. One seed is one course of events.
//!
//! `SEEDS=100000 cargo test --release --package queue --all-features --lib simulation` runs more seeds
//! than `make test` does.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use futures_util::FutureExt;
use parking_lot::Mutex;
use protocol::{
    Audience, Event, Job, JobContext, Lane, TraceParent,
    event::{Body, Timings},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    clock::Instant,
    lanes::{Attempted, Lanes},
    limits::{KEEP, REMEMBERED_FOR},
    load::Contents,
    operation::Operation,
    record::{EventRecord, JobRecord},
    store::{Batch, Durability, Scan, Store, StoreError, Table},
    writer::{Effects, Writer},
};
use crate::{
    SubmitError,
    log::{Cursor, Item, Log, MAX_AGE, Retention},
    stored::Stored,
};

/// How many seeds `make test` runs.
const SEEDS: u64 = 2000;
/// How many steps a seed has before everything settles.
const STEPS: usize = 60;
/// More than enough steps for everything to settle.
const MAX_SETTLING: usize = 200;

/// A disk. Clones share what is on it.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Surface>>);

#[derive(Debug, Default)]
struct Surface {
    /// The records that survive a power failure.
    synced: Tables,
    /// The later writes, in order.
    written: Vec<Batch>,
    next: Fault,
    syncs: u64,
}

type Tables = [BTreeMap<u64, Vec<u8>>; 3];

/// The outcome of the next commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    NoRoom,
    /// The power fails before anything is written.
    BeforeWriting,
    /// It fails after writing and before the sync.
    BeforeSync,
    /// It fails after the sync and before anybody knows.
    AfterSync,
}

impl Store for Disk {
    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let mut surface = self.0.lock();
        let fault = std::mem::take(&mut surface.next);
        match fault {
            Fault::NoRoom => return Err(StoreError::Full("no room".into())),
            Fault::BeforeWriting => return Err(StoreError::Failed("power failure".into())),
            _ => surface.written.push(copy(batch)),
        }
        if fault == Fault::BeforeSync {
            return Err(StoreError::Failed("power failure".into()));
        }
        if durability == Durability::Synced {
            surface.sync(usize::MAX);
            surface.syncs += 1;
        }
        if fault == Fault::AfterSync {
            return Err(StoreError::Failed("power failure".into()));
        }
        Ok(())
    }

    fn scan(&mut self, table: Table, each: &mut dyn FnMut(u64, &[u8])) -> Result<Scan, StoreError> {
        for (key, record) in &self.0.lock().synced[table as usize] {
            each(*key, record);
        }
        Ok(Scan::Whole)
    }
}

impl Surface {
    /// Makes the first of the written batches durable.
    fn sync(&mut self, count: usize) {
        let count = count.min(self.written.len());
        for batch in self.written.drain(..count) {
            for (table, key, record) in batch.puts {
                self.synced[table as usize].insert(key, record);
            }
            for number in batch.done {
                self.synced[Table::Jobs as usize].remove(&number);
            }
            for (table, first) in [
                (Table::Events, batch.first_event),
                (Table::Commits, batch.first_commit),
            ] {
                let table = &mut self.synced[table as usize];
                *table = table.split_off(&first.unwrap_or_default());
            }
        }
    }
}

fn copy(batch: &Batch) -> Batch {
    Batch {
        puts: batch.puts.clone(),
        done: batch.done.clone(),
        ..*batch
    }
}

/// The process that uses the disk, until the power fails.
struct Process {
    writer: Writer<Disk>,
    lanes: Arc<Lanes>,
    cursor: Cursor,
    /// The jobs that are being worked on.
    held: Vec<Attempted>,
    /// The operations that the writer gets next.
    waiting: Vec<Operation>,
    submissions: Vec<(Job, oneshot::Receiver<Result<Stored, SubmitError>>)>,
    publications: Vec<(Event, oneshot::Receiver<Stored>)>,
}

impl Process {
    fn start(disk: &Disk, now: Instant) -> Self {
        let mut store = disk.clone();
        let contents = Contents::load(&mut store, KEEP, now).expect("the power is on");
        assert!(!contents.losses.any());
        let log = Log::in_memory(Retention::LOG, contents.known.last_event);
        let cursor = log
            .cursor(&[Audience::Public], |_| true, None)
            .expect("a log that has begun");
        let lanes = Arc::new(Lanes::default());
        for attempted in contents.jobs {
            let lane = lanes.lane(attempted.job.lane());
            assert!(lane.admit());
            lane.push(attempted);
        }
        let effects = Effects {
            lanes: Arc::clone(&lanes),
            log,
            extent: Arc::new(Mutex::new(contents.extent)),
        };
        Self {
            writer: Writer::new(store, contents.known, effects),
            lanes,
            cursor,
            held: Vec::new(),
            waiting: Vec::new(),
            submissions: Vec::new(),
            publications: Vec::new(),
        }
    }

    fn submit(&mut self, job: Job) {
        let (reply, answer) = oneshot::channel();
        self.submissions.push((job.clone(), answer));
        self.waiting.push(Operation::Submit { job, reply });
    }

    fn publish(&mut self, event: Event) {
        let (reply, answer) = oneshot::channel();
        self.waiting.push(Operation::Publish {
            id: event.message_id(),
            audience: Audience::Public,
            context: context(),
            payload: event.encode(),
            reply,
        });
        self.publications.push((event, answer));
    }

    fn take(&mut self) {
        if let Some(mut held) = self.lanes.lane(Lane::Small).next().now_or_never() {
            held.attempts += 1;
            self.waiting.push(Operation::Attempt {
                number: held.number,
                attempts: held.attempts,
                job: held.job.clone(),
            });
            self.held.push(held);
        }
    }
}

/// The knowledge of clients and readers, which has to be true of the disk.
#[derive(Default)]
struct World {
    rng: Rng,
    disk: Disk,
    now: u64,
    /// Every job that was submitted, and whether it was accepted.
    jobs: HashMap<Uuid, (Job, bool)>,
    /// The events that were acknowledged.
    stored: Vec<Event>,
    /// The events that a reader has seen, by their places.
    seen: BTreeMap<u64, Vec<u8>>,
}

impl World {
    fn run(seed: u64) {
        let mut world = Self {
            rng: Rng::with_seed(seed),
            now: 1_000_000_000,
            ..Self::default()
        };
        let mut process = Process::start(&world.disk, Instant(world.now));
        for _ in 0..STEPS {
            process = world.step(process);
        }
        // Everything is submitted again, as by clients that wait for their results.
        for _ in 0..MAX_SETTLING {
            let ends = world.ends();
            let open: Vec<_> = world
                .jobs
                .values()
                .map(|(job, _)| job.clone())
                .filter(|job| !ends.contains_key(&job.id))
                .collect();
            if open.is_empty() {
                break;
            }
            for job in open {
                process.submit(job);
                process.take();
                world.work(&mut process, true);
            }
            process = world.write(process, Fault::None);
        }
        world.check();
        let ends = world.ends();
        assert_eq!(ends.len(), world.jobs.len());
        assert!(ends.values().all(|count| *count == 1), "{ends:?}");
    }

    fn step(&mut self, mut process: Process) -> Process {
        self.now += self.rng.u64(0..2_000_000);
        match self.rng.u8(0..10) {
            0..3 => {
                let job = job(&mut self.rng);
                self.jobs.insert(job.id, (job.clone(), false));
                process.submit(job);
            }
            3 if !self.jobs.is_empty() => {
                let nth = self.rng.usize(..self.jobs.len());
                let (job, _) = self.jobs.values().nth(nth).expect("a job");
                process.submit(job.clone());
            }
            4 | 5 => process.take(),
            6 | 7 => self.work(&mut process, false),
            _ => {
                let fault = match self.rng.u8(0..12) {
                    0 => Fault::BeforeWriting,
                    1 => Fault::BeforeSync,
                    2 => Fault::AfterSync,
                    3 | 4 => Fault::NoRoom,
                    _ => Fault::None,
                };
                process = self.write(process, fault);
            }
        }
        process
    }

    /// Goes on with one of the jobs in hand.
    fn work(&mut self, process: &mut Process, finish: bool) {
        if process.held.is_empty() {
            return;
        }
        let nth = self.rng.usize(..process.held.len());
        let id = process.held[nth].job.id;
        let published = self
            .stored
            .iter()
            .any(|event| event.id == id && event.message_id().is_end());
        match if finish { 3 } else { self.rng.u8(0..5) } {
            _ if published => {
                process.held.swap_remove(nth);
                process.lanes.lane(Lane::Small).leave();
                process.waiting.push(Operation::Done { job: id });
            }
            0 => {
                let held = process.held.swap_remove(nth);
                process.lanes.lane(Lane::Small).give_back(held);
            }
            1 => process.publish(event(id, Body::Started { attempt: 1 })),
            _ => process.publish(end(id, self.rng.bool())),
        }
    }

    /// Has the writer write what waits, and starts another process if it did not survive that.
    fn write(&mut self, mut process: Process, fault: Fault) -> Process {
        self.disk.0.lock().next = fault;
        let waiting = std::mem::take(&mut process.waiting);
        let written = process.writer.write(waiting, Instant(self.now));
        self.disk.0.lock().next = Fault::None;
        self.learn(&mut process);
        if written.is_ok() {
            return process;
        }
        drop(process);
        let mut surface = self.disk.0.lock();
        let survives = self.rng.usize(..=surface.written.len());
        surface.sync(survives);
        surface.written.clear();
        drop(surface);
        self.check();
        Process::start(&self.disk, Instant(self.now))
    }

    /// Learns what the writer answered and what the log shows.
    fn learn(&mut self, process: &mut Process) {
        for (job, mut answer) in std::mem::take(&mut process.submissions) {
            match answer.try_recv() {
                Ok(Ok(_)) => self.jobs.get_mut(&job.id).expect("submitted").1 = true,
                Ok(Err(SubmitError::DiskFull(_))) | Err(oneshot::error::TryRecvError::Closed) => {}
                Ok(Err(error)) => panic!("{error}"),
                Err(oneshot::error::TryRecvError::Empty) => {
                    process.submissions.push((job, answer));
                }
            }
        }
        for (event, mut answer) in std::mem::take(&mut process.publications) {
            match answer.try_recv() {
                Ok(_) => self.stored.push(event),
                Err(oneshot::error::TryRecvError::Closed) => {}
                Err(oneshot::error::TryRecvError::Empty) => {
                    process.publications.push((event, answer));
                }
            }
        }
        while let Some(item) = process.cursor.next().now_or_never() {
            match item {
                Item::Entry(entry) => {
                    self.seen.insert(entry.seq, entry.message.to_vec());
                }
                Item::Gap(seq) => panic!("a gap at {seq}"),
            }
        }
    }

    /// Checks that the disk has everything that anybody knows of.
    fn check(&self) {
        let events = self.events();
        for (seq, message) in &self.seen {
            assert_eq!(events.get(seq), Some(message), "the event at {seq}");
        }
        let mut ids = HashMap::new();
        for message in events.values() {
            *ids.entry(parse(message).message_id()).or_insert(0) += 1;
        }
        for event in &self.stored {
            let id = event.message_id();
            assert_eq!(ids.get(&id), Some(&1), "{id}");
        }
        let (ends, waiting) = (self.ends(), self.waiting());
        for (id, (_, accepted)) in &self.jobs {
            let places = ends.get(id).copied().unwrap_or_default()
                + waiting.iter().filter(|job| *job == id).count();
            assert!(places <= 1, "{id} is in {places} places");
            assert!(!accepted || places == 1, "{id} was lost");
        }
    }

    fn events(&self) -> BTreeMap<u64, Vec<u8>> {
        let surface = self.disk.0.lock();
        surface.synced[Table::Events as usize]
            .iter()
            .map(|(seq, record)| {
                let event = EventRecord::decode(*seq, record).expect("a whole record");
                let entry = event.entry(*seq).expect("an event");
                (*seq, entry.message.to_vec())
            })
            .collect()
    }

    /// How many ends each job has.
    fn ends(&self) -> HashMap<Uuid, usize> {
        let mut ends = HashMap::new();
        for message in self.events().values() {
            let id = parse(message).message_id();
            if id.is_end() {
                *ends.entry(id.job()).or_insert(0) += 1;
            }
        }
        ends
    }

    fn waiting(&self) -> Vec<Uuid> {
        let surface = self.disk.0.lock();
        surface.synced[Table::Jobs as usize]
            .iter()
            .map(|(number, record)| JobRecord::decode(*number, record).expect("whole").job.id)
            .collect()
    }
}

fn parse(message: &[u8]) -> Event {
    serde_json::from_slice(message).expect("an event")
}

fn job(rng: &mut Rng) -> Job {
    Job {
        id: Uuid::from_u128(rng.u128(..)),
        n: 10,
        client: None,
        context: context(),
    }
}

fn context() -> JobContext {
    JobContext::now(TraceParent::random())
}

fn event(id: Uuid, body: Body) -> Event {
    Event { id, n: 10, body }
}

fn end(id: Uuid, succeeded: bool) -> Event {
    let timings = Timings {
        queued_us: 1,
        computed_us: 2,
    };
    let body = if succeeded {
        Body::Result {
            digits: 2,
            value: Some("55".into()),
            parts: None,
            timings,
        }
    } else {
        Body::Failed {
            reason: "no".into(),
        }
    };
    event(id, body)
}

#[test]
fn nothing_that_was_acknowledged_is_lost_with_what_was_not_synced() {
    let seeds = std::env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| World::run(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn operations_that_wait_together_share_one_sync() {
    let disk = Disk::default();
    let mut process = Process::start(&disk, Instant(1));
    let mut rng = Rng::with_seed(1);
    for _ in 0..64 {
        process.submit(job(&mut rng));
    }
    let waiting = std::mem::take(&mut process.waiting);
    process.writer.write(waiting, Instant(1)).unwrap();
    assert_eq!(disk.0.lock().syncs, 1);
}

#[test]
fn a_job_needs_two_syncs_and_no_more() {
    let disk = Disk::default();
    let mut process = Process::start(&disk, Instant(1));
    let job = job(&mut Rng::with_seed(1));
    let write = |process: &mut Process| {
        let waiting = std::mem::take(&mut process.waiting);
        process.writer.write(waiting, Instant(1)).unwrap();
    };
    process.submit(job.clone());
    write(&mut process);
    process.take();
    write(&mut process);
    process.publish(end(job.id, true));
    write(&mut process);
    process.waiting.push(Operation::Done { job: job.id });
    write(&mut process);
    assert_eq!(disk.0.lock().syncs, 2);
}

/// A day with a job in every second, of whose results the disk keeps the last ten minutes.
#[test]
fn what_is_too_old_is_removed() {
    const DAY_S: u64 = 24 * 60 * 60;
    let disk = Disk::default();
    let mut process = Process::start(&disk, Instant(0));
    let mut rng = Rng::with_seed(1);
    let mut most = [0; 3];
    for second in 1..DAY_S {
        let job = job(&mut rng);
        process.submit(job.clone());
        process.publish(end(job.id, true));
        let waiting = std::mem::take(&mut process.waiting);
        let now = Instant(second * 1_000_000);
        process.writer.write(waiting, now).unwrap();
        let surface = disk.0.lock();
        for (most, table) in most.iter_mut().zip(&surface.synced) {
            *most = table.len().max(*most);
        }
    }
    let kept = |time: Duration| usize::try_from(time.as_secs()).unwrap() + 20;
    assert_eq!(most[Table::Jobs as usize], 0);
    assert!(most[Table::Events as usize] <= kept(MAX_AGE), "{most:?}");
    assert!(
        most[Table::Commits as usize] <= kept(REMEMBERED_FOR),
        "{most:?}"
    );
}

/// The same when more than 512 MiB of results come within ten minutes.
#[test]
fn what_is_too_much_is_removed() {
    let disk = Disk::default();
    let mut process = Process::start(&disk, Instant(1));
    let value = "5".repeat(512 * 1024);
    let bytes = |disk: &Disk| -> usize {
        disk.0.lock().synced[Table::Events as usize]
            .values()
            .map(Vec::len)
            .sum()
    };
    for index in 0..1100 {
        let part = Body::Part {
            index,
            parts: 1100,
            value: value.clone(),
        };
        process.publish(event(Uuid::nil(), part));
        let waiting = std::mem::take(&mut process.waiting);
        process.writer.write(waiting, Instant(1)).unwrap();
        assert!(index % 64 != 0 || bytes(&disk) <= Retention::LOG.bytes);
    }
    assert!(bytes(&disk) > Retention::LOG.bytes / 100 * 99);
}

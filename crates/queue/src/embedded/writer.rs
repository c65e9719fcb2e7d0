//! The writer: the one owner of the store. It writes whatever operations are waiting as one commit,
//! syncs once, and only then lets them take effect and answers them all.

use std::{
    error::Error,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use protocol::{Job, JobContext, event::MessageId};
use tokio::sync::{mpsc, oneshot};

use super::{
    clock::{Clock, Instant},
    extent::Extent,
    lanes::{Attempted, Lanes},
    limits::REMEMBERED_FOR,
    load::Known,
    operation::Operation,
    record::{CommitRecord, EventRecord, JobRecord},
    store::{Batch, Durability, Store, StoreError, Table},
};
use crate::{
    error::SubmitError,
    log::{Entry, Log},
    stored::Stored,
};

/// The most operations in a commit.
const MAX_OPERATIONS: usize = 1024;
/// The pause before writing again after the disk was full.
const FULL_RETRY: Duration = Duration::from_millis(100);
/// How long commits that are too old may stay, so that many are removed at once.
const EXPIRY_STEP: Duration = Duration::from_secs(5);

/// Writes the operations that arrive.
#[derive(Debug)]
pub(super) struct Writer<S> {
    store: S,
    effects: Effects,
    known: Known,
    /// From this time on the commits are kept.
    first_commit: Instant,
    /// The records that still have to be written, because they did not fit on the disk.
    waiting_for_room: Vec<Operation>,
    full: bool,
}

/// The place where an operation takes effect once it is on disk.
#[derive(Debug, Clone)]
pub(super) struct Effects {
    pub(super) lanes: Arc<Lanes>,
    pub(super) log: Log,
    pub(super) extent: Arc<Mutex<Extent>>,
}

/// A commit that is being put together.
#[derive(Debug, Default)]
struct Staged {
    batch: Batch,
    commit: CommitRecord,
    bytes: u64,
    operations: Vec<StagedOperation>,
    /// Whether someone waits until this is synced.
    awaited: bool,
}

/// An operation in a commit: what takes effect after the commit, and what to undo without it.
#[derive(Debug)]
enum StagedOperation {
    Job {
        attempted: Attempted,
        reply: oneshot::Sender<Result<Stored, SubmitError>>,
    },
    Event {
        entry: Entry,
        bytes: usize,
        id: MessageId,
        context: JobContext,
        payload: bytes::Bytes,
        /// The key of the job that this event ends.
        ended: Option<u64>,
        reply: oneshot::Sender<Stored>,
    },
    /// A job or an event that was written before, perhaps in this commit.
    KnownJob(oneshot::Sender<Result<Stored, SubmitError>>),
    KnownEvent(Operation),
    /// One that nobody waits for.
    Note(Operation),
}

impl<S: Store> Writer<S> {
    /// A writer that goes on where the one before it ended.
    pub(super) fn new(store: S, known: Known, effects: Effects) -> Self {
        Self {
            store,
            effects,
            known,
            first_commit: Instant(0),
            waiting_for_room: Vec::new(),
            full: false,
        }
    }

    /// Writes what arrives until it is told to close.
    ///
    /// # Errors
    ///
    /// If the disk failed. Nothing is answered after that.
    pub(super) fn run(
        mut self,
        mut operations: mpsc::Receiver<Operation>,
        clock: &Clock,
        closing: &AtomicBool,
    ) -> Result<(), StoreError> {
        let mut arrived = Vec::new();
        loop {
            if self.waiting_for_room.is_empty() {
                if operations.blocking_recv_many(&mut arrived, MAX_OPERATIONS) == 0 {
                    return Ok(());
                }
            } else {
                std::thread::sleep(FULL_RETRY);
            }
            while arrived.len() < MAX_OPERATIONS
                && let Ok(operation) = operations.try_recv()
            {
                arrived.push(operation);
            }
            // Look only now: the operation that is sent after this is set may just have been received,
            // and then nothing would wake us again.
            let closes = closing.load(Ordering::Acquire);
            if closes {
                // The operations that were sent before are still written.
                operations.close();
                while let Ok(operation) = operations.try_recv() {
                    arrived.push(operation);
                }
            }
            if let Err(failed) = self.write(arrived.drain(..), clock.now()) {
                // Closing the store would write and sync it again.
                mem::forget(self.store);
                return Err(failed);
            }
            if closes {
                return Ok(());
            }
        }
    }

    /// Writes these operations as one commit.
    pub(super) fn write(
        &mut self,
        operations: impl IntoIterator<Item = Operation>,
        now: Instant,
    ) -> Result<(), StoreError> {
        let now = now.max(Instant(self.known.last_commit.0 + 1));
        let mut staged = Staged::default();
        for operation in mem::take(&mut self.waiting_for_room) {
            self.stage(operation, now, &mut staged);
        }
        for operation in operations {
            self.stage(operation, now, &mut staged);
        }
        self.stage_expiry(now, &mut staged);
        if staged.batch.is_empty() {
            self.take_effect(staged, now);
            return Ok(());
        }
        let recorded = !staged.commit.jobs.is_empty() || !staged.commit.events.is_empty();
        if recorded {
            staged.commit.last_event = self.known.last_event;
            staged.commit.last_job = self.known.last_job;
            let record = staged.commit.encode(now);
            staged.batch.puts.push((Table::Commits, now.0, record));
        }
        let durability = if staged.awaited {
            Durability::Synced
        } else {
            Durability::Written
        };
        match self.store.commit(&staged.batch, durability) {
            Ok(()) => {
                if recorded {
                    self.known.last_commit = now;
                }
                self.take_effect(staged, now);
                self.has_room(None);
                Ok(())
            }
            Err(StoreError::Full(cause)) => {
                self.has_room(Some(&*cause));
                self.undo(staged, &Arc::from(cause));
                Ok(())
            }
            Err(failed) => Err(failed),
        }
    }

    /// Logs when the disk becomes full, and when there is room again.
    fn has_room(&mut self, full: Option<&(dyn Error + Send + Sync + 'static)>) {
        match full {
            Some(error) if !self.full => {
                tracing::error!(error = error as &dyn Error, "disk full, no job is accepted");
            }
            None if self.full => tracing::info!("there is room on the disk again"),
            _ => {}
        }
        self.full = full.is_some();
    }

    fn stage(&mut self, operation: Operation, now: Instant, staged: &mut Staged) {
        match operation {
            Operation::Submit { job, reply } => self.stage_job(job, reply, now, staged),
            Operation::Publish { id, .. } if self.known.published.contains(&id) => {
                staged
                    .operations
                    .push(StagedOperation::KnownEvent(operation));
            }
            Operation::Publish {
                id,
                audience,
                context,
                payload,
                reply,
            } => {
                self.known.published.insert(id, now);
                self.known.last_event += 1;
                let seq = self.known.last_event;
                let record = EventRecord {
                    published: now,
                    context,
                    audience: audience.clone(),
                    payload: &payload,
                }
                .encode(seq);
                let entry = Entry::parse(seq, audience, Some(context), &payload)
                    .expect("an event was encoded");
                // The end of a job takes the place of the job in one commit, so the disk never has both.
                let ended = if id.is_end() {
                    self.known.jobs.remove(&id.job())
                } else {
                    None
                };
                staged.batch.done.extend(ended);
                staged.commit.events.push(id);
                staged.awaited = true;
                staged.bytes += record.len() as u64;
                staged.operations.push(StagedOperation::Event {
                    entry,
                    bytes: record.len(),
                    id,
                    context,
                    payload,
                    ended,
                    reply,
                });
                staged.batch.puts.push((Table::Events, seq, record));
            }
            Operation::Attempt {
                number,
                attempts,
                ref job,
            } => {
                if self.known.jobs.contains_key(&job.id) {
                    let record = JobRecord::encode(number, attempts, job);
                    staged.batch.puts.push((Table::Jobs, number, record));
                    staged.operations.push(StagedOperation::Note(operation));
                }
            }
            Operation::Done { job } => {
                if let Some(number) = self.known.jobs.get(&job) {
                    staged.batch.done.push(*number);
                    staged.operations.push(StagedOperation::Note(operation));
                }
            }
            Operation::Wake => {}
        }
    }

    fn stage_job(
        &mut self,
        job: Job,
        reply: oneshot::Sender<Result<Stored, SubmitError>>,
        now: Instant,
        staged: &mut Staged,
    ) {
        if self.known.submitted.contains(&job.id) {
            staged.operations.push(StagedOperation::KnownJob(reply));
        } else if self.effects.lanes.lane(job.lane()).admit() {
            self.known.submitted.insert(job.id, now);
            self.known.last_job += 1;
            let number = self.known.last_job;
            self.known.jobs.insert(job.id, number);
            let record = JobRecord::encode(number, 0, &job);
            staged.commit.jobs.push(job.id);
            staged.awaited = true;
            staged.batch.puts.push((Table::Jobs, number, record));
            let attempted = Attempted {
                job,
                number,
                attempts: 0,
            };
            staged
                .operations
                .push(StagedOperation::Job { attempted, reply });
        } else {
            answer(reply, Err(SubmitError::Full));
        }
    }

    fn stage_expiry(&mut self, now: Instant, staged: &mut Staged) {
        staged.batch.first_event = self.effects.extent.lock().expired(now, staged.bytes);
        let first = now.before(REMEMBERED_FOR);
        if first.since(self.first_commit) > EXPIRY_STEP {
            // The last commit says where the log ends, and stays.
            let first = first.min(self.known.last_commit);
            if first > self.first_commit {
                self.first_commit = first;
                staged.batch.first_commit = Some(first.0);
            }
        }
    }

    /// Lets the operations of a commit take effect, and answers them.
    fn take_effect(&mut self, staged: Staged, now: Instant) {
        let Effects { lanes, log, extent } = &self.effects;
        if let Some(first) = staged.batch.first_event {
            extent.lock().remove_before(first);
        }
        for operation in staged.operations {
            match operation {
                StagedOperation::Job { attempted, reply } => {
                    lanes.lane(attempted.job.lane()).push(attempted);
                    answer(reply, Ok(Stored::New));
                }
                StagedOperation::Event {
                    entry,
                    bytes,
                    reply,
                    ..
                } => {
                    extent.lock().add(entry.seq, now, bytes, &entry.audience);
                    log.append(entry);
                    answer(reply, Stored::New);
                }
                StagedOperation::KnownJob(reply) => answer(reply, Ok(Stored::Before)),
                StagedOperation::KnownEvent(Operation::Publish { reply, .. }) => {
                    answer(reply, Stored::Before);
                }
                StagedOperation::Note(Operation::Done { job }) => {
                    self.known.jobs.remove(&job);
                }
                StagedOperation::KnownEvent(_) | StagedOperation::Note(_) => {}
            }
        }
    }

    /// Undoes what was staged, because there is no room for it. Jobs are refused; everything else
    /// waits for room, since its job was accepted.
    fn undo(&mut self, staged: Staged, cause: &Arc<dyn Error + Send + Sync>) {
        for operation in staged.operations.into_iter().rev() {
            let waiting = match operation {
                StagedOperation::Job { attempted, reply } => {
                    self.known.submitted.forget(&attempted.job.id);
                    self.known.jobs.remove(&attempted.job.id);
                    self.effects.lanes.lane(attempted.job.lane()).leave();
                    answer(
                        reply,
                        Err(SubmitError::DiskFull(Box::new(Arc::clone(cause)))),
                    );
                    continue;
                }
                StagedOperation::KnownJob(reply) => {
                    answer(
                        reply,
                        Err(SubmitError::DiskFull(Box::new(Arc::clone(cause)))),
                    );
                    continue;
                }
                StagedOperation::Event {
                    entry,
                    id,
                    context,
                    payload,
                    ended,
                    reply,
                    ..
                } => {
                    self.known.published.forget(&id);
                    self.known.last_event = entry.seq - 1;
                    if let Some(number) = ended {
                        self.known.jobs.insert(id.job(), number);
                    }
                    Operation::Publish {
                        id,
                        audience: entry.audience,
                        context,
                        payload,
                        reply,
                    }
                }
                StagedOperation::KnownEvent(operation) | StagedOperation::Note(operation) => {
                    operation
                }
            };
            self.waiting_for_room.push(waiting);
        }
        self.waiting_for_room.reverse();
    }
}

/// Answers whoever still waits.
fn answer<T>(reply: oneshot::Sender<T>, answer: T) {
    reply.send(answer).ok();
}

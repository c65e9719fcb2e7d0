//! The embedded queue in memory, watched by the truth.

use std::{
    collections::VecDeque, convert::Infallible, future::pending, num::NonZeroUsize, sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use protocol::{Audience, Event, Job, JobContext, Lane};
use queue::{
    Cursor, Delivery, Item, PublishError, Reader, Roles, SubmitError, Submitter, Worker,
    custom::{Acker, Answer, Backend, Retention, TakenJob},
};

use crate::{trace::Actor, truth::Truth};

/// The bytes that an entry takes in the log besides its message.
const ENTRY_OVERHEAD: usize = 240;

/// The embedded queue.
#[derive(Debug)]
pub(crate) struct Memory {
    truth: Arc<Truth>,
    submitter: Submitter,
    worker: Worker,
    auditor: Mutex<Auditor>,
}

/// Reads each event as soon as it is stored.
#[derive(Debug)]
struct Auditor {
    cursor: Cursor,
    max_bytes: usize,
    bytes: usize,
    held: VecDeque<(u64, usize)>,
}

impl Memory {
    pub(crate) fn new(
        truth: Arc<Truth>,
        audiences: &[Audience],
        max_bytes: usize,
        begin: u64,
    ) -> (Self, Reader) {
        let retention = Retention {
            bytes: max_bytes,
            age: Duration::from_secs(600),
        };
        let roles = Roles::in_memory_within(retention, begin);
        truth.evicted(begin);
        let cursor = roles
            .reader
            .cursor(audiences, |_| true, None)
            .expect("a log in memory is always ready");
        let memory = Self {
            truth,
            submitter: roles.submitter,
            worker: roles.worker,
            auditor: Mutex::new(Auditor {
                cursor,
                max_bytes,
                bytes: 0,
                held: VecDeque::new(),
            }),
        };
        (memory, roles.reader)
    }

    /// Tells the truth what was stored and evicted.
    fn audit(&self, audience: &Audience, event: &Event) {
        let mut auditor = self.auditor.lock();
        while let Some(item) = auditor.cursor.next().now_or_never() {
            match item {
                Item::Entry(entry) => {
                    let cost = entry.message.len() + ENTRY_OVERHEAD;
                    auditor.bytes += cost;
                    auditor.held.push_back((entry.seq, cost));
                    self.truth
                        .stored(entry.seq, audience, event, entry.message.clone());
                }
                Item::Gap(seq) => self.truth.finding(
                    Actor::Queue,
                    &format!("the auditor missed events up to {seq}"),
                ),
            }
        }
        while auditor.bytes > auditor.max_bytes
            && let Some((seq, cost)) = auditor.held.pop_front()
        {
            auditor.bytes -= cost;
            self.truth.evicted(seq);
        }
    }
}

impl Backend for Memory {
    fn submit<'a>(&'a self, job: &'a Job) -> Answer<'a, Result<(), SubmitError>> {
        Box::pin(async {
            self.submitter.submit(job).await?;
            self.truth.queued(job);
            Ok(())
        })
    }

    fn take(&self, lane: Lane, idle: NonZeroUsize) -> Answer<'_, TakenJob> {
        let mut jobs = self.worker.jobs(lane);
        Box::pin(async move {
            let delivery = jobs.take(idle).await;
            self.truth.delivered(&delivery.job, delivery.attempt);
            TakenJob {
                job: delivery.job.clone(),
                attempt: delivery.attempt,
                acker: Box::new(MemoryAcker(delivery)),
            }
        })
    }

    fn publish<'a>(
        &'a self,
        audience: &'a Audience,
        event: &'a Event,
        context: JobContext,
    ) -> Answer<'a, Result<(), PublishError>> {
        Box::pin(async move {
            self.worker.publish(audience, event, context).await?;
            self.audit(audience, event);
            Ok(())
        })
    }
}

#[derive(Debug)]
struct MemoryAcker(Delivery);

impl Acker for MemoryAcker {
    fn ack(self: Box<Self>) -> Answer<'static, ()> {
        Box::pin(self.0.ack())
    }

    fn keep_in_progress(&self) -> Answer<'_, Infallible> {
        Box::pin(pending())
    }

    fn nak(self: Box<Self>) -> Answer<'static, ()> {
        Box::pin(self.0.nak())
    }
}

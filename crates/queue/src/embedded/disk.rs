//! The queue's backing on disk: a job or an event takes effect once the writer has synced it.

use std::{
    convert::Infallible,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use protocol::{Audience, Event, Job, JobContext};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};
use uuid::Uuid;

use super::{
    clock::Clock,
    directory::{Directory, OpenError},
    history::DiskHistory,
    lanes::{Attempted, Lanes},
    open::Opened,
    operation::Operation,
    writer::{Effects, Writer},
};
use crate::{
    driver::{Driver, Stopped},
    error::SubmitError,
    log::{Log, Retention},
    spans::System,
    stored::Stored,
};

/// How many operations may wait for the writer.
const WAITING_OPERATIONS: usize = 1024;
/// How long to wait for the answer to a submission.
const SUBMIT_TIMEOUT: Duration = Duration::from_millis(1500);
/// How often the writer is asked to look for what is too old, if nothing else is written.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(10);

/// Hands operations to the writer. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Disk(mpsc::Sender<Operation>);

/// The parts of a queue on disk.
pub(super) struct Parts {
    pub(super) disk: Disk,
    pub(super) lanes: Arc<Lanes>,
    pub(super) log: Log,
    pub(super) driver: Driver,
}

impl Disk {
    /// Opens the queue in `directory`, or makes it, and starts its writer.
    pub(super) fn open(directory: &Path) -> Result<Parts, OpenError> {
        let directory = Directory::create(directory)?;
        let clock = Clock::new();
        let Opened {
            store,
            reader,
            contents,
        } = Opened::open(&directory, clock.now())?;
        let extent = Arc::new(Mutex::new(contents.extent));
        let history = DiskHistory::new(Arc::clone(&extent), reader);
        let log = Log::with_history(System::Embedded, Retention::TAIL, Arc::new(history));
        let first = contents.tail.front().map(|entry| entry.seq - 1);
        log.begin(first.unwrap_or(contents.known.last_event));
        for entry in contents.tail {
            log.append(entry);
        }
        let lanes = Arc::new(Lanes::default());
        for attempted in contents.jobs {
            let lane = lanes.lane(attempted.job.lane());
            lane.admit();
            lane.push(attempted);
        }
        let effects = Effects {
            lanes: Arc::clone(&lanes),
            log: log.clone(),
            extent,
        };
        let writer = Writer::new(store, contents.known, effects);
        let (sender, operations) = mpsc::channel(WAITING_OPERATIONS);
        let closing = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("queue writer".to_owned())
            .spawn({
                let closing = Arc::clone(&closing);
                move || {
                    let ended = writer.run(operations, &clock, &closing);
                    // From now on another process may use the directory.
                    drop(directory);
                    stop.send(ended).ok();
                }
            });
        let thread = Thread {
            operations: sender.clone(),
            closing,
            handle: Some(thread.map_err(OpenError::Thread)?),
        };
        let followed = log.clone();
        let driver = Driver::new(async move |ready| {
            ready.send_replace(true);
            tokio::select! {
                ended = stopped => Stopped::new(match ended {
                    Ok(Err(error)) => error.into(),
                    Ok(Ok(())) | Err(_) => io::Error::other("the writer ended").into(),
                }),
                never = followed.expire() => match never {},
                never = thread.expire() => match never {},
            }
        });
        Ok(Parts {
            disk: Self(sender),
            lanes,
            log,
            driver,
        })
    }

    pub(super) async fn submit(&self, job: &Job) -> Result<Stored, SubmitError> {
        let submitted = async {
            let (reply, answer) = oneshot::channel();
            let job = job.clone();
            self.write(Operation::Submit { job, reply }).await;
            answer.await
        };
        match timeout(SUBMIT_TIMEOUT, submitted).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(closed)) => Err(SubmitError::Unreachable(closed.into())),
            Err(elapsed) => Err(SubmitError::Unreachable(elapsed.into())),
        }
    }

    pub(super) async fn publish(
        &self,
        audience: &Audience,
        event: &Event,
        context: JobContext,
    ) -> Stored {
        let (reply, answer) = oneshot::channel();
        self.write(Operation::Publish {
            id: event.message_id(),
            audience: audience.clone(),
            context,
            payload: event.encode(),
            reply,
        })
        .await;
        match answer.await {
            Ok(stored) => stored,
            // The writer has ended, and the process will soon end, too.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until a delivery can be recorded, before there is one.
    pub(super) async fn attempting(&self) -> Attempting<'_> {
        Attempting(self.0.reserve().await.ok())
    }

    pub(super) async fn done(&self, job: Uuid) {
        self.write(Operation::Done { job }).await;
    }

    async fn write(&self, operation: Operation) {
        self.0.send(operation).await.ok();
    }
}

/// Room for the record of a delivery, or `None` if the writer has ended.
pub(super) struct Attempting<'a>(Option<mpsc::Permit<'a, Operation>>);

impl Attempting<'_> {
    /// Has it recorded that the job is delivered.
    pub(super) fn record(self, delivered: &Attempted) {
        if let Some(permit) = self.0 {
            permit.send(Operation::Attempt {
                number: delivered.number,
                attempts: delivered.attempts,
                job: delivered.job.clone(),
            });
        }
    }
}

/// The writer's thread. It has ended when this is dropped.
struct Thread {
    operations: mpsc::Sender<Operation>,
    closing: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    /// Has the writer remove what is too old, forever.
    async fn expire(&self) -> Infallible {
        let mut tick = interval(EXPIRY_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.operations.send(Operation::Wake).await.ok();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        // If the channel has no room for it, the writer is awake.
        self.operations.try_send(Operation::Wake).ok();
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            tracing::error!("the queue's writer panicked");
        }
    }
}

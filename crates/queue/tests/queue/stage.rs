//! A queue with its three roles, for one test.

use std::{num::NonZeroUsize, path::Path, time::Duration};

use protocol::{
    Audience, ClientToken, Event, Job, JobContext, TraceParent,
    event::{Body, Timings},
};
use queue::{
    Cursor, Delivery, Driver, Item, JetStreamOptions, Jobs, Reader, Roles, Stopped, Submitter,
    Worker,
};
use tempfile::TempDir;
use testkit::{NatsServer, eventually, within};
use tokio::task::JoinSet;
use uuid::Uuid;

pub(crate) struct Stage {
    pub(crate) submitter: Submitter,
    pub(crate) worker: Worker,
    pub(crate) reader: Reader,
    drivers: JoinSet<Stopped>,
    pub(crate) servers: Vec<NatsServer>,
    /// Removed after the driver has ended.
    _directory: Option<TempDir>,
}

impl Stage {
    pub(crate) async fn in_memory() -> Self {
        Self::embedded(Roles::in_memory()).await
    }

    pub(crate) async fn on_disk() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let stage = Self::open(directory.path()).await;
        Self {
            _directory: Some(directory),
            ..stage
        }
    }

    /// A queue in a directory that stays.
    pub(crate) async fn open(directory: &Path) -> Self {
        Self::embedded(Roles::on_disk(directory).expect("a queue")).await
    }

    /// Ends the driver, and with it the queue's thread.
    pub(crate) async fn close(mut self) {
        self.drivers.shutdown().await;
    }

    async fn embedded(roles: Roles) -> Self {
        let Roles {
            submitter,
            worker,
            reader,
            driver,
        } = roles;
        Self {
            submitter,
            worker,
            reader,
            drivers: ready([driver]).await,
            servers: Vec::new(),
            _directory: None,
        }
    }

    pub(crate) async fn jetstream() -> Self {
        Self::with(|options| options).await
    }

    /// A queue that forgets a job as soon as it is done.
    pub(crate) async fn forgetful() -> Self {
        Self::with(|options| JetStreamOptions {
            job_id_window: Duration::ZERO,
            ..options
        })
        .await
    }

    /// A queue whose calculator has other options.
    pub(crate) async fn with(change: impl FnOnce(JetStreamOptions) -> JetStreamOptions) -> Self {
        Self::on(vec![NatsServer::start()], change).await
    }

    /// A queue on these servers.
    pub(crate) async fn on(
        servers: Vec<NatsServer>,
        change: impl FnOnce(JetStreamOptions) -> JetStreamOptions,
    ) -> Self {
        let connect = "valid addresses";
        let (submitter, submitter_driver) = Submitter::connect(&options(&servers, "web"))
            .await
            .expect(connect);
        let (worker, worker_driver) = Worker::connect(&change(options(&servers, "calculator")))
            .await
            .expect(connect);
        let (reader, reader_driver) = Reader::connect(&options(&servers, "websocket"))
            .await
            .expect(connect);
        Self {
            submitter,
            worker,
            reader,
            drivers: ready([submitter_driver, worker_driver, reader_driver]).await,
            servers,
            _directory: None,
        }
    }

    pub(crate) fn server(&mut self) -> &mut NatsServer {
        self.servers.first_mut().expect("the stage with a server")
    }

    /// Submits a job again and again until the queue has it.
    pub(crate) async fn submit(&self, job: &Job) {
        eventually("a job that is taken", async || {
            self.submitter.submit(job).await.ok()
        })
        .await;
    }

    /// Submits a job and takes it.
    pub(crate) async fn deliver(&self, jobs: &mut Jobs, job: &Job) -> Delivery {
        tokio::join!(take(jobs), self.submit(job)).0
    }

    pub(crate) fn cursor(&self, audiences: &[Audience], since: Option<u64>) -> Cursor {
        self.reader
            .cursor(audiences, |_| true, since)
            .expect("a reader that is ready")
    }
}

/// Another reader, as if in another process.
pub(crate) async fn reader(server: &NatsServer) -> (Reader, JoinSet<Stopped>) {
    let (reader, driver) = Reader::connect(&options([server], "websocket"))
        .await
        .expect("a valid address");
    (reader, ready([driver]).await)
}

/// A submitter that may use any of these servers.
pub(crate) async fn submitter<'a>(
    servers: impl IntoIterator<Item = &'a NatsServer>,
) -> (Submitter, JoinSet<Stopped>) {
    let (submitter, driver) = Submitter::connect(&options(servers, "web"))
        .await
        .expect("valid addresses");
    (submitter, ready([driver]).await)
}

/// Runs the drivers and waits until each is ready.
async fn ready(drivers: impl IntoIterator<Item = Driver>) -> JoinSet<Stopped> {
    let mut tasks = JoinSet::new();
    for driver in drivers {
        let readiness = driver.readiness();
        tasks.spawn(driver.run());
        eventually("a driver that is ready", async || {
            readiness.is_ready().then_some(())
        })
        .await;
    }
    tasks
}

/// The options of a user of these servers, each of which keeps a copy of every stream.
pub(crate) fn options<'a>(
    servers: impl IntoIterator<Item = &'a NatsServer>,
    user: &str,
) -> JetStreamOptions {
    let servers: Vec<_> = servers.into_iter().collect();
    let urls = servers.iter().map(|server| server.url());
    JetStreamOptions {
        urls: urls.map(|url| url.parse().expect("an address")).collect(),
        replicas: servers.len().try_into().expect("a few servers"),
        job_id_window: Duration::from_secs(120),
        ack_wait: Duration::from_secs(10),
        // The servers have the same users with the same passwords.
        password_file: servers.first().expect("a server").password_file(user),
    }
}

pub(crate) fn job(n: u64) -> Job {
    Job {
        id: Uuid::now_v7(),
        n,
        client: None,
        context: context(),
    }
}

pub(crate) fn context() -> JobContext {
    JobContext::now(TraceParent::random())
}

pub(crate) fn token(letter: char) -> ClientToken {
    letter.to_string().repeat(20).parse().expect("a token")
}

pub(crate) fn result(id: Uuid) -> Event {
    let timings = Timings {
        queued_us: 1,
        computed_us: 2,
    };
    let body = Body::Result {
        digits: 2,
        value: Some("55".into()),
        parts: None,
        timings,
    };
    Event { id, n: 10, body }
}

pub(crate) fn failed(id: Uuid) -> Event {
    let body = Body::Failed {
        reason: "no".into(),
    };
    Event { id, n: 10, body }
}

/// Takes the next job, and asks the queue for no other.
pub(crate) async fn take(jobs: &mut Jobs) -> Delivery {
    within("a job", jobs.take(NonZeroUsize::MIN)).await
}

/// The next event and its place.
pub(crate) async fn entry(cursor: &mut Cursor) -> (u64, Event) {
    match within("an entry", cursor.next()).await {
        Item::Entry(entry) => (
            entry.seq,
            serde_json::from_slice(&entry.message).expect("an event"),
        ),
        Item::Gap(seq) => panic!("a gap at {seq}"),
    }
}

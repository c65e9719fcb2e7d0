//! The queue as its three users see it.

use std::num::NonZeroUsize;

use pipeline::{
    Audience, ClientToken, Cursor, Delivery, Event, Item, JetStreamOptions, Job, Jobs, Log, Queue,
    Timings,
};
use testkit::{NatsServer, eventually, within};
use tokio::task::JoinSet;
use uuid::Uuid;

pub(crate) struct Stage {
    pub(crate) web: Queue,
    pub(crate) calculator: Queue,
    pub(crate) log: Log,
    /// Keeps the log fed.
    _feed: JoinSet<()>,
    server: Option<NatsServer>,
}

impl Stage {
    pub(crate) async fn in_process() -> Self {
        let queue = Queue::in_process();
        let (log, feed) = fed_log(&queue).await;
        Self {
            web: queue.clone(),
            calculator: queue,
            log,
            _feed: feed,
            server: None,
        }
    }

    pub(crate) async fn jetstream() -> Self {
        let server = NatsServer::start();
        let (log, feed) = fed_log(&connect(&server, "websocket").await).await;
        Self {
            web: connect(&server, "web").await,
            calculator: connect(&server, "calculator").await,
            log,
            _feed: feed,
            server: Some(server),
        }
    }

    pub(crate) fn server(&mut self) -> &mut NatsServer {
        self.server.as_mut().expect("the stage with a server")
    }

    /// Submits as soon as the stream was declared by its reader.
    pub(crate) async fn submit(&self, job: &Job) {
        eventually("a job that is taken", async || {
            self.web.submit(job).await.ok()
        })
        .await;
    }

    /// Submits a job and takes it.
    pub(crate) async fn deliver(&self, jobs: &mut Jobs, job: &Job) -> Delivery {
        tokio::join!(take(jobs), self.submit(job)).0
    }

    pub(crate) fn cursor(&self, audiences: &[Audience], since: Option<u64>) -> Cursor {
        self.log
            .cursor(audiences, |_| true, since)
            .expect("a log that has begun")
    }
}

pub(crate) async fn fed_log(queue: &Queue) -> (Log, JoinSet<()>) {
    let (log, feed) = queue.log();
    let mut tasks = JoinSet::new();
    tasks.spawn(feed.run());
    eventually("a log that has begun", async || {
        log.has_begun().then_some(())
    })
    .await;
    (log, tasks)
}

pub(crate) async fn connect(server: &NatsServer, user: &str) -> Queue {
    Queue::connect(&options(server, user), user)
        .await
        .expect("an address")
}

pub(crate) fn options(server: &NatsServer, user: &str) -> JetStreamOptions {
    JetStreamOptions {
        url: server.url().parse().expect("an address"),
        password_file: server.password_file(user),
    }
}

pub(crate) fn job(n: u64) -> Job {
    Job {
        id: Uuid::now_v7(),
        n,
        client: None,
        accepted_us: 1,
    }
}

pub(crate) fn token(letter: char) -> ClientToken {
    letter.to_string().repeat(20).parse().expect("a token")
}

pub(crate) fn result(id: Uuid) -> Event {
    let timings = Timings {
        queued_us: 1,
        computed_us: 2,
    };
    Event::Result {
        id,
        n: 10,
        digits: 2,
        value: Some("55".into()),
        parts: None,
        timings,
    }
}

pub(crate) fn failed(id: Uuid) -> Event {
    Event::Failed {
        id,
        n: 10,
        reason: "no".into(),
    }
}

/// Takes the next job, with room for no other.
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

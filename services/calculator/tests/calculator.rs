//! Which events the calculator publishes for a job.

use std::{collections::HashMap, fs, num::NonZeroUsize, path::Path, time::Duration};

use calculator::{Config, Metrics};
use protocol::{Audience, Event, Job, JobContext, Lane, TraceParent, event::Body};
use queue::{Cursor, Item, JetStreamOptions, Reader, Roles, Submitter, Worker};
use testkit::{NatsServer, eventually, within};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const CONFIG: Config = Config {
    threads: NonZeroUsize::MIN,
    memory_limit_mib: 1024,
};

/// A calculator on a queue in memory.
struct Stage {
    submitter: Submitter,
    worker: Worker,
    reader: Reader,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Stage {
    fn start(config: Config) -> Self {
        let roles = Roles::in_memory();
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(calculator::run(
            roles.worker.clone(),
            config,
            Metrics::default(),
            shutdown.clone(),
        ));
        Self {
            submitter: roles.submitter,
            worker: roles.worker,
            reader: roles.reader,
            shutdown,
            tasks,
        }
    }

    fn cursor(&self) -> Cursor {
        self.reader
            .cursor(&[Audience::Public], |_| true, None)
            .expect("a reader that is ready")
    }

    async fn submit(&self, n: u64) -> Uuid {
        let job = job(n);
        self.submitter
            .submit(&job)
            .await
            .expect("room in the queue");
        job.id
    }

    /// Stops the calculator, and panics if one of its tasks panicked.
    async fn stop(mut self) -> Worker {
        self.shutdown.cancel();
        while let Some(ended) = within("a calculator that has ended", self.tasks.join_next()).await
        {
            ended.expect("a calculator without a panic");
        }
        self.worker
    }
}

fn job(n: u64) -> Job {
    Job {
        id: Uuid::now_v7(),
        n,
        client: None,
        context: JobContext::now(TraceParent::random()),
    }
}

async fn next(cursor: &mut Cursor) -> Event {
    match within("an event", cursor.next()).await {
        Item::Entry(entry) => serde_json::from_slice(&entry.message).expect("an event"),
        Item::Gap(seq) => panic!("a gap at {seq}"),
    }
}

/// Every N of the golden file whose digits are in it, and F(N).
fn golden() -> HashMap<u64, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../crates/fibonacci/tests/golden/fibonacci.tsv");
    fs::read_to_string(path)
        .expect("the golden file")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|fields| fields[3] != "-")
        .map(|fields| {
            (
                fields[0].parse().expect("the golden file"),
                fields[3].to_owned(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_ends_in_the_exact_value() {
    let stage = Stage::start(CONFIG);
    let mut cursor = stage.cursor();
    let golden = golden();
    assert!(golden.len() > 200);
    let mut wanted = HashMap::new();
    for (n, value) in golden {
        wanted.insert(stage.submit(n).await, (n, value));
    }
    while !wanted.is_empty() {
        let Event { id, n, body } = next(&mut cursor).await;
        if let Body::Result {
            digits,
            value,
            parts,
            ..
        } = body
        {
            let value = value.unwrap();
            assert_eq!((digits, parts), (value.len() as u64, None));
            assert_eq!(wanted.remove(&id), Some((n, value)));
        }
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_job_has_only_its_result() {
    let stage = Stage::start(CONFIG);
    let mut cursor = stage.cursor();
    for n in [90, 5_000] {
        let submitted = stage.submit(n).await;
        let event = next(&mut cursor).await;
        assert!(matches!(event.body, Body::Result { .. }), "{event:?}");
        assert_eq!(event.id, submitted);
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_tells_how_long_its_job_waited_and_was_computed() {
    let stage = Stage::start(CONFIG);
    let mut cursor = stage.cursor();
    let mut waiting = job(90);
    waiting.context.accepted_us -= 5_000_000;
    stage.submitter.submit(&waiting).await.unwrap();
    let Body::Result { timings, .. } = next(&mut cursor).await.body else {
        panic!("no result");
    };
    let seconds = 5_000_000..60_000_000;
    assert!(seconds.contains(&timings.queued_us), "{timings:?}");
    assert!(timings.computed_us < 5_000_000, "{timings:?}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_result_is_previewed_and_comes_in_parts() {
    const N: u64 = 5_200_000;
    let stage = Stage::start(CONFIG);
    let mut cursor = stage.cursor();
    stage.submit(N).await;
    let Body::Preview {
        digits,
        first,
        last,
        ..
    } = next(&mut cursor).await.body
    else {
        panic!("no preview");
    };
    let mut value = String::new();
    let mut fraction_before = 0.0;
    let mut pieces = 0;
    loop {
        match next(&mut cursor).await.body {
            Body::Started { attempt, .. } => assert_eq!(attempt, 1),
            Body::Progress { fraction, .. } => {
                assert!(fraction_before < fraction && fraction <= 1.0);
                fraction_before = fraction;
            }
            Body::Part {
                index,
                parts,
                value: piece,
                ..
            } => {
                assert_eq!((index, parts), (pieces, 3));
                assert!(piece.len() <= 512 * 1024);
                value += &piece;
                pieces += 1;
            }
            Body::Result {
                digits: length,
                value: None,
                parts: Some(parts),
                ..
            } => {
                assert_eq!((length, parts), (digits, pieces));
                break;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(value.len() as u64, digits);
    assert!(value.starts_with(&first) && value.ends_with(&last));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_just_a_mebibyte_comes_whole() {
    let longest = (5_000_000..)
        .find(|n| fibonacci::preview(n + 1).digits > 1024 * 1024)
        .expect("a number with more digits");
    let stage = Stage::start(CONFIG);
    let mut cursor = stage.cursor();
    stage.submit(longest).await;
    loop {
        match next(&mut cursor).await.body {
            Body::Started { .. } | Body::Progress { .. } => {}
            Body::Result { digits, value, .. } => {
                assert_eq!((digits, value.unwrap().len()), (1024 * 1024, 1024 * 1024));
                break;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_job_does_not_wait_for_a_large_one() {
    let stage = Stage::start(CONFIG);
    let mut cursor = stage.cursor();
    stage.submit(90_000_000).await;
    let small = stage.submit(90).await;
    loop {
        let event = next(&mut cursor).await;
        if let Body::Result { .. } = event.body {
            assert_eq!(event.id, small);
            break;
        }
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_memory_fails_with_a_reason() {
    let stage = Stage::start(Config {
        memory_limit_mib: 8,
        ..CONFIG
    });
    let mut cursor = stage.cursor();
    let submitted = stage.submit(100_000_000).await;
    let event = next(&mut cursor).await;
    let Body::Failed { reason } = event.body else {
        panic!("not failed");
    };
    assert_eq!(event.id, submitted);
    assert!(reason.contains("may use 8 MiB"), "{reason}");
    stage.stop().await;
}

/// How a job ends that has been delivered so many times before.
async fn end_after(deliveries: u64) -> Body {
    let Roles {
        submitter,
        worker,
        reader,
        driver: _driver,
    } = Roles::in_memory();
    let job = job(10);
    submitter.submit(&job).await.expect("room in the queue");
    let mut jobs = worker.jobs(Lane::Small);
    for attempt in 1..=deliveries {
        assert_eq!(jobs.take(NonZeroUsize::MIN).await.attempt, attempt);
    }
    let mut cursor = reader
        .cursor(&[Audience::Public], |_| true, None)
        .expect("a reader that is ready");
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(calculator::run(
        worker,
        CONFIG,
        Metrics::default(),
        shutdown.clone(),
    ));
    let event = next(&mut cursor).await;
    assert_eq!(event.id, job.id);
    shutdown.cancel();
    within("a calculator that has ended", tasks.join_next())
        .await
        .expect("a task")
        .expect("no panic");
    event.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_delivered_a_third_time_is_computed() {
    let end = end_after(2).await;
    assert!(matches!(end, Body::Result { .. }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_delivered_a_fourth_time_fails_before_it_is_computed() {
    let end = end_after(3).await;
    assert!(matches!(end, Body::Failed { .. }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_just_fits_into_memory_is_computed() {
    let needed = fibonacci::memory_needed(1_000_000);
    let stage = Stage::start(Config {
        memory_limit_mib: needed.div_ceil(1024 * 1024),
        ..CONFIG
    });
    let mut cursor = stage.cursor();
    stage.submit(1_000_000).await;
    loop {
        match next(&mut cursor).await.body {
            Body::Result { .. } => break,
            Body::Failed { reason } => panic!("{reason}"),
            _ => {}
        }
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_gives_unfinished_work_back() {
    let stage = Stage::start(CONFIG);
    let mut cursor = stage.cursor();
    let large = stage.submit(90_000_000).await;
    let event = next(&mut cursor).await;
    assert!(matches!(event.body, Body::Preview { .. }), "{event:?}");
    let worker = stage.stop().await;
    let delivery = within("the job", worker.jobs(Lane::Large).take(NonZeroUsize::MIN)).await;
    assert_eq!((delivery.job.id, delivery.attempt), (large, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_longer_than_the_patience_of_the_queue_tells_its_progress_and_is_computed_once() {
    const N: u64 = 400_000_000;
    let server = NatsServer::start();
    let options = |user| JetStreamOptions {
        urls: vec![server.url().parse().expect("an address")],
        password_file: server.password_file(user),
        replicas: 1,
        job_id_window: Duration::from_secs(120),
        ack_wait: Duration::from_millis(300),
    };
    let (submitter, submitter_driver) = Submitter::connect(&options("web")).await.unwrap();
    let (worker, worker_driver) = Worker::connect(&options("calculator")).await.unwrap();
    let (reader, reader_driver) = Reader::connect(&options("websocket")).await.unwrap();
    let mut drivers = JoinSet::new();
    let readiness = reader_driver.readiness();
    for driver in [submitter_driver, worker_driver, reader_driver] {
        drivers.spawn(driver.run());
    }
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(calculator::run(
        worker,
        CONFIG,
        Metrics::default(),
        shutdown.clone(),
    ));
    eventually("a reader that is ready", async || {
        readiness.is_ready().then_some(())
    })
    .await;
    let mut cursor = reader.cursor(&[Audience::Public], |_| true, None).unwrap();
    let job = job(N);
    eventually("a job that is accepted", async || {
        submitter.submit(&job).await.ok()
    })
    .await;
    let (mut progress, mut ends) = (0, 0);
    let sentinel = loop {
        let event = next(&mut cursor).await;
        match event.body {
            Body::Started { attempt } => assert_eq!(attempt, 1),
            Body::Progress { .. } => progress += 1,
            Body::Result { .. } if event.id == job.id => {
                ends += 1;
                // Whatever came of a second delivery is in the log before the end of this job.
                let sentinel = self::job(10);
                submitter.submit(&sentinel).await.unwrap();
            }
            Body::Result { .. } => break event,
            Body::Preview { .. } | Body::Part { .. } => {}
            Body::Failed { reason } => panic!("{reason}"),
        }
    };
    assert_eq!((sentinel.n, ends), (10, 1));
    assert!(progress > 0, "no progress was published");
    shutdown.cancel();
    within("a calculator that has ended", tasks.join_next())
        .await
        .unwrap()
        .unwrap();
}

//! The calculator at work: what goes into the log for a job.

use std::{collections::HashMap, fs, num::NonZeroUsize, path::Path};

use calculator::Limits;
use pipeline::{Audience, Cursor, Event, Item, Job, Lane, Log, Queue};
use testkit::within;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const LIMITS: Limits = Limits {
    threads: NonZeroUsize::MIN,
    memory_limit_mib: 1024,
};

/// A calculator on a queue in memory.
struct Stage {
    queue: Queue,
    log: Log,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Stage {
    fn start(limits: Limits) -> Self {
        let queue = Queue::in_process();
        let (log, feed) = queue.log();
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(calculator::run(queue.clone(), limits, shutdown.clone()));
        drop(feed);
        Self {
            queue,
            log,
            shutdown,
            tasks,
        }
    }

    fn cursor(&self) -> Cursor {
        self.log
            .cursor(&[Audience::Public], |_| true, None)
            .expect("a log that has begun")
    }

    async fn submit(&self, n: u64) -> Uuid {
        let job = Job {
            id: Uuid::now_v7(),
            n,
            client: None,
            accepted_us: pipeline::unix_us(),
        };
        self.queue.submit(&job).await.expect("room in the queue");
        job.id
    }

    /// Stops the calculator, and raises what a task of it panicked with.
    async fn stop(mut self) -> Queue {
        self.shutdown.cancel();
        while let Some(ended) = within("a calculator that has ended", self.tasks.join_next()).await
        {
            ended.expect("a calculator without a panic");
        }
        self.queue
    }
}

async fn next(cursor: &mut Cursor) -> Event {
    match within("an event", cursor.next()).await {
        Item::Entry(entry) => serde_json::from_slice(&entry.message).expect("an event"),
        Item::Gap(seq) => panic!("a gap at {seq}"),
    }
}

/// N and F(N) of the golden file, as far as it has them in full.
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
    let stage = Stage::start(LIMITS);
    let mut cursor = stage.cursor();
    let golden = golden();
    assert!(golden.len() > 200);
    let mut wanted = HashMap::new();
    for (n, value) in golden {
        wanted.insert(stage.submit(n).await, (n, value));
    }
    while !wanted.is_empty() {
        if let Event::Result {
            id,
            n,
            digits,
            value,
            parts,
            ..
        } = next(&mut cursor).await
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
    let stage = Stage::start(LIMITS);
    let mut cursor = stage.cursor();
    for n in [90, 5_000] {
        let submitted = stage.submit(n).await;
        assert!(matches!(next(&mut cursor).await, Event::Result { id, .. } if id == submitted));
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_result_is_previewed_and_comes_in_parts() {
    const N: u64 = 5_200_000;
    let stage = Stage::start(LIMITS);
    let mut cursor = stage.cursor();
    stage.submit(N).await;
    let Event::Preview {
        digits,
        first,
        last,
        ..
    } = next(&mut cursor).await
    else {
        panic!("no preview");
    };
    let mut value = String::new();
    let mut fraction_before = 0.0;
    let mut pieces = 0;
    loop {
        match next(&mut cursor).await {
            Event::Started { attempt, .. } => assert_eq!(attempt, 1),
            Event::Progress { fraction, .. } => {
                assert!(fraction_before < fraction && fraction <= 1.0);
                fraction_before = fraction;
            }
            Event::Part {
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
            Event::Result {
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
async fn a_small_job_does_not_wait_for_a_large_one() {
    let stage = Stage::start(LIMITS);
    let mut cursor = stage.cursor();
    stage.submit(90_000_000).await;
    let small = stage.submit(90).await;
    loop {
        if let Event::Result { id, .. } = next(&mut cursor).await {
            assert_eq!(id, small);
            break;
        }
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_memory_fails_with_a_reason() {
    let stage = Stage::start(Limits {
        memory_limit_mib: 8,
        ..LIMITS
    });
    let mut cursor = stage.cursor();
    let submitted = stage.submit(100_000_000).await;
    let Event::Failed { id, reason, .. } = next(&mut cursor).await else {
        panic!("not failed");
    };
    assert_eq!(id, submitted);
    assert!(reason.contains("may use 8 MiB"), "{reason}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_delivered_a_fourth_time_fails_before_it_is_computed() {
    let queue = Queue::in_process();
    let (log, _feed) = queue.log();
    let job = Job {
        id: Uuid::now_v7(),
        n: 10,
        client: None,
        accepted_us: 1,
    };
    queue.submit(&job).await.unwrap();
    let mut jobs = queue.jobs(Lane::Small);
    for attempt in 1..=3 {
        assert_eq!(jobs.take(NonZeroUsize::MIN).await.attempt, attempt);
    }
    let mut cursor = log.cursor(&[Audience::Public], |_| true, None).unwrap();
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(calculator::run(queue, LIMITS, shutdown.clone()));
    assert!(matches!(next(&mut cursor).await, Event::Failed { id, .. } if id == job.id));
    shutdown.cancel();
    within("a calculator that has ended", tasks.join_next())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_gives_unfinished_work_back() {
    let stage = Stage::start(LIMITS);
    let mut cursor = stage.cursor();
    let large = stage.submit(90_000_000).await;
    assert!(matches!(next(&mut cursor).await, Event::Preview { .. }));
    let queue = stage.stop().await;
    let delivery = within("the job", queue.jobs(Lane::Large).take(NonZeroUsize::MIN)).await;
    assert_eq!((delivery.job.id, delivery.attempt), (large, 2));
}

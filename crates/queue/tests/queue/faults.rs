//! Faults: the server is full, is away, or has lost its disk, or a reader falls behind.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use protocol::{Audience, Event, Lane, event::Body};
use queue::{Item, SubmitError, Worker};
use testkit::{eventually, within};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    permissions::client,
    stage::{Stage, context, entry, failed, job, options, reader, result, take, token},
};

/// The web service promises an answer within this time.
const SUBMIT_LIMIT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_refuses_a_job() {
    let mut stage = Stage::forgetful().await;
    let mut jobs = stage.worker.jobs(Lane::Small);
    let delivery = stage.deliver(&mut jobs, &job(1)).await;
    let (client, _) = client(stage.server(), "calculator").await;
    let context = async_nats::jetstream::new(client);
    let mut config = context
        .get_stream("JOBS")
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    assert_eq!(config.discard, DiscardPolicy::New);
    config.max_messages_per_subject = 1;
    context.update_stream(config).await.unwrap();
    assert!(matches!(
        stage.submitter.submit(&job(2)).await,
        Err(SubmitError::Full)
    ));
    delivery.ack().await;
    stage.submit(&job(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn done_jobs_leave_the_stream_and_others_stay() {
    let mut stage = Stage::forgetful().await;
    let mut small = stage.worker.jobs(Lane::Small);
    let mut large = stage.worker.jobs(Lane::Large);
    let _underway = stage.deliver(&mut large, &job(1_000_001)).await;
    let done = stage.deliver(&mut small, &job(1)).await;
    let also_underway = stage.deliver(&mut small, &job(2)).await;
    let done_out_of_order = stage.deliver(&mut small, &job(3)).await;
    done.ack().await;
    done_out_of_order.ack().await;

    let (client, _) = client(stage.server(), "calculator").await;
    let stream = async_nats::jetstream::new(client)
        .get_stream("JOBS")
        .await
        .unwrap();
    let left = async |count: u64| {
        eventually("what is left in the stream", async || {
            let state = stream.get_info().await.unwrap().state;
            (state.messages == count).then_some(())
        })
        .await;
    };
    // The first small job is gone. The third stays until the second is done.
    left(3).await;
    also_underway.ack().await;
    left(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_away_works_again_without_help() {
    let mut stage = Stage::jetstream().await;
    let mut jobs = stage.worker.jobs(Lane::Small);
    let mut cursor = stage.cursor(&[Audience::Public], None);
    let delivery = stage.deliver(&mut jobs, &job(1)).await;
    delivery.ack().await;
    for lose_disk in [false, true] {
        stage.server().kill();
        let start = Instant::now();
        assert!(matches!(
            stage.submitter.submit(&job(2)).await,
            Err(SubmitError::Unreachable(_))
        ));
        assert!(start.elapsed() < SUBMIT_LIMIT);
        // By now, the submitter knows that it is away.
        let start = Instant::now();
        assert!(matches!(
            stage.submitter.submit(&job(2)).await,
            Err(SubmitError::Unreachable(_))
        ));
        assert!(start.elapsed() < SUBMIT_LIMIT / 4);
        if lose_disk {
            stage.server().lose_disk();
        }
        stage.server().restart();
        let sent = job(3);
        let third = async {
            loop {
                let delivery = take(&mut jobs).await;
                // The job that was refused may have been stored nevertheless.
                if delivery.job.n == 3 {
                    break delivery;
                }
                delivery.ack().await;
            }
        };
        let (delivery, ()) = tokio::join!(third, stage.submit(&sent));
        assert_eq!(delivery.job, sent);
        stage
            .worker
            .publish(&Audience::Public, &result(sent.id), context())
            .await
            .unwrap();
        delivery.ack().await;
        let event = loop {
            match within("an entry", cursor.next()).await {
                Item::Entry(entry) => {
                    break serde_json::from_slice::<Event>(&entry.message).unwrap();
                }
                Item::Gap(_) => assert!(lose_disk, "a gap though nothing was lost"),
            }
        };
        assert_eq!(event, result(sent.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_waits_for_a_queue_that_is_away() {
    let mut stage = Stage::jetstream().await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    stage.server().kill();
    let event = result(Uuid::now_v7());
    let (calculator, published) = (stage.worker.clone(), event.clone());
    let mut publishing = JoinSet::new();
    publishing.spawn(async move {
        calculator
            .publish(&Audience::Public, &published, context())
            .await
    });
    stage.server().restart();
    publishing.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(entry(&mut cursor).await.1, event);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_behind_the_tail_reads_the_stream() {
    // A little more than the tail holds.
    const PARTS: u32 = 140;
    let stage = Stage::jetstream().await;
    let own = [Audience::Client(token('a')), Audience::Public];
    let mut behind = stage.cursor(&own, None);
    let id = Uuid::now_v7();
    let part = |index| Event {
        id,
        n: 1,
        body: Body::Part {
            index,
            parts: PARTS,
            value: "7".repeat(512 * 1024),
        },
    };
    for index in 0..PARTS {
        stage
            .worker
            .publish(&own[0], &part(index), context())
            .await
            .unwrap();
    }
    stage
        .worker
        .publish(&own[1], &result(id), context())
        .await
        .unwrap();
    for index in 0..PARTS {
        assert_eq!(entry(&mut behind).await.1, part(index));
    }
    assert_eq!(entry(&mut behind).await.1, result(id));
    let last = failed(Uuid::now_v7());
    stage
        .worker
        .publish(&own[1], &last, context())
        .await
        .unwrap();
    assert_eq!(entry(&mut behind).await.1, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_the_stream_no_longer_holds_are_a_gap() {
    let mut stage = Stage::jetstream().await;
    for _ in 0..3 {
        stage
            .worker
            .publish(&Audience::Public, &result(Uuid::now_v7()), context())
            .await
            .unwrap();
    }
    let (raw, _) = client(stage.server(), "websocket").await;
    let context = async_nats::jetstream::new(raw);
    let mut config = context
        .get_stream("RESULTS")
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    config.max_messages = 1;
    context.update_stream(config).await.unwrap();
    let last = context
        .get_stream("RESULTS")
        .await
        .unwrap()
        .cached_info()
        .state
        .last_sequence;
    // Another process. It declares the stream as it was before, which brings no message back.
    let (reader, _driver) = reader(stage.server()).await;
    // The first place lies before the log and the second one after it. Each is one gap.
    for since in [0, last + 9] {
        let mut cursor = reader
            .cursor(&[Audience::Public], |_| true, Some(since))
            .unwrap();
        assert_eq!(cursor.next().await, Item::Gap(last - 1));
        assert_eq!(entry(&mut cursor).await.0, last);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_ten_minutes_and_512_mebibytes() {
    let mut stage = Stage::jetstream().await;
    let (raw, _) = client(stage.server(), "websocket").await;
    let streams = async_nats::jetstream::new(raw);
    let stream = streams.get_stream("RESULTS").await.unwrap();
    let config = stream.cached_info().config.clone();
    assert_eq!(config.discard, DiscardPolicy::Old);
    assert_eq!(config.max_age, Duration::from_secs(600));
    assert_eq!(config.max_bytes, 512 * 1024 * 1024);
    // The same limits, as small as a test can wait for.
    for smaller in [
        Config {
            max_bytes: 1000,
            ..config.clone()
        },
        Config {
            max_age: Duration::from_secs(1),
            duplicate_window: Duration::from_secs(1),
            ..config
        },
    ] {
        streams.update_stream(smaller).await.unwrap();
        for _ in 0..10 {
            let event = result(Uuid::now_v7());
            stage
                .worker
                .publish(&Audience::Public, &event, context())
                .await
                .unwrap();
        }
        let first = stream.get_info().await.unwrap().state.first_sequence;
        eventually("a log without its oldest events", async || {
            let state = stream.get_info().await.unwrap().state;
            (state.first_sequence > first || state.messages < 10).then_some(())
        })
        .await;
    }
    let (reader, _driver) = reader(stage.server()).await;
    let mut cursor = reader
        .cursor(&[Audience::Public], |_| true, Some(0))
        .unwrap();
    assert!(matches!(cursor.next().await, Item::Gap(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_start_before_its_password_exists() {
    let mut stage = Stage::jetstream().await;
    let mut options = options([&*stage.server()], "calculator");
    options.password_file = stage.server().password_file("late");
    let (_worker, driver) = Worker::connect(&options).await.unwrap();
    let readiness = driver.readiness();
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run());
    assert!(!readiness.is_ready());
    std::fs::copy(
        stage.server().password_file("calculator"),
        options.password_file,
    )
    .unwrap();
    eventually("a worker that is ready", async || {
        readiness.is_ready().then_some(())
    })
    .await;
}

//! The queue's promises across outages and overload, on a real server.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use async_nats::jetstream;
use protocol::{Audience, Lane, event::Body};
use queue::{Item, JetStreamOptions, SubmitError};
use testkit::{NatsServer, eventually, within};
use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinSet,
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::{
    permissions::client,
    stage::{Stage, context, entry, job, reader, result, submitter, take},
};

/// Held by the test that measures the shortest times, and by the one that starts the most servers.
static ONE_OF_THESE: Mutex<()> = Mutex::const_new(());

/// How long the answer to a submission may take.
const SUBMIT_LIMIT: Duration = Duration::from_secs(2);

/// The configuration of a stream, as its declaring service sees it.
async fn config(server: &NatsServer, user: &str, stream: &str) -> jetstream::stream::Config {
    let (client, _) = client(server, user).await;
    let stream = jetstream::new(client).get_stream(stream).await;
    stream.expect("a stream").cached_info().config.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_remembers_an_id_for_as_long_as_it_holds_its_event() {
    let mut stage = Stage::jetstream().await;
    let results = config(stage.server(), "websocket", "RESULTS").await;
    assert_eq!(results.max_age, Duration::from_secs(600));
    assert_eq!(results.duplicate_window, results.max_age);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_remembered_across_a_restart_after_its_job_is_done() {
    let mut stage = Stage::jetstream().await;
    let mut jobs = stage.worker.jobs(Lane::Small);
    let (first, second) = (job(1), job(2));
    stage.deliver(&mut jobs, &first).await.ack().await;
    let (client, _) = client(stage.server(), "calculator").await;
    let stream = jetstream::new(client).get_stream("JOBS").await.unwrap();
    let swept = eventually("a job that is swept", async || {
        (stream.get_info().await.unwrap().state.messages == 0).then_some(())
    });
    let early = timeout(Duration::from_secs(3), swept).await;
    assert!(early.is_err(), "swept within three seconds");
    stage.server().kill();
    stage.server().restart();
    stage.submit(&first).await;
    stage.submit(&second).await;
    assert_eq!(take(&mut jobs).await.job, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_forgotten_and_is_computed_again_has_one_end() {
    // As after an outage that is longer than an id of a job is remembered.
    let mut stage = Stage::forgetful().await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    let mut jobs = stage.worker.jobs(Lane::Small);
    let (again, other) = (job(1), job(2));
    let worker = stage.worker.clone();
    let publish = async |id| {
        let event = result(id);
        worker
            .publish(&Audience::Public, &event, context())
            .await
            .unwrap();
    };
    let first = stage.deliver(&mut jobs, &again).await;
    publish(again.id).await;
    first.ack().await;
    let (client, _) = client(stage.server(), "calculator").await;
    let stream = jetstream::new(client).get_stream("JOBS").await.unwrap();
    eventually("a job that is swept", async || {
        (stream.get_info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
    stage.server().kill();
    stage.server().restart();
    let second = stage.deliver(&mut jobs, &again).await;
    assert_eq!((second.job.id, second.attempt), (again.id, 1));
    publish(again.id).await;
    second.ack().await;
    publish(other.id).await;
    assert_eq!(entry(&mut cursor).await.1, result(again.id));
    assert_eq!(entry(&mut cursor).await.1, result(other.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_followed_after_the_driver_has_ended() {
    let mut stage = Stage::jetstream().await;
    let (reader, mut driver) = reader(stage.server()).await;
    let mut unfed = reader.cursor(&[Audience::Public], |_| true, None).unwrap();
    let mut fed = stage.cursor(&[Audience::Public], None);
    driver.shutdown().await;
    let event = result(Uuid::now_v7());
    stage
        .worker
        .publish(&Audience::Public, &event, context())
        .await
        .unwrap();
    assert_eq!(entry(&mut fed).await.1, event);
    let followed = timeout(Duration::from_secs(1), unfed.next()).await;
    assert!(followed.is_err(), "{followed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_a_log_that_was_lost_is_a_gap() {
    let mut stage = Stage::jetstream().await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    stage
        .worker
        .publish(&Audience::Public, &result(Uuid::now_v7()), context())
        .await
        .unwrap();
    let (old, _) = entry(&mut cursor).await;
    stage.server().kill();
    stage.server().lose_disk();
    stage.server().restart();
    for _ in 0..5 {
        stage
            .worker
            .publish(&Audience::Public, &result(Uuid::now_v7()), context())
            .await
            .unwrap();
    }
    let (reader, _driver) = reader(stage.server()).await;
    let mut cursor = reader
        .cursor(&[Audience::Public], |_| true, Some(old))
        .unwrap();
    let Item::Gap(place) = within("a gap", cursor.next()).await else {
        panic!("no gap after {old}");
    };
    let (first, _) = entry(&mut cursor).await;
    assert!(old < place && place < first, "{old} {place} {first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_lane_does_not_shut_out_the_other() {
    let mut stage = Stage::jetstream().await;
    let (client, _) = client(stage.server(), "calculator").await;
    let context = jetstream::new(client);
    let mut config = config(stage.server(), "calculator", "JOBS").await;
    assert_eq!(config.max_messages, -1);
    assert!(config.max_messages_per_subject >= 100_000);
    config.max_messages_per_subject = 1;
    context.update_stream(config).await.unwrap();
    stage.submit(&job(2_000_000)).await;
    let refused = stage.submitter.submit(&job(2_000_001)).await;
    assert!(matches!(refused, Err(SubmitError::Full)), "{refused:?}");
    stage.submitter.submit(&job(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_submission_is_answered_in_time_while_the_queue_hangs() {
    const SUBMISSIONS: u64 = 300;
    // As many as the web service has threads.
    let threads = Arc::new(Semaphore::new(32));
    let mut stage = Stage::jetstream().await;
    stage.submit(&job(1)).await;
    stage.server().pause();
    let start = Instant::now();
    let mut submissions = JoinSet::new();
    for n in 0..SUBMISSIONS {
        let (submitter, threads) = (stage.submitter.clone(), Arc::clone(&threads));
        submissions.spawn(async move {
            let _thread = threads.acquire_owned().await.unwrap();
            (submitter.submit(&job(n)).await, start.elapsed())
        });
    }
    for (answer, after) in submissions.join_all().await {
        assert!(
            matches!(answer, Err(SubmitError::Unreachable(_))),
            "{answer:?}"
        );
        assert!(after < SUBMIT_LIMIT, "answered after {after:?}");
    }
    stage.server().resume();
    eventually("a job that is taken", async || {
        stage.submitter.submit(&job(2)).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_left_for_another() {
    const LEFT_WITHIN: Duration = Duration::from_secs(8);
    let (mut one, mut other) = (Stage::jetstream().await, Stage::jetstream().await);
    let nodes = [&*one.server(), &*other.server()];
    let (submitter, _drivers) = submitter(nodes).await;
    // It is connected to one of them, which hangs at the latest in the second round.
    for node in nodes {
        node.pause();
        let hangs = Instant::now();
        eventually("a job that is taken", async || {
            submitter.submit(&job(1)).await.ok()
        })
        .await;
        assert!(
            hangs.elapsed() < LEFT_WITHIN,
            "taken after {:?}",
            hangs.elapsed()
        );
        node.resume();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_and_events_soon_go_on_whichever_node_of_a_cluster_hangs() {
    // A stream and a consumer each have a new leader after 4 to 9 s.
    const LIMIT: Duration = Duration::from_secs(14);
    let _alone = ONE_OF_THESE.lock().await;
    let stage = Stage::on(NatsServer::start_cluster().into(), |options| options).await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    let (worker, mut jobs) = (stage.worker.clone(), stage.worker.jobs(Lane::Small));
    let mut working = JoinSet::new();
    working.spawn(async move {
        loop {
            let delivery = jobs.take(NonZeroUsize::MIN).await;
            let event = result(delivery.job.id);
            let published = worker.publish(&Audience::Public, &event, context()).await;
            published.expect("an event that is stored");
            delivery.ack().await;
        }
    });
    for (node, n) in stage.servers.iter().zip(1..) {
        node.pause();
        let hangs = Instant::now();
        let job = job(n);
        stage.submit(&job).await;
        assert_eq!(entry(&mut cursor).await.1, result(job.id));
        let took = hangs.elapsed();
        assert!(took < LIMIT, "node {n} hung, and a job took {took:?}");
        node.resume();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_kept_in_progress_is_not_delivered_again() {
    const ACK_WAIT: Duration = Duration::from_secs(1);
    let stage = Stage::with(|options| JetStreamOptions {
        ack_wait: ACK_WAIT,
        ..options
    })
    .await;
    let mut jobs = stage.worker.jobs(Lane::Small);
    let delivery = stage.deliver(&mut jobs, &job(1)).await;
    tokio::select! {
        again = timeout(ACK_WAIT * 3, jobs.take(NonZeroUsize::MIN)) => {
            assert!(again.is_err(), "delivered again: {again:?}");
        }
        never = delivery.keep_in_progress() => match never {},
    }
    // Without a sign of life it is.
    assert_eq!(take(&mut jobs).await.attempt, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_job_fails_if_its_id_can_be_read_and_is_removed_in_any_case() {
    let mut stage = Stage::jetstream().await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    let mut jobs = stage.worker.jobs(Lane::Small);
    let (client, _) = client(stage.server(), "web").await;
    let context = jetstream::new(client);
    let id = Uuid::now_v7();
    for payload in [
        "not json".to_owned(),
        format!(r#"{{"id":"{id}","n":"many"}}"#),
    ] {
        // Stored before the next job, which goes over another connection.
        let stored = context.publish("jobs.small", payload.into()).await.unwrap();
        stored.await.unwrap();
    }
    let next = job(3);
    stage.submit(&next).await;
    // Neither malformed job is delivered, so the third one is the next.
    let delivery = within("a job", jobs.take(NonZeroUsize::MIN)).await;
    assert_eq!(delivery.job, next);
    let (_, event) = entry(&mut cursor).await;
    assert_eq!(event.id, id);
    assert!(matches!(event.body, Body::Failed { .. }), "{event:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_resuming_readers_do_not_delay_a_live_one() {
    const EVENTS: usize = 200;
    const READERS: usize = 2_000;
    const LIMIT: Duration = Duration::from_millis(100);
    let _alone = ONE_OF_THESE.lock().await;
    let mut stage = Stage::jetstream().await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    let mut publishing = JoinSet::new();
    for _ in 0..EVENTS {
        let worker = stage.worker.clone();
        publishing.spawn(async move {
            let event = result(Uuid::now_v7());
            worker.publish(&Audience::Public, &event, context()).await
        });
    }
    for published in publishing.join_all().await {
        published.unwrap();
    }
    let (first, _) = entry(&mut cursor).await;
    // Another process starts, and all readers of the first one connect to it.
    let (reader, _driver) = reader(stage.server()).await;
    let mut live = reader.cursor(&[Audience::Public], |_| true, None).unwrap();
    let mut resuming = JoinSet::new();
    for _ in 0..READERS {
        let mut cursor = reader
            .cursor(&[Audience::Public], |_| true, Some(first))
            .unwrap();
        resuming.spawn(async move {
            for _ in 1..EVENTS {
                entry(&mut cursor).await;
            }
        });
    }
    let mut slowest = Duration::ZERO;
    while !resuming.is_empty() {
        let event = result(Uuid::now_v7());
        stage
            .worker
            .publish(&Audience::Public, &event, context())
            .await
            .unwrap();
        let published = Instant::now();
        assert_eq!(entry(&mut live).await.1, event);
        slowest = slowest.max(published.elapsed());
        while let Some(resumed) = resuming.try_join_next() {
            resumed.unwrap();
        }
    }
    assert!(slowest < LIMIT, "a live event took {slowest:?}");
}

//! The behaviour of the queue: the same tests on both of its kinds, and tests of faults that only a
//! server can have.

mod damage;
mod disk;
mod faults;
mod metrics;
mod permissions;
mod promises;
mod stage;

use std::num::NonZeroUsize;

use protocol::{
    Audience, Event, Job, JobContext, Lane, TraceParent,
    event::{Body, Kind},
};
use queue::{Delivery, Item, Roles, SubmitError};
use testkit::within;
use uuid::Uuid;

use metrics::Shown;
use stage::{Stage, context, entry, failed, job, result, take, token};

fn summary(delivery: &Delivery) -> (u64, u64) {
    (delivery.job.n, delivery.attempt)
}

/// Turns each body into one test per kind of queue.
macro_rules! on_each_kind {
    ($($name:ident($stage:ident) $body:block)+) => {
        mod jetstream {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let $stage = Stage::jetstream().await;
                $body
            })+
        }
        mod in_memory {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let $stage = Stage::in_memory().await;
                $body
            })+
        }
        mod on_disk {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let $stage = Stage::on_disk().await;
                $body
            })+
        }
    };
}

on_each_kind! {
    a_job_arrives_as_it_was_submitted(stage) {
        let mut jobs = stage.worker.jobs(Lane::Small);
        let sent = Job { client: Some(token('a')), ..job(10) };
        let delivery = stage.deliver(&mut jobs, &sent).await;
        assert_eq!(delivery.job, sent);
        assert_eq!(delivery.attempt, 1);
        delivery.ack().await;
    }

    a_job_submitted_twice_is_queued_once_even_after_it_is_done(stage) {
        let mut jobs = stage.worker.jobs(Lane::Small);
        let (first, second) = (job(1), job(2));
        let delivery = stage.deliver(&mut jobs, &first).await;
        stage.submit(&first).await;
        delivery.ack().await;
        stage.submit(&first).await;
        stage.submit(&second).await;
        assert_eq!(take(&mut jobs).await.job, second);
    }

    a_job_given_back_is_delivered_again_with_its_attempts_counted(stage) {
        let mut jobs = stage.worker.jobs(Lane::Small);
        let delivery = stage.deliver(&mut jobs, &job(7)).await;
        assert_eq!(summary(&delivery), (7, 1));
        delivery.nak().await;
        let delivery = take(&mut jobs).await;
        assert_eq!(summary(&delivery), (7, 2));
        delivery.nak().await;
        assert_eq!(summary(&take(&mut jobs).await), (7, 3));
    }

    a_job_that_its_worker_dropped_is_delivered_again(stage) {
        let mut jobs = stage.worker.jobs(Lane::Small);
        let delivery = stage.deliver(&mut jobs, &job(7)).await;
        drop(delivery);
        assert_eq!(summary(&take(&mut jobs).await), (7, 2));
    }

    a_large_job_does_not_delay_a_small_one(stage) {
        let mut small = stage.worker.jobs(Lane::Small);
        let mut large = stage.worker.jobs(Lane::Large);
        let delivery = stage.deliver(&mut large, &job(1_000_001)).await;
        stage.submit(&job(1_000_002)).await;
        let quick = stage.deliver(&mut small, &job(1_000_000)).await;
        assert_eq!(quick.job.n, 1_000_000);
        assert_eq!(delivery.job.n, 1_000_001);
        assert_eq!(take(&mut large).await.job.n, 1_000_002);
    }

    many_jobs_come_with_one_request(stage) {
        let mut jobs = stage.worker.jobs(Lane::Small);
        let ten = NonZeroUsize::new(10).unwrap();
        let (first, ()) = tokio::join!(jobs.take(ten), async {
            for n in 0..10 {
                stage.submit(&job(n)).await;
            }
        });
        let mut held = vec![first];
        for idle in (1..10).rev() {
            held.push(jobs.take(NonZeroUsize::new(idle).unwrap()).await);
        }
        let taken: Vec<_> = held.iter().map(|delivery| delivery.job.n).collect();
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
    }

    a_reader_gets_its_own_events_and_the_broadcasts_in_order(stage) {
        let (own, other) = (Audience::Client(token('a')), Audience::Client(token('b')));
        let mut cursor = stage.cursor(&[own.clone(), Audience::Public], None);
        let mut bare = stage.cursor(&[Audience::Public], None);
        let ids = [(); 4].map(|()| Uuid::now_v7());
        for (audience, id) in [&own, &other, &Audience::Public, &own].into_iter().zip(ids) {
            stage.worker.publish(audience, &result(id), context()).await.unwrap();
        }
        let mut last = 0;
        for id in [ids[0], ids[2], ids[3]] {
            let (seq, event) = entry(&mut cursor).await;
            assert_eq!(event, result(id));
            assert!(seq > last);
            last = seq;
        }
        assert_eq!(entry(&mut bare).await.1, result(ids[2]));
    }

    an_event_published_twice_is_stored_once(stage) {
        let mut cursor = stage.cursor(&[Audience::Public], None);
        let (first, second) = (result(Uuid::now_v7()), result(Uuid::now_v7()));
        for event in [&first, &first, &second] {
            stage.worker.publish(&Audience::Public, event, context()).await.unwrap();
        }
        assert_eq!(entry(&mut cursor).await.1, first);
        assert_eq!(entry(&mut cursor).await.1, second);
    }

    a_job_has_one_end(stage) {
        let mut cursor = stage.cursor(&[Audience::Public], None);
        let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
        for event in [result(id), failed(id), failed(other)] {
            stage.worker.publish(&Audience::Public, &event, context()).await.unwrap();
        }
        assert_eq!(entry(&mut cursor).await.1, result(id));
        assert_eq!(entry(&mut cursor).await.1, failed(other));
    }

    a_reader_that_comes_back_continues_where_it_was(stage) {
        let own = [Audience::Client(token('a')), Audience::Public];
        let ids = [(); 6].map(|()| Uuid::now_v7());
        let mut cursor = stage.cursor(&own, None);
        for (index, id) in ids.into_iter().enumerate() {
            stage.worker.publish(&own[index % 2], &result(id), context()).await.unwrap();
        }
        let (seq, event) = entry(&mut cursor).await;
        assert_eq!(event, result(ids[0]));
        drop(cursor);
        let mut cursor = stage.cursor(&own, Some(seq));
        for id in &ids[1..] {
            assert_eq!(entry(&mut cursor).await.1, result(*id));
        }
    }

    what_travels_with_a_job_and_with_an_event_arrives(stage) {
        let mut cursor = stage.cursor(&[Audience::Public], None);
        let sent = job(10);
        stage.submit(&sent).await;
        let delivery = take(&mut stage.worker.jobs(Lane::Small)).await;
        assert_eq!(delivery.job.context, sent.context);
        let context = JobContext { traceparent: TraceParent::random(), ..sent.context };
        stage.worker.publish(&Audience::Public, &result(sent.id), context).await.unwrap();
        let Item::Entry(entry) = within("an entry", cursor.next()).await else {
            panic!("a gap");
        };
        assert_eq!(entry.context, Some(context));
    }

    a_place_after_the_end_is_a_gap(stage) {
        stage.worker.publish(&Audience::Public, &result(Uuid::now_v7()), context()).await.unwrap();
        let mut cursor = stage.cursor(&[Audience::Public], Some(u64::MAX));
        assert!(matches!(cursor.next().await, Item::Gap(_)));
    }

    a_reader_gets_only_the_kinds_it_wants(stage) {
        let results = |kind| kind == Kind::Result;
        let mut cursor = stage.reader.cursor(&[Audience::Public], results, None).unwrap();
        let id = Uuid::now_v7();
        let started = Event { id, n: 10, body: Body::Started { attempt: 1 } };
        stage.worker.publish(&Audience::Public, &started, context()).await.unwrap();
        stage.worker.publish(&Audience::Public, &result(id), context()).await.unwrap();
        assert_eq!(entry(&mut cursor).await.1, result(id));
    }

    what_is_repeated_is_counted(stage) {
        let submitter = Shown::by(|registry| stage.submitter.register(registry));
        let worker = Shown::by(|registry| stage.worker.register(registry));
        let mut jobs = stage.worker.jobs(Lane::Small);
        let job = job(1);
        let delivery = stage.deliver(&mut jobs, &job).await;
        let repeated = r#"fibwire_duplicates_total{stream="jobs"}"#;
        assert_eq!(submitter.value(repeated), Some(0.0));
        stage.submit(&job).await;
        assert_eq!(submitter.value(repeated), Some(1.0));
        assert_eq!(submitter.value("fibwire_submit_seconds_count"), Some(2.0));

        let again = r#"fibwire_redeliveries_total{lane="small"}"#;
        assert_eq!(worker.value(again), Some(0.0));
        delivery.nak().await;
        take(&mut jobs).await.ack().await;
        assert_eq!(worker.value(again), Some(1.0));

        for _ in 0..2 {
            stage.worker.publish(&Audience::Public, &result(job.id), context()).await.unwrap();
        }
        let repeated = r#"fibwire_duplicates_total{stream="results"}"#;
        assert_eq!(worker.value(repeated), Some(1.0));
        assert_eq!(worker.value("fibwire_event_store_seconds_count"), Some(2.0));
    }

    the_jobs_that_it_holds_are_counted(stage) {
        let worker = Shown::by(|registry| stage.worker.register(registry));
        let mut jobs = stage.worker.jobs(Lane::Large);
        for n in 1_000_001..=1_000_003 {
            stage.submit(&Job { context: JobContext::now(TraceParent::random()), ..job(n) }).await;
        }
        let delivery = take(&mut jobs).await;
        worker.becomes(r#"fibwire_jobs_waiting{lane="large"}"#, Some(2.0)).await;
        worker.becomes(r#"fibwire_jobs_in_progress{lane="large"}"#, Some(1.0)).await;
        let age = worker.value(r#"fibwire_oldest_job_age_seconds{lane="large"}"#).unwrap();
        assert!(age > 0.0 && age < 60.0, "{age}");
        assert_eq!(worker.value(r#"fibwire_jobs_waiting{lane="small"}"#), Some(0.0));
        assert_eq!(worker.value(r#"fibwire_lane_capacity_jobs{lane="large"}"#), Some(100_000.0));
        delivery.ack().await;
        for _ in 0..2 {
            take(&mut jobs).await.ack().await;
        }
        worker.becomes(r#"fibwire_oldest_job_age_seconds{lane="large"}"#, Some(0.0)).await;
        worker.becomes(r#"fibwire_jobs_in_progress{lane="large"}"#, Some(0.0)).await;
    }

    the_log_shows_its_size_and_the_reader_furthest_behind(stage) {
        let reader = Shown::by(|registry| stage.reader.register(registry));
        let slow = stage.cursor(&[Audience::Public], None);
        let mut quick = stage.cursor(&[Audience::Public], None);
        assert_eq!(reader.value("fibwire_cursor_lag_events"), Some(0.0));
        for _ in 0..3 {
            let event = result(Uuid::now_v7());
            stage.worker.publish(&Audience::Public, &event, context()).await.unwrap();
            assert_eq!(entry(&mut quick).await.1, event);
        }
        assert_eq!(reader.value("fibwire_cursor_lag_events"), Some(3.0));
        drop(slow);
        assert_eq!(reader.value("fibwire_cursor_lag_events"), Some(0.0));
        assert_eq!(reader.value("fibwire_tail_events"), Some(3.0));
        assert!(reader.value("fibwire_tail_bytes").unwrap() > 600.0);
        assert_eq!(reader.value("fibwire_log_limit_bytes"), Some(536_870_912.0));
        testkit::eventually("the size of the log", async || {
            reader.value("fibwire_log_bytes").filter(|bytes| *bytes > 100.0)
        })
        .await;
    }

    a_reader_that_waits_is_not_behind_because_of_events_for_others(stage) {
        let reader = Shown::by(|registry| stage.reader.register(registry));
        let other = Audience::Client(token('b'));
        let mut waiting = stage.cursor(&[Audience::Client(token('a'))], None);
        let mut watching = stage.cursor(std::slice::from_ref(&other), None);
        let published = async {
            stage.worker.publish(&other, &result(Uuid::now_v7()), context()).await.unwrap();
            entry(&mut watching).await;
        };
        tokio::select! {
            biased;
            item = waiting.next() => panic!("{item:?}"),
            () = published => {}
        }
        // The future that read with it is gone, so it falls behind.
        assert_eq!(reader.value("fibwire_cursor_lag_events"), Some(1.0));
        tokio::select! {
            biased;
            item = waiting.next() => panic!("{item:?}"),
            lag = async { reader.value("fibwire_cursor_lag_events") } => assert_eq!(lag, Some(0.0)),
        }
    }
}

#[tokio::test]
async fn a_lane_in_memory_refuses_a_job_over_its_limit() {
    let Roles {
        submitter, worker, ..
    } = Roles::in_memory();
    for n in 0..100_000 {
        submitter.submit(&job(n)).await.unwrap();
    }
    let refused = submitter.submit(&job(1)).await;
    assert!(matches!(refused, Err(SubmitError::Full)));
    // The other lane has a limit of its own.
    submitter.submit(&job(1_000_001)).await.unwrap();
    take(&mut worker.jobs(Lane::Small)).await.ack().await;
    submitter.submit(&job(1)).await.unwrap();
}

#[tokio::test]
async fn a_place_in_an_earlier_log_in_memory_is_a_gap() {
    let stage = Stage::in_memory().await;
    let mut cursor = stage.cursor(&[Audience::Public], Some(7));
    assert!(matches!(cursor.next().await, Item::Gap(seq) if seq > 7));
}

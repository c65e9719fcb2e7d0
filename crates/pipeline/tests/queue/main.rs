//! The queue's behaviour: the same tests on both of its kinds, and what only a server can show.

mod faults;
mod permissions;
mod stage;

use std::num::NonZeroUsize;

use pipeline::{Audience, Delivery, Event, EventKind, Item, Job, Lane, Queue, SubmitError};
use uuid::Uuid;

use stage::{Stage, entry, failed, job, result, take, token};

fn summary(delivery: &Delivery) -> (u64, u64) {
    (delivery.job.n, delivery.attempt)
}

/// Makes each test two: one per kind of queue.
macro_rules! on_both_kinds {
    ($($name:ident($stage:ident) $body:block)+) => {
        mod jetstream {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let $stage = Stage::jetstream().await;
                $body
            })+
        }
        mod in_process {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let $stage = Stage::in_process().await;
                $body
            })+
        }
    };
}

on_both_kinds! {
    a_job_arrives_as_it_was_submitted(stage) {
        let mut jobs = stage.calculator.jobs(Lane::Small);
        let sent = Job { client: Some(token('a')), ..job(10) };
        let delivery = stage.deliver(&mut jobs, &sent).await;
        assert_eq!(delivery.job, sent);
        assert_eq!(delivery.attempt, 1);
        delivery.ack().await;
    }

    a_job_submitted_twice_is_queued_once_even_after_it_is_done(stage) {
        let mut jobs = stage.calculator.jobs(Lane::Small);
        let (first, second) = (job(1), job(2));
        let delivery = stage.deliver(&mut jobs, &first).await;
        stage.submit(&first).await;
        delivery.ack().await;
        stage.submit(&first).await;
        stage.submit(&second).await;
        assert_eq!(take(&mut jobs).await.job, second);
    }

    a_job_given_back_comes_again_with_its_attempts_counted(stage) {
        let mut jobs = stage.calculator.jobs(Lane::Small);
        let delivery = stage.deliver(&mut jobs, &job(7)).await;
        assert_eq!(summary(&delivery), (7, 1));
        delivery.nak().await;
        let delivery = take(&mut jobs).await;
        assert_eq!(summary(&delivery), (7, 2));
        delivery.nak().await;
        assert_eq!(summary(&take(&mut jobs).await), (7, 3));
    }

    a_job_whose_worker_dropped_it_comes_again(stage) {
        let mut jobs = stage.calculator.jobs(Lane::Small);
        let delivery = stage.deliver(&mut jobs, &job(7)).await;
        drop(delivery);
        assert_eq!(summary(&take(&mut jobs).await), (7, 2));
    }

    a_large_job_does_not_stand_before_a_small_one(stage) {
        let mut small = stage.calculator.jobs(Lane::Small);
        let mut large = stage.calculator.jobs(Lane::Large);
        let delivery = stage.deliver(&mut large, &job(1_000_001)).await;
        stage.submit(&job(1_000_002)).await;
        let quick = stage.deliver(&mut small, &job(1_000_000)).await;
        assert_eq!(quick.job.n, 1_000_000);
        assert_eq!(delivery.job.n, 1_000_001);
        assert_eq!(take(&mut large).await.job.n, 1_000_002);
    }

    many_jobs_come_with_one_request(stage) {
        let mut jobs = stage.calculator.jobs(Lane::Small);
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
            stage.calculator.publish(audience, &result(id)).await.unwrap();
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
            stage.calculator.publish(&Audience::Public, event).await.unwrap();
        }
        assert_eq!(entry(&mut cursor).await.1, first);
        assert_eq!(entry(&mut cursor).await.1, second);
    }

    a_job_has_one_end(stage) {
        let mut cursor = stage.cursor(&[Audience::Public], None);
        let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
        for event in [result(id), failed(id), failed(other)] {
            stage.calculator.publish(&Audience::Public, &event).await.unwrap();
        }
        assert_eq!(entry(&mut cursor).await.1, result(id));
        assert_eq!(entry(&mut cursor).await.1, failed(other));
    }

    a_reader_who_comes_back_goes_on_where_it_was(stage) {
        let own = [Audience::Client(token('a')), Audience::Public];
        let ids = [(); 6].map(|()| Uuid::now_v7());
        let mut cursor = stage.cursor(&own, None);
        for (index, id) in ids.into_iter().enumerate() {
            stage.calculator.publish(&own[index % 2], &result(id)).await.unwrap();
        }
        let (seq, event) = entry(&mut cursor).await;
        assert_eq!(event, result(ids[0]));
        drop(cursor);
        let mut cursor = stage.cursor(&own, Some(seq));
        for id in &ids[1..] {
            assert_eq!(entry(&mut cursor).await.1, result(*id));
        }
    }

    a_place_after_the_end_is_a_gap(stage) {
        stage.calculator.publish(&Audience::Public, &result(Uuid::now_v7())).await.unwrap();
        let mut cursor = stage.cursor(&[Audience::Public], Some(u64::MAX));
        assert!(matches!(cursor.next().await, Item::Gap(_)));
    }

    a_reader_gets_only_the_kinds_it_wants(stage) {
        let results = |kind| kind == EventKind::Result;
        let mut cursor = stage.log.cursor(&[Audience::Public], results, None).unwrap();
        let id = Uuid::now_v7();
        let started = Event::Started { id, n: 10, attempt: 1 };
        stage.calculator.publish(&Audience::Public, &started).await.unwrap();
        stage.calculator.publish(&Audience::Public, &result(id)).await.unwrap();
        assert_eq!(entry(&mut cursor).await.1, result(id));
    }
}

#[tokio::test]
async fn the_queue_in_memory_refuses_a_job_over_its_limit() {
    let queue = Queue::in_process();
    for n in 0..100_000 {
        queue.submit(&job(n)).await.unwrap();
    }
    assert_eq!(queue.submit(&job(1)).await, Err(SubmitError::Full));
    take(&mut queue.jobs(Lane::Small)).await.ack().await;
    assert_eq!(queue.submit(&job(1)).await, Ok(()));
}

#[tokio::test]
async fn a_place_in_an_earlier_log_in_memory_is_a_gap() {
    let stage = Stage::in_process().await;
    let mut cursor = stage.cursor(&[Audience::Public], Some(7));
    assert!(matches!(cursor.next().await, Item::Gap(seq) if seq > 7));
}

//! The properties of a queue on disk alone: it is there again after a restart, and it belongs to one process.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, too, may panic")]

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use protocol::{Audience, Event, Job, Lane, event::Body};
use queue::{Inspection, OpenError, Roles};
use tempfile::tempdir;
use uuid::Uuid;

use crate::stage::{Stage, context, entry, failed, job, result, take};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_done_comes_again_after_a_restart() {
    let directory = tempdir().unwrap();
    let jobs = [job(1), job(2), job(3)];
    let stage = Stage::open(directory.path()).await;
    for job in &jobs {
        stage.submit(job).await;
    }
    let mut lane = stage.worker.jobs(Lane::Small);
    take(&mut lane).await.ack().await;
    let underway = take(&mut lane).await;
    stage.close().await;

    let stage = Stage::open(directory.path()).await;
    let mut lane = stage.worker.jobs(Lane::Small);
    let again = take(&mut lane).await;
    assert_eq!((&again.job, again.attempt), (&underway.job, 2));
    let next = take(&mut lane).await;
    assert_eq!((&next.job, next.attempt), (&jobs[2], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_end_is_stored_does_not_come_again() {
    let directory = tempdir().unwrap();
    let (ended, open) = (job(1), job(2));
    let stage = Stage::open(directory.path()).await;
    let mut lane = stage.worker.jobs(Lane::Small);
    let delivery = stage.deliver(&mut lane, &ended).await;
    publish(&stage, &result(ended.id)).await;
    stage.submit(&open).await;
    stage.close().await;
    drop(delivery);

    let stage = Stage::open(directory.path()).await;
    assert_eq!(take(&mut stage.worker.jobs(Lane::Small)).await.job, open);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_a_restart_is_recognised_after_it() {
    let directory = tempdir().unwrap();
    let (first, second) = (job(1), job(2));
    let stage = Stage::open(directory.path()).await;
    let delivery = stage
        .deliver(&mut stage.worker.jobs(Lane::Small), &first)
        .await;
    publish(&stage, &result(first.id)).await;
    delivery.ack().await;
    stage.close().await;

    let stage = Stage::open(directory.path()).await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    stage.submit(&first).await;
    stage.submit(&second).await;
    assert_eq!(take(&mut stage.worker.jobs(Lane::Small)).await.job, second);
    publish(&stage, &failed(first.id)).await;
    publish(&stage, &result(second.id)).await;
    assert_eq!(entry(&mut cursor).await.1, result(second.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_after_a_restart_without_a_gap() {
    let directory = tempdir().unwrap();
    let ids = [(); 4].map(|()| Uuid::now_v7());
    let stage = Stage::open(directory.path()).await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    for id in &ids[..3] {
        publish(&stage, &result(*id)).await;
    }
    let (seq, _) = entry(&mut cursor).await;
    drop(cursor);
    stage.close().await;

    let stage = Stage::open(directory.path()).await;
    let mut cursor = stage.cursor(&[Audience::Public], Some(seq));
    publish(&stage, &result(ids[3])).await;
    let mut last = seq;
    for id in &ids[1..] {
        let (seq, event) = entry(&mut cursor).await;
        assert_eq!((seq, event), (last + 1, result(*id)));
        last = seq;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_behind_the_tail_reads_from_the_disk() {
    const PARTS: u32 = 150;
    let stage = Stage::on_disk().await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    let id = Uuid::now_v7();
    let value = "5".repeat(512 * 1024);
    for index in 0..PARTS {
        let value = value.clone();
        let body = Body::Part {
            index,
            parts: PARTS,
            value,
        };
        publish(&stage, &Event { id, n: 10, body }).await;
    }
    for expected in 0..PARTS {
        match entry(&mut cursor).await.1.body {
            Body::Part { index, .. } => assert_eq!(index, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_is_for_its_owner_and_for_one_process() {
    let parent = tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let stage = Stage::open(&directory).await;
    stage.submit(&job(1)).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for file in fs::read_dir(&directory).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    assert!(matches!(
        Roles::on_disk(&directory),
        Err(OpenError::InUse(_))
    ));
    assert!(matches!(
        Inspection::of(&directory),
        Err(OpenError::InUse(_))
    ));
    stage.close().await;
    Stage::open(&directory).await;
}

#[test]
fn a_directory_that_cannot_be_used_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(
        Roles::on_disk(&file.path().join("below")),
        Err(OpenError::Unusable(_, error)) if error.kind() == io::ErrorKind::NotADirectory
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_of_another_version_is_refused() {
    let directory = tempdir().unwrap();
    Stage::open(directory.path()).await.close().await;
    for other in ["1", "1000", "new"] {
        fs::write(directory.path().join("format"), format!("{other}\n")).unwrap();
        assert!(matches!(
            Roles::on_disk(directory.path()),
            Err(OpenError::Format(_, format)) if format == other
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspection_tells_what_is_in_a_directory() {
    let directory = tempdir().unwrap();
    assert!(matches!(
        Inspection::of(directory.path()),
        Err(OpenError::Unusable(..))
    ));
    let stage = Stage::open(directory.path()).await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    stage.submit(&job(1)).await;
    publish(&stage, &result(Uuid::now_v7())).await;
    publish(&stage, &result(Uuid::now_v7())).await;
    let (first, _) = entry(&mut cursor).await;
    stage.close().await;
    let inspection = Inspection::of(directory.path()).unwrap();
    assert_eq!((inspection.jobs, inspection.events), (1, 2));
    assert_eq!(inspection.places, Some((first, first + 1)));
    assert!(inspection.bytes > 0 && !inspection.is_damaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_on_disk_refuses_a_job_over_its_limit_also_after_a_restart() {
    let directory = tempdir().unwrap();
    let stage = Stage::open(directory.path()).await;
    let jobs: Vec<Job> = (0..100_000).map(job).collect();
    for chunk in jobs.chunks(500) {
        futures_util::future::join_all(chunk.iter().map(|job| stage.submit(job))).await;
    }
    stage.close().await;
    let stage = Stage::open(directory.path()).await;
    let refused = stage.submitter.submit(&job(1)).await;
    assert!(matches!(refused, Err(queue::SubmitError::Full)));
    take(&mut stage.worker.jobs(Lane::Small)).await.ack().await;
    stage.submitter.submit(&job(1)).await.unwrap();
}

async fn publish(stage: &Stage, event: &Event) {
    stage
        .worker
        .publish(&Audience::Public, event, context())
        .await
        .unwrap();
}

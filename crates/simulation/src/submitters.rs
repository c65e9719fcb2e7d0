//! A client that posts jobs, each until it is accepted, and some of them again.

use std::{
    num::{NonZeroU64, NonZeroU128},
    sync::Arc,
};

use protocol::{Audience, Job, JobContext, Submission, TraceParent};
use queue::{Submitter, custom::Backend};
use uuid::Uuid;

use crate::{
    chance::{Chance, pause_ms},
    link::Link,
    machine::{Clock, GIANT_N},
    plan::Plan,
    trace::Actor,
    truth::{SENTINEL, Truth, short},
};

/// Posts all jobs of one client.
pub(crate) async fn run(
    plan: Plan,
    truth: Arc<Truth>,
    queue: Arc<dyn Backend>,
    clock: Clock,
    number: u64,
) {
    let actor = Actor::Submitter(number);
    let mut chance = plan.chance(200 + number);
    let link = Link::new(queue, None, plan.server && plan.faults, chance.fork());
    let submitter = Submitter::custom(Arc::new(link));
    for job in 0..plan.jobs_each {
        pause_ms(chance.between(0, 4000)).await;
        let is_giant = plan.giant && number == 0 && job == 0;
        let n = if is_giant {
            GIANT_N
        } else {
            some_n(&mut chance)
        };
        let client = match Plan::client(number) {
            Audience::Client(token) if !chance.one_in(3) => Some(token),
            _ => None,
        };
        let id = Uuid::from_u128(chance.bits());
        let job = Submission {
            n,
            client,
            id: Some(id),
        }
        .into_job(context(id, clock));
        submit(&submitter, &truth, actor, &job).await;
        if chance.one_in(3) {
            pause_ms(chance.between(0, 20_000)).await;
            submit(&submitter, &truth, actor, &job).await;
        }
    }
}

/// Posts the last job, for everybody.
pub(crate) async fn sentinel(truth: &Truth, queue: Arc<dyn Backend>, clock: Clock) {
    let link = Link::new(queue, None, false, Chance::new(0, 0));
    let submitter = Submitter::custom(Arc::new(link));
    let job = Submission {
        n: 1,
        client: None,
        id: Some(SENTINEL),
    }
    .into_job(context(SENTINEL, clock));
    submit(&submitter, truth, Actor::World, &job).await;
}

async fn submit(submitter: &Submitter, truth: &Truth, actor: Actor, job: &Job) {
    loop {
        let submitted = submitter.submit(job).await;
        truth.trace.say(actor, || {
            let outcome = if submitted.is_ok() {
                "accepted"
            } else {
                "refused"
            };
            format!("posts {} n={}: {outcome}", short(job.id), job.n)
        });
        if submitted.is_ok() {
            return truth.accepted(job.id);
        }
        pause_ms(500).await;
    }
}

/// The context of a job that is accepted now. Its trace has the job's id, since nothing here may be random.
fn context(id: Uuid, clock: Clock) -> JobContext {
    let trace_id = NonZeroU128::new(id.as_u128()).expect("an id is not zero");
    JobContext {
        accepted_us: clock.unix_us(),
        traceparent: TraceParent::new(trace_id, NonZeroU64::MIN, false),
    }
}

fn some_n(chance: &mut Chance) -> u64 {
    match chance.between(0, 7) {
        0..=3 => chance.between(0, 100),
        4 => chance.between(101, 300),
        5 | 6 => chance.between(10_001, 10_100),
        _ => chance.between(1_000_001, 1_000_100),
    }
}

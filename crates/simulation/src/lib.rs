//! fibwire on a simulated clock, queue and network, in one thread. A seed decides every delay, loss and
//! crash, and the same seed gives the same trace. For tests only.
//!
//! It runs the code that is shipped: the calculator's loop, the sockets and their routes, the embedded
//! queue, and the log with its tail and cursors. Around it stand models: the queue's server, the
//! network, and the clients. `Truth` sees what the queue really stored and checks what everybody else
//! gets.

mod bug;
mod calculators;
mod chance;
pub mod command;
mod link;
mod machine;
mod memory;
mod panics;
mod plan;
mod readers;
mod server;
mod service;
mod submitters;
mod trace;
mod truth;

use std::{sync::Arc, time::Duration};

use protocol::Audience;
use queue::custom::Backend;
use tokio::{
    runtime,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

pub use bug::Bug;
use chance::{pause, pause_ms};
use machine::Clock;
use memory::Memory;
use plan::Plan;
use readers::Reader;
use server::{Client, Server};
use service::{Log, Service};
use trace::Actor;
use truth::Truth;

/// How long clients may take to submit all jobs.
const SUBMIT_LIMIT: Duration = Duration::from_secs(300);
/// How long the jobs may take to end once the faults are over.
const SETTLE_LIMIT: Duration = Duration::from_secs(300);
/// The wait for messages that should not come: jobs that are delivered again, and second ends. By then,
/// a slow reader that was cut off when the faults ended, and that has no place to resume from, is back.
const QUIET: Duration = Duration::from_secs(75);
/// How long the readers may take to read everything once the faults are over.
const READ_LIMIT: Duration = Duration::from_secs(120);
/// The place at which the embedded log begins.
const BEGIN: u64 = 1_000;

/// The findings of a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The events of the simulation, one line each. Empty if it was not recorded.
    pub trace: String,
    /// The promises that were broken.
    pub findings: Vec<String>,
}

/// Simulates what `seed` decides, with a `bug` if one is planted. `recorded` says whether a trace is
/// wanted, which takes time.
///
/// # Panics
///
/// If there is no memory for a runtime.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>, recorded: bool) -> Outcome {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    let panics = panics::Watch::start();
    let truth = runtime.block_on(simulate(seed, bug, recorded));
    drop(runtime);
    for panic in panics.end() {
        truth.finding(Actor::World, &format!("panicked: {panic}"));
    }
    Outcome {
        trace: truth.trace.text(),
        findings: truth.findings(),
    }
}

async fn simulate(seed: u64, bug: Option<Bug>, recorded: bool) -> Arc<Truth> {
    let plan = Plan::new(seed, bug);
    let truth = Arc::new(Truth::new(recorded));
    truth.trace.say(Actor::World, || format!("{plan:?}"));
    let clock = Clock::new();
    let end = CancellationToken::new();
    let mut tasks = JoinSet::new();

    let (queue, log): (Arc<dyn Backend>, Log) = if plan.server {
        let server = Arc::new(Server::new(Arc::clone(&truth), bug, plan.max_events));
        let running = Arc::clone(&server);
        tasks.spawn(async move { running.run().await });
        if plan.loses_disk {
            let (server, mut chance) = (Arc::clone(&server), plan.chance(1));
            tasks.spawn(async move {
                pause_ms(chance.between(0, 20_000)).await;
                server.lose_disk();
            });
        }
        (Arc::new(Client(Arc::clone(&server))), Log::Server(server))
    } else {
        let audiences: Vec<Audience> = (0..plan.submitters)
            .map(Plan::client)
            .chain([Audience::Public])
            .collect();
        let (memory, reader) = Memory::new(Arc::clone(&truth), &audiences, plan.tail_bytes, BEGIN);
        (Arc::new(memory), Log::Memory(reader))
    };

    let service = Arc::new(Service::new(plan, Arc::clone(&truth), log, plan.chance(2)));
    let mut processes = JoinSet::new();
    let (serving, service_end) = (Arc::clone(&service), end.clone());
    processes.spawn(async move { serving.run(service_end).await });
    for number in 0..plan.calculators {
        processes.spawn(calculators::run(
            plan,
            Arc::clone(&truth),
            Arc::clone(&queue),
            clock,
            number,
            end.clone(),
        ));
    }
    let mut readers = JoinSet::new();
    for number in 0..plan.readers {
        let reader = Reader::new(plan, Arc::clone(&truth), Arc::clone(&service), number);
        readers.spawn(reader.run());
    }
    let mut submitters = JoinSet::new();
    for number in 0..plan.submitters {
        submitters.spawn(submitters::run(
            plan,
            Arc::clone(&truth),
            Arc::clone(&queue),
            clock,
            number,
        ));
    }

    within(
        &truth,
        SUBMIT_LIMIT,
        "jobs not submitted",
        join(&mut submitters),
    )
    .await;
    if plan.faults {
        sleep_until(plan.calm_at()).await;
    }
    let settled = async {
        while !truth.settled() {
            pause_ms(500).await;
        }
    };
    within(&truth, SETTLE_LIMIT, "jobs without an end", settled).await;
    pause(QUIET).await;
    submitters::sentinel(&truth, queue, clock).await;
    within(&truth, READ_LIMIT, "readers behind", join(&mut readers)).await;
    end.cancel();
    join(&mut processes).await;
    truth.check_jobs(plan.faults);
    truth
}

async fn within(truth: &Truth, limit: Duration, what: &str, work: impl Future<Output = ()>) {
    let start = Instant::now();
    if timeout(limit, work).await.is_err() {
        truth.finding(Actor::World, &format!("{what} after {:?}", start.elapsed()));
    }
}

/// Waits for all tasks. A panic was noted where it happened.
async fn join(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

//! A calculator process: it works, is frozen, crashes, shuts down and comes back.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use calculator::{Config, Metrics};
use queue::{Worker, custom::Backend};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    chance::{pause, pause_ms},
    link::Link,
    machine::{Clock, Simulated},
    plan::Plan,
    trace::Actor,
    truth::Truth,
};

/// The time a process has to end after SIGTERM.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(9);

const CONFIG: Config = Config {
    threads: NonZeroUsize::MIN,
    memory_limit_mib: 1024,
};

/// Runs calculators one after the other, the last of them from the end of the faults until `end`.
pub(crate) async fn run(
    plan: Plan,
    truth: Arc<Truth>,
    queue: Arc<dyn Backend>,
    clock: Clock,
    number: u64,
    end: CancellationToken,
) {
    let actor = Actor::Calculator(number);
    let mut chance = plan.chance(100 + number);
    loop {
        truth.trace.say(actor, || "starts".into());
        let link = Link::new(
            Arc::clone(&queue),
            plan.bug,
            plan.server && plan.faults,
            chance.fork(),
        );
        let machine = Arc::new(Simulated::new(clock, chance.fork()));
        let shutdown = CancellationToken::new();
        let mut process = JoinSet::new();
        process.spawn(calculator::run_on(
            machine,
            Worker::custom(Arc::new(link.clone())),
            CONFIG,
            Metrics::default(),
            shutdown.clone(),
        ));
        let mut is_last = false;
        let crashes = loop {
            let until = Duration::from_millis(chance.between(0, 20_000));
            is_last |= plan.is_calm() || plan.is_calm_in(until);
            if is_last {
                end.cancelled().await;
                break false;
            }
            pause(until).await;
            match chance.between(0, 3) {
                0 => break true,
                1 => break false,
                2 if plan.server => {
                    let frozen = Duration::from_millis(chance.between(100, 25_000));
                    truth
                        .trace
                        .say(actor, || format!("is frozen for {frozen:?}"));
                    link.freeze(frozen);
                }
                _ => {}
            }
        };
        truth.trace.say(actor, || {
            if crashes { "crashes" } else { "shuts down" }.into()
        });
        if crashes {
            link.crash();
            process.shutdown().await;
        } else {
            shutdown.cancel();
            match timeout(SHUTDOWN_LIMIT, process.join_next()).await {
                Ok(Some(Ok(()))) => {}
                // A process that is frozen, or whose messages are late, is killed in the end.
                Err(_elapsed) if !is_last => process.shutdown().await,
                ended => truth.finding(actor, &format!("ended with {ended:?}")),
            }
            link.crash();
        }
        if is_last {
            return;
        }
        pause_ms(chance.between(0, 3000)).await;
    }
}
